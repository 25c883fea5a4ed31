package vsockrpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server that reads nothing makes calls wait, and end with their contexts. What
// waits for it does not grow without end, though callers begin more and more.
func TestUnreadCallsAreBounded(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Client) error{
		"streams": func(ctx context.Context, c *Client) error {
			s, err := c.Stream(ctx, "some/method")
			if err == nil {
				s.Close()
			}
			return err
		},
		"unary": func(ctx context.Context, c *Client) error {
			_, err := c.Call(ctx, "some/method", make([]byte, 1<<10))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				c, err := NewClient("mem://unread", ClientOptions{Keepalive: -1, Dial: func(context.Context, Addr) (net.Conn, error) { return near, nil }})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				const most = 20_000
				begun := 0
				for ; begun < most; begun++ {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					err = call(ctx, c)
					cancel()
					if Unprocessed(err) {
						break
					}
				}
				if begun == most || !errors.Is(err, context.DeadlineExceeded) || CodeOf(err) != DeadlineExceeded {
					t.Fatalf("after %d calls: %v", begun, err)
				}
				c.mu.Lock()
				out := c.current.out
				c.mu.Unlock()
				out.mu.Lock()
				waits := len(out.buf) + len(out.rest)
				out.mu.Unlock()
				if waits > outboxLimit+4<<10 {
					t.Errorf("%d bytes wait after %d calls", waits, begun)
				}
				// A server that reads again is called again.
				go io.Copy(io.Discard, far)
				s, err := c.Stream(t.Context(), "some/method")
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			})
		})
	}
}

// lateConn takes the first write, and ends the second, of which nothing was
// sent, only some time after it was closed.
type lateConn struct {
	net.Conn // of nobody
	mu       sync.Mutex
	writes   int
	blocked  chan struct{} // closed in the second write
	broken   chan struct{} // when closed, reading ends
	closed   chan struct{}
	once     sync.Once
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	n := c.writes
	c.mu.Unlock()
	if n == 1 {
		return len(p), nil
	}
	close(c.blocked)
	<-c.closed
	time.Sleep(time.Second)
	return 0, net.ErrClosed
}

func (c *lateConn) Read([]byte) (int, error) {
	<-c.broken
	return 0, io.EOF
}

func (c *lateConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *lateConn) SetReadDeadline(time.Time) error  { return nil }
func (c *lateConn) SetWriteDeadline(time.Time) error { return nil }

// Where the connection breaks while a call is being written, what of it was sent
// is waited for: a call of which nothing was sent may be made again.
func TestUnprocessedWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc := &lateConn{blocked: make(chan struct{}), broken: make(chan struct{}), closed: make(chan struct{})}
		c := newConn(nc, 1<<20, -1, discard)
		c.onGoAway, c.onStatus = func() {}, func(s *stream, e *Error) { s.end(e) }
		go c.serve()
		synctest.Wait() // HELLO is written
		s, err := c.open(open{method: []byte("x")}, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-nc.blocked
		close(nc.broken)
		<-c.gone
		if err := s.failure(); !Unprocessed(err) {
			t.Errorf("nothing was sent: %v", err)
		}
	})
}

// A call that waits for a server to read goes to a new connection when the server
// says that it takes no more on this one.
func TestWaitingCallLeavesWithGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := make(chan net.Conn, 2)
		c, err := NewClient("mem://unread", ClientOptions{Keepalive: -1, Dial: func(context.Context, Addr) (net.Conn, error) {
			near, other := net.Pipe()
			far <- other
			return near, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for !fill(t, c) {
		}
		opened := make(chan error, 1)
		go func() {
			s, err := c.Stream(t.Context(), "some/method")
			if err == nil {
				s.Close()
			}
			opened <- err
		}()
		synctest.Wait() // it waits
		select {
		case err := <-opened:
			t.Fatalf("a call to a server that reads nothing did not wait: %v", err)
		default:
		}
		if _, err := (<-far).Write(append32(appendHello(nil), frameGoAway, 0, uint32(Unavailable))); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, <-far) // of the new connection
		if err := <-opened; err != nil {
			t.Error(err)
		}
	})
}

// fill makes a call, and reports whether it had to wait, in vain.
func fill(t *testing.T, c *Client) bool {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s, err := c.Stream(ctx, "some/method")
	if err != nil && !Unprocessed(err) {
		t.Fatalf("a call that was not sent may have been, by its error: %v", err)
	}
	if err == nil {
		s.Close()
	}
	return err != nil
}

// A pool does not repeat a call whose time is up: another target would be asked
// in vain, and the error no more tell that nothing was sent.
func TestPoolKeepsUnprocessed(t *testing.T) {
	p, err := NewPool([]string{"mem://a", "mem://b"}, PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	late := &Error{Code: DeadlineExceeded, unprocessed: true}
	if !p.again(ctx, &route{}, nil, late) {
		t.Error("a call that was not sent is not repeated")
	}
	cancel()
	if p.again(ctx, &route{}, nil, late) {
		t.Error("a call that nobody waits for is repeated")
	}
}
