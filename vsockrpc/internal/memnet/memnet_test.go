package memnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func pipe(size int) (client, server *Conn) {
	return Pipe("name", &Buffer{Size: size}, &Buffer{Size: size})
}

// later calls f in a goroutine and sends what it returns.
func later(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func TestBuffer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 3, 7, 4096, 10000, 0} {
		b := &Buffer{Size: size}
		var model []byte
		for range 500 {
			if r.IntN(2) == 0 {
				p := make([]byte, r.IntN(max(2*size, 50)))
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				n := b.Put(p)
				model = append(model, p[:n]...)
				if n < len(p) && len(model) != size {
					t.Fatalf("size %d: %d of %d bytes taken beside %d", size, n, len(p), len(model)-n)
				}
			} else {
				p := make([]byte, r.IntN(max(2*size, 50)))
				n := b.Get(p)
				if n != min(len(p), len(model)) || !bytes.Equal(p[:n], model[:n]) {
					t.Fatalf("size %d: %d of %d bytes got, or others", size, n, len(model))
				}
				model = model[n:]
			}
			if b.Len() != len(model) || len(b.ring) > max(size, DefaultSize) {
				t.Fatalf("size %d: %d bytes, not %d, in %d", size, b.Len(), len(model), len(b.ring))
			}
		}
	}
}

// Whatever waits does so durably: synctest.Wait would not return otherwise.
func TestBlocking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe(10)
		read := later(func() error {
			_, err := io.ReadFull(s, make([]byte, 25))
			return err
		})
		synctest.Wait()
		if n, err := c.Write(make([]byte, 25)); n != 25 || err != nil {
			t.Error(n, err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		full := later(func() error {
			_, err := c.Write(make([]byte, 11))
			return err
		})
		synctest.Wait()
		behind := later(func() error { // waits for the one before to end
			_, err := c.Write([]byte("x"))
			return err
		})
		synctest.Wait()
		select {
		case <-full:
			t.Error("11 bytes fit into 10")
		case <-behind:
			t.Error("one Write overtook another")
		default:
		}
		if _, err := io.ReadFull(s, make([]byte, 12)); err != nil {
			t.Error(err)
		}
		if err := errors.Join(<-full, <-behind); err != nil {
			t.Error(err)
		}
		for _, x := range []struct {
			name string
			call func() error
		}{
			{"Read", func() error { _, err := c.Read(make([]byte, 1)); return err }},
			{"Write", func() error { _, err := c.Write(make([]byte, 20)); return err }},
			{"second Write", func() error { _, err := c.Write(make([]byte, 20)); return err }},
		} {
			call := later(x.call)
			synctest.Wait()
			defer func() {
				if err := <-call; !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s that waited: %v", x.name, err)
				}
			}()
		}
		c.Close()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe(10)
		defer c.Close()
		defer s.Close()
		began := time.Now()
		c.SetReadDeadline(began.Add(time.Second))
		c.SetWriteDeadline(began.Add(3 * time.Second))
		var ne net.Error
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if n, err := c.Write([]byte("0123456789abcde")); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %d, %v", time.Since(began), n, err)
		}
		// A deadline that has passed stays, whatever there is to read, until it is
		// moved. A failed Write has kept its count.
		if _, err := s.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(n, err)
		}
		c.SetDeadline(time.Time{})
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Error(n, err)
		}
		rest := later(func() error { _, err := c.Write([]byte("abcde")); return err })
		got := make([]byte, 15)
		if _, err := io.ReadFull(s, got); err != nil || string(got) != "0123456789abcde" {
			t.Errorf("%s, %v", got, err)
		}
		if err := <-rest; err != nil {
			t.Error(err)
		}
		// One that is moved while a Read waits for it, later and then earlier.
		c.SetReadDeadline(time.Now().Add(time.Second))
		began = time.Now()
		read := later(func() error { _, err := c.Read(make([]byte, 1)); return err })
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		c.SetReadDeadline(time.Now())
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestClosing(t *testing.T) {
	c, s := pipe(0)
	if _, err := c.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again is allowed, as on sockets
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(s); string(got) != "last" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for name, call := range map[string]func() error{
		"Read":       func() error { _, err := s.Read(make([]byte, 1)); return err },
		"empty Read": func() error { _, err := s.Read(nil); return err },
		"Write":      func() error { _, err := s.Write([]byte("x")); return err },
		"Close":      s.Close, "CloseWrite": s.CloseWrite,
		"SetDeadline":      func() error { return s.SetDeadline(time.Now()) },
		"SetReadDeadline":  func() error { return s.SetReadDeadline(time.Time{}) },
		"SetWriteDeadline": func() error { return s.SetWriteDeadline(time.Time{}) },
	} {
		var oe *net.OpError
		if err := call(); !errors.Is(err, net.ErrClosed) || !errors.As(err, &oe) || oe.Net != "mem" || oe.Addr.String() != "name" {
			t.Errorf("%s after Close: %v", name, err)
		}
	}

	c, s = pipe(0)
	s.Close()
	if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("nobody is there to read: %d, %v", n, err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty Read: %d, %v", n, err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("nobody is there to write: %d, %v", n, err)
	}

	// The peer's Close reaches a Write that waits.
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe(3)
		write := later(func() error { _, err := c.Write([]byte("1234")); return err })
		synctest.Wait()
		s.Close()
		if err := <-write; !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
	})
}

