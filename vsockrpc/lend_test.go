package vsockrpc

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

const secretText = "what nobody should find in memory"

// erased checks that a buffer, which was lent, says nothing any more.
func erased(t *testing.T, what string, b []byte) {
	t.Helper()
	if b = b[:cap(b)]; len(b) == 0 || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("%s: %d bytes, of which some are left", what, len(b))
	}
}

// lentStream returns the only stream of the server, which the handler has not
// received from.
func (w *world) lentStream() *stream {
	w.t.Helper()
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	for c := range w.srv.conns {
		c.mu.Lock()
		for _, s := range c.streams {
			c.mu.Unlock()
			return s
		}
		c.mu.Unlock()
	}
	w.t.Fatal("no stream")
	return nil
}

// What a lent buffer held is erased however the call ends.
func TestLentBuffersAreErased(t *testing.T) {
	message := bytes.Repeat([]byte(secretText), 300)
	var kept []byte
	register := func(s *Server) {
		s.HandleLent("keep", func(_ context.Context, req []byte) ([]byte, error) {
			kept = req
			return req[:10], nil
		})
		s.HandleLent("panic", func(_ context.Context, req []byte) ([]byte, error) {
			kept = req
			panic("as planned")
		})
		s.HandleLent("wait", func(ctx context.Context, req []byte) ([]byte, error) {
			kept = req
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}
	for name, in := range map[string][]byte{
		"answered":             concat(openFrame(1, "keep"), dataFrame(1, flagEndMessage|flagEndStream, string(message))),
		"panicked":             concat(openFrame(1, "panic"), dataFrame(1, flagEndMessage|flagEndStream, string(message))),
		"reset":                concat(openFrame(1, "wait"), dataFrame(1, flagEndMessage|flagEndStream, string(message)), append32(nil, frameReset, 1, 1)),
		"in several frames":    concat(openFrame(1, "keep"), firstFrame(1, uint32(len(message)), string(message[:100])), dataFrame(1, flagEndMessage|flagEndStream, string(message[100:]))),
		"too short to be kept": concat(openFrame(1, "keep"), dataFrame(1, flagEndMessage|flagEndStream, secretText)),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{}, ServerOptions{}, register, func(w *world) {
				kept = nil
				p := w.peer()
				p.write(in[:len(in)-14])
				synctest.Wait()
				p.write(in[len(in)-14:])
				synctest.Wait()
				erased(w.t, name, kept)
				p.Close()
			})
		})
	}
	t.Run("not received", func(t *testing.T) {
		inWorld(t, vsocktest.Options{}, ServerOptions{}, register, func(w *world) {
			p := w.peer()
			p.write(concat(openFrame(1, "wait"), dataFrame(1, flagEndMessage, string(message))))
			synctest.Wait()
			p.write(concat(dataFrame(1, flagEndMessage, string(message)), firstFrame(1, 9000, secretText)))
			synctest.Wait()
			s := w.lentStream()
			s.mu.Lock()
			waiting, partial := s.queue[s.head].data, s.partial.data
			s.mu.Unlock()
			if !bytes.Equal(waiting, message) || string(partial) != secretText {
				w.t.Fatalf("%d and %d bytes wait", len(waiting), len(partial))
			}
			p.write(append32(nil, frameReset, 1, 1))
			synctest.Wait()
			erased(w.t, "a message that waits", waiting)
			erased(w.t, "a message that arrives", partial)
			p.Close()
		})
	})
	t.Run("a second message", func(t *testing.T) {
		inWorld(t, vsocktest.Options{}, ServerOptions{}, register, func(w *world) {
			p := w.peer()
			p.write(concat(appendOpen(nil, 1, &open{timeout: 1000, method: []byte("wait")}), dataFrame(1, flagEndMessage, "first"), dataFrame(1, flagEndMessage, string(message))))
			synctest.Wait()
			s := w.lentStream()
			s.mu.Lock()
			waiting := s.queue[s.head].data
			s.mu.Unlock()
			if p.await(frameStatus, 1) == nil {
				w.t.Error("no STATUS")
			}
			synctest.Wait()
			erased(w.t, "a message that was not received", waiting)
			p.Close()
		})
	})
}

// A buffer that was given back is nobody's and holds nothing.
func TestBorrow(t *testing.T) {
	for _, n := range []int{0, 1, minLent - 1, minLent, minLent + 1, 5000, 8192, 1 << 20, maxLent, maxLent + 1} {
		b := borrow(n)
		if len(b) != 0 || cap(b) < n || n >= minLent && n <= maxLent && cap(b) >= 2*n && n > minLent {
			t.Errorf("borrow(%d): %d of %d", n, len(b), cap(b))
		}
		b = append(b, make([]byte, n)...)
		for i := range b {
			b[i] = 0xff
		}
		giveBack(b[:0])
		again := borrow(n)
		if again = again[:cap(again)]; !bytes.Equal(again, make([]byte, len(again))) {
			t.Errorf("borrow(%d) has something of before", n)
		}
	}
}
