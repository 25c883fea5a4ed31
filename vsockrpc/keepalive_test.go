package vsockrpc

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// These tests run on synctest's clock: hours pass at once, and no slow machine
// makes them fail.

const testKeepalive = 10 * time.Second

func servedConn(nc net.Conn, keepalive time.Duration) *conn {
	c := newConn(nc, 1<<20, keepalive, slog.New(slog.DiscardHandler))
	go c.serve()
	return c
}

// An idle connection stays as long as the peer answers, whichever side asks.
func TestIdleConnectionStays(t *testing.T) {
	for name, other := range map[string]time.Duration{"both ask": testKeepalive, "one asks": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				near, far := servedConn(a, testKeepalive), servedConn(b, other)
				select {
				case <-near.gone:
					t.Error("the idle connection was given up")
				case <-time.After(24 * time.Hour):
				}
				near.close(errorf(Canceled, "the test is over"))
				<-near.gone
				<-far.gone
			})
		})
	}
}

// A peer that answers nothing is given up, and not before it was asked.
func TestSilentPeerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		began := time.Now()
		var asked time.Duration
		read := make(chan struct{})
		go func() {
			defer close(read)
			b.Write(appendHello(nil))
			for {
				h, _, err := readFrame(b)
				if err != nil {
					return
				}
				if h.typ == framePing && asked == 0 {
					asked = time.Since(began)
				}
			}
		}()
		c := servedConn(a, testKeepalive)
		<-c.gone
		<-read
		if took := time.Since(began); asked < testKeepalive || took < asked+testKeepalive || took > 3*testKeepalive {
			t.Errorf("asked after %v, given up after %v", asked, took)
		}
		if c.err.Code != Unavailable {
			t.Error(c.err)
		}
		b.Close()
	})
}

// A peer that does not even take bytes is given up, too.
func TestStuckPeerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		began := time.Now()
		c := servedConn(a, testKeepalive)
		<-c.gone
		if took := time.Since(began); took > 3*testKeepalive {
			t.Errorf("given up after %v", took)
		}
		if !errors.Is(c.err, Unavailable) {
			t.Error(c.err)
		}
		b.Close()
	})
}

// A process that was paused asks the peer before it gives it up.
func TestPauseIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := newConn(a, 1<<20, testKeepalive, slog.New(slog.DiscardHandler))
		c.began = c.began.Add(-time.Hour) // as if nothing ran for an hour
		go c.serve()
		go func() {
			for {
				h, p, err := readFrame(b)
				if err != nil {
					return
				}
				switch h.typ {
				case frameHello:
					b.Write(appendHello(nil))
				case framePing:
					b.Write(append(appendHeader(nil, header{8, framePong, 0, 0}), p...))
				}
			}
		}()
		select {
		case <-c.gone:
			t.Error("given up without having been asked")
		case <-time.After(time.Hour):
		}
		c.close(&Error{Code: Canceled, cause: io.EOF})
		<-c.gone
		b.Close()
	})
}