// What several goroutines write does not mix, however small the buffer.
func TestWritesStayWhole(t *testing.T) {
	c, s := pipe(100)
	defer s.Close()
	var writers sync.WaitGroup
	for i := range byte(8) {
		writers.Go(func() {
			for range 50 {
				if _, err := c.Write(bytes.Repeat([]byte{i}, 333)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		writers.Wait()
		c.Close()
	}()
	whole, p := 0, make([]byte, 333)
	for ; ; whole++ {
		if _, err := io.ReadFull(s, p); err == io.EOF {
			break
		} else if err != nil || !bytes.Equal(p, bytes.Repeat(p[:1], 333)) {
			t.Fatalf("%v, %x", err, p)
		}
	}
	if whole != 400 {
		t.Errorf("%d of 400", whole)
	}
}

func TestRegistry(t *testing.T) {
	var r Registry
	if _, err := r.Dial(t.Context(), "a"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	l, err := r.Listen("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Listen("a"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("two listen: %v", err)
	}
	other, err := r.Listen("b")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	c, err := r.Dial(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []net.Addr{l.Addr(), c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr()} {
		if a.Network() != "mem" || a.String() != "a" {
			t.Errorf("%s %s", a.Network(), a)
		}
	}
	waiting, err := r.Dial(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that was not accepted: %v", err)
	}
	for range 3 {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
	if _, err := r.Dial(t.Context(), "a"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens any more: %v", err)
	}
	if again, err := r.Listen("a"); err != nil {
		t.Error(err)
	} else if again.Close() != nil {
		t.Error("the second listener was closed by the first's second Close")
	}
	// What was accepted before goes on.
	if _, err := s.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Dial(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		l, err := r.Listen("a")
		if err != nil {
			t.Fatal(err)
		}
		for range backlog {
			if _, err := r.Dial(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var ne net.Error
		if _, err := r.Dial(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("one too many: %v", err)
		}
		dial := later(func() error { _, err := r.Dial(t.Context(), "a"); return err })
		synctest.Wait()
		if _, err := l.Accept(); err != nil {
			t.Error(err)
		}
		if err := <-dial; err != nil {
			t.Errorf("when there is room: %v", err)
		}
		dial = later(func() error { _, err := r.Dial(t.Context(), "a"); return err })
		synctest.Wait()
		l.Close()
		// The connections that Close drops make room for a moment.
		if err := <-dial; err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("when the listener is closed: %v", err)
		}
		l, err = r.Listen("a")
		if err != nil {
			t.Fatal(err)
		}
		accept := later(func() error { _, err := l.Accept(); return err })
		synctest.Wait()
		l.Close()
		if err := <-accept; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept that waited: %v", err)
		}
	})
}

// A connection that is dialled while the listener closes is either refused or
// ends, but nobody is left with one that is never served.
func TestDialWhileClosing(t *testing.T) {
	var r Registry
	for range 300 {
		l, err := r.Listen("a")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				c, err := r.Dial(t.Context(), "a")
				if err != nil {
					if !errors.Is(err, syscall.ECONNREFUSED) {
						t.Error(err)
					}
					return
				}
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
			})
		}
		all.Go(func() { l.Close() })
		all.Wait()
	}
}

func TestBothWays(t *testing.T) {
	c, s := pipe(0)
	in := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(in)
	want := sha256.Sum256(in)
	var all sync.WaitGroup
	for _, end := range []*Conn{c, s} {
		all.Go(func() {
			if _, err := end.Write(in); err != nil {
				t.Error(err)
			}
			end.CloseWrite()
		})
		all.Go(func() {
			got, err := io.ReadAll(end)
			if err != nil || sha256.Sum256(got) != want {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
}
