package vsockrpc

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// A call that the client gives out as unprocessed is never sent, also where the
// connection ends at the moment when the call would be written.
func TestUnprocessedIsNotSent(t *testing.T) {
	for name, end := range map[string]func(c *conn, peer net.Conn){
		"closed":               func(c *conn, _ net.Conn) { c.close(errorf(Unavailable, "the test closed it")) },
		"the protocol broken":  func(_ *conn, peer net.Conn) { peer.Write(appendHello(appendHello(nil))) },
		"the other end closed": func(_ *conn, peer net.Conn) { peer.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			unprocessed := 0
			for round := range 400 {
				near, far := net.Pipe()
				c := newConn(near, 1<<20, -1, discard)
				c.onGoAway, c.onStatus = func() {}, func(s *stream, e *Error) { s.end(e) }
				go c.serve()
				s, err := c.open(open{method: []byte("x")}, false, nil)
				if err != nil {
					t.Fatal(err)
				}
				var sent atomic.Bool
				read := make(chan struct{})
				go func() {
					defer close(read)
					for range round % 50 {
						runtime.Gosched()
					}
					for {
						h, _, err := readFrame(far)
						if err != nil {
							return
						}
						if h.typ == frameOpen {
							sent.Store(true)
						}
					}
				}()
				for range round % 20 {
					runtime.Gosched()
				}
				end(c, far)
				<-c.gone
				far.Close()
				<-read
				if err := s.failure(); err == nil {
					t.Fatal("the call ended well")
				} else if Unprocessed(err) {
					unprocessed++
					if sent.Load() {
						t.Fatalf("in round %d the call was sent: %v", round, err)
					}
				}
			}
			t.Logf("%d calls were unprocessed", unprocessed)
		})
	}
}

// A connection that broke for a rule sends what was to be sent before, so its
// calls are not unprocessed.
func TestUnprocessedAfterABrokenRule(t *testing.T) {
	near, far := net.Pipe()
	c := newConn(near, 1<<20, -1, discard)
	c.onGoAway, c.onStatus = func() {}, func(s *stream, e *Error) { s.end(e) }
	go c.serve()
	s, err := c.open(open{method: []byte("x")}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write(appendHello(appendHello(nil))); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	ended := s.ended()
	s.mu.Unlock()
	<-ended
	far.SetReadDeadline(time.Now().Add(time.Minute))
	sent := false
	for {
		h, _, err := readFrame(far)
		if err != nil {
			if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
			break
		}
		sent = sent || h.typ == frameOpen
	}
	if sent && Unprocessed(s.failure()) {
		t.Errorf("the call was sent: %v", s.failure())
	}
	<-c.gone
}
