package vsockrpc

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// A handler that ends the call with Canceled is heard at once, though the
// client's sequence waits for something.
func TestBidiCanceledByTheHandler(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, func(s *Server) {
		HandleBidiStream(s, "cancel", func(context.Context, iter.Seq2[int, error]) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) { yield(0, Canceled) }
		})
	}, func(w *world) {
		c := w.client(ClientOptions{})
		heard := make(chan struct{})
		requests := func(yield func(int) bool) {
			<-heard // as one that waits for the answers would
		}
		for _, err := range CallBidiStream[int, int](w.t.Context(), c, "cancel", requests) {
			if !errors.Is(err, Canceled) {
				w.t.Error(err)
			}
			close(heard)
		}
		w.nothingIsLeft(c)
		c.Close()
	})
}

// A request that cannot be encoded is the error that the caller gets.
func TestBidiRequestThatCannotBeSent(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, func(s *Server) {
		HandleBidiStream(s, "wait", func(ctx context.Context, reqs iter.Seq2[int, error]) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for _, err := range reqs {
					if err != nil {
						yield(0, err)
						return
					}
				}
			}
		})
	}, func(w *world) {
		c := w.client(ClientOptions{})
		requests := func(yield func(any) bool) { _ = yield(1) && yield(func() {}) }
		n := 0
		for _, err := range CallBidiStream[any, int](w.t.Context(), c, "wait", requests) {
			if n++; !errors.Is(err, Internal) {
				w.t.Error(err)
			}
		}
		if n != 1 {
			w.t.Errorf("%d answers", n)
		}
		w.nothingIsLeft(c)
		c.Close()
	})
}
