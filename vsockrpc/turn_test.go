package vsockrpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// sleepers has a handler that answers after as many milliseconds as its request
// has bytes.
func sleepers(s *Server) {
	s.Handle("sleep", func(ctx context.Context, req []byte) ([]byte, error) {
		time.Sleep(time.Duration(len(req)) * time.Millisecond)
		return req, nil
	})
}

// Whoever reads for all others and has its answer leaves nobody unread: each
// answer is there when it comes, and not when the next timer looks.
func TestTurnIsHandedOver(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, sleepers, func(w *world) {
		c := w.client(ClientOptions{})
		for range 3 { // the first to call reads, which is another each time
			var all sync.WaitGroup
			for i := range 20 {
				after := 1 + (i*7)%20
				all.Go(func() {
					began := time.Now()
					if _, err := c.Call(w.t.Context(), "sleep", make([]byte, after)); err != nil {
						w.t.Error(err)
					}
					if took := time.Since(began); took != time.Duration(after)*time.Millisecond {
						w.t.Errorf("an answer after %d ms is there after %v", after, took)
					}
				})
				synctest.Wait()
			}
			all.Wait()
		}
		w.nothingIsLeft(c)
		c.Close()
	})
}

// A call that is cancelled while it reads for others ends at once, and the
// others have their answers.
func TestReaderIsCancelled(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, sleepers, func(w *world) {
		c := w.client(ClientOptions{})
		for round := range 50 {
			var all sync.WaitGroup
			for i := range 5 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(w.t.Context(), time.Duration(1+(i+round)%5)*time.Millisecond)
					defer cancel()
					began := time.Now()
					_, err := c.Call(ctx, "sleep", make([]byte, 10))
					if took := time.Since(began); !errors.Is(err, DeadlineExceeded) || took != time.Duration(1+(i+round)%5)*time.Millisecond {
						w.t.Errorf("after %v: %v", took, err)
					}
				})
				synctest.Wait()
			}
			began := time.Now()
			if _, err := c.Call(w.t.Context(), "sleep", make([]byte, 7)); err != nil || time.Since(began) != 7*time.Millisecond {
				w.t.Errorf("after %v: %v", time.Since(began), err)
			}
			all.Wait()
			time.Sleep(time.Duration(round) * time.Millisecond / 2) // the turn lies free, or does not
		}
		time.Sleep(time.Second)
		w.nothingIsLeft(c)
		c.Close()
	})
}

// What a stream has received counts no longer, while the stream goes on.
func TestReceivedBytesAreNotHeld(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, func(s *Server) {
		s.HandleStream("mirror", func(_ context.Context, st *ServerStream) error {
			for {
				m, err := st.Recv()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				if err := st.Send(m); err != nil {
					return err
				}
			}
		})
	}, func(w *world) {
		c := w.client(ClientOptions{})
		st, err := c.Stream(w.t.Context(), "mirror")
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range 100 {
			if err := st.Send(make([]byte, []int{0, 100, 1 << 20}[i%3])); err != nil {
				w.t.Fatal(err)
			}
			if _, err := st.Recv(); err != nil {
				w.t.Fatal(err)
			}
		}
		synctest.Wait()
		w.remember(c)
		for k, side := range w.conns {
			k.mu.Lock()
			for _, s := range k.streams {
				s.mu.Lock()
				if s.held != 0 || k.held.Load() != 0 {
					w.t.Errorf("the %s holds %d bytes, its connection %d", side, s.held, k.held.Load())
				}
				if s.granted+s.credit != initialWindow || s.prepaid != 0 {
					w.t.Errorf("the %s has granted %d bytes and will grant %d", side, s.granted, s.credit)
				}
				s.mu.Unlock()
			}
			k.mu.Unlock()
		}
		st.Close()
		w.nothingIsLeft(c)
		c.Close()
	})
}
