package vsockrpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// world is a server on a network of its own, both in a bubble of synctest.
type world struct {
	t      *testing.T
	net    *vsocktest.Network
	srv    *Server
	served chan error
	peers  sync.WaitGroup // that play servers

	mu    sync.Mutex
	conns map[*conn]string // all that were seen, and whose they are
}

const worldName = "server"

// discard is the log of tests that look at nothing there.
var discard = slog.New(slog.DiscardHandler)

// inWorld runs a test in a bubble and checks that nothing is left of it. The
// server has a limit of 1 MiB for a message where options do not say.
func inWorld(t *testing.T, net vsocktest.Options, opts ServerOptions, register func(*Server), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: vsocktest.NewNetwork(net), served: make(chan error, 1), conns: map[*conn]string{}}
		if opts.MaxMessageSize == 0 {
			opts.MaxMessageSize = 1 << 20
		}
		w.srv = NewServer(opts)
		w.srv.Handle("echo", echo)
		if register != nil {
			register(w.srv)
		}
		l, err := w.net.Listen(worldName)
		if err != nil {
			t.Fatal(err)
		}
		go func() { w.served <- w.srv.Serve(l) }()
		test(w)
		w.end()
	})
}

// to dials a name on the network, whatever the address.
func (w *world) to(name string) func(context.Context, Addr) (net.Conn, error) {
	return func(ctx context.Context, _ Addr) (net.Conn, error) { return w.net.Dial(ctx, name) }
}

// client returns a client of the server, or of who else dial reaches.
func (w *world) client(opts ClientOptions) *Client {
	w.t.Helper()
	if opts.Dial == nil {
		opts.Dial = w.to(worldName)
	}
	c, err := NewClient("mem://"+worldName, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// remember notes the connections that there are, to look at them when they are
// gone.
func (w *world) remember(clients ...*Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.srv.mu.Lock()
	for c := range w.srv.conns {
		w.conns[c] = "server"
	}
	w.srv.mu.Unlock()
	for _, c := range clients {
		c.mu.Lock()
		for k := range c.conns {
			w.conns[k] = "client"
		}
		c.mu.Unlock()
	}
}

// nothingIsLeft checks that no call is under way, and that connections hold
// nothing for calls that were.
func (w *world) nothingIsLeft(clients ...*Client) {
	w.t.Helper()
	synctest.Wait()
	w.remember(clients...)
	if n := w.srv.Stats().Calls; n != 0 {
		w.t.Errorf("%d handlers run", n)
	}
	for c, side := range w.conns {
		checkEmpty(w.t, side, c)
	}
}

// checkEmpty checks that a connection holds nothing.
func checkEmpty(t *testing.T, side string, c *conn) {
	t.Helper()
	c.mu.Lock()
	streams, pings := len(c.streams), len(c.pings)
	c.mu.Unlock()
	if held, waiting := c.held.Load(), c.turn.waiting.Load(); streams != 0 || pings != 0 || held != 0 || waiting != 0 {
		t.Errorf("the %s's connection has %d streams, %d pings, %d bytes held, %d waiting", side, streams, pings, held, waiting)
	}
}

// serves checks that the server answers on a new connection, and how long it
// takes to, by the bubble's clock.
func (w *world) serves(within time.Duration) {
	w.t.Helper()
	c := w.client(ClientOptions{})
	defer c.Close()
	began := time.Now()
	if resp, err := c.Call(w.t.Context(), "echo", []byte("still there?")); err != nil || string(resp) != "still there?" {
		w.t.Errorf("a call on a new connection: %q, %v", resp, err)
	}
	if took := time.Since(began); took > within {
		w.t.Errorf("a call on a new connection took %v", took)
	}
}

// end ends the server and the network.
func (w *world) end() {
	w.t.Helper()
	w.srv.Close()
	w.net.Close()
	if err := <-w.served; err != ErrServerClosed {
		w.t.Errorf("Serve: %v", err)
	}
	w.peers.Wait()
	w.nothingIsLeft()
}

// peer is one end of a connection, in the hands of a test that plays a peer
// with its own ideas.
type peer struct {
	net.Conn
	t *testing.T

	mu   sync.Mutex
	got  []header // frames that came
	data [][]byte // their payloads
	more chan struct{}
	done chan struct{} // reading has ended
	err  error         // why
}

// peer dials the server as a client would, and says HELLO.
func (w *world) peer() *peer {
	w.t.Helper()
	p := w.mute()
	p.write(appendHello(nil))
	return p
}

// mute is peer without the HELLO.
func (w *world) mute() *peer {
	w.t.Helper()
	nc, err := w.net.Dial(w.t.Context(), worldName)
	if err != nil {
		w.t.Fatal(err)
	}
	return newPeer(w.t, nc)
}

// asServer has serve play a server for the connections to a name.
func (w *world) asServer(name string, serve func(p *peer)) {
	w.t.Helper()
	l, err := w.net.Listen(name)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			w.peers.Go(func() {
				p := newPeer(w.t, nc)
				p.write(appendHello(nil))
				serve(p)
			})
		}
	}()
}

// newPeer reads all frames that come.
func newPeer(t *testing.T, nc net.Conn) *peer {
	p := &peer{Conn: nc, t: t, more: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for {
			h, b, err := readFrame(nc)
			p.mu.Lock()
			if err == nil {
				p.got, p.data = append(p.got, h), append(p.data, b)
			}
			p.err = err
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// write writes frames. That the other side is gone is no mistake of the test.
func (p *peer) write(b []byte) error {
	_, err := p.Write(b)
	return err
}

// await waits for a frame of a type on a stream and returns its payload, or nil
// when the connection has ended without.
func (p *peer) await(typ frameType, stream uint32) []byte {
	for {
		p.mu.Lock()
		for i, h := range p.got {
			if h.typ == typ && h.stream == stream {
				b := p.data[i]
				p.mu.Unlock()
				return slices.Concat([]byte{}, b)
			}
		}
		err := p.err
		p.mu.Unlock()
		if err != nil {
			return nil
		}
		<-p.more
	}
}

// ended waits for the other side to end the connection, and returns the code of
// the GOAWAY before that, if there was one.
func (p *peer) ended() (code Code, goAway bool) {
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != io.EOF && !errors.Is(p.err, io.ErrUnexpectedEOF) && !errors.Is(p.err, net.ErrClosed) {
		p.t.Errorf("the connection ended with %v", p.err)
	}
	n := len(p.got)
	if n == 0 || p.got[n-1].typ != frameGoAway {
		return 0, false
	}
	return Code(uint32(p.data[n-1][0])<<24 | uint32(p.data[n-1][1])<<16 | uint32(p.data[n-1][2])<<8 | uint32(p.data[n-1][3])), true
}

// Frames that peers of tests write.

func openFrame(id uint32, method string) []byte {
	return appendOpen(nil, id, &open{method: []byte(method)})
}

func dataFrame(id uint32, flags byte, p string) []byte {
	return append(appendHeader(nil, header{len(p), frameData, flags, id}), p...)
}

// firstFrame begins a message of several frames.
func firstFrame(id uint32, total uint32, p string) []byte {
	b := appendHeader(nil, header{sizePrefix + len(p), frameData, flagSize, id})
	b = append(b, byte(total>>24), byte(total>>16), byte(total>>8), byte(total))
	return append(b, p...)
}

func statusFrame(typ frameType, id uint32, code Code) []byte {
	return appendStatus(nil, typ, id, code, "")
}
