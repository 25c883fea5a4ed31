package vsockrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var nextPort atomic.Uint32

// address returns a fresh address of the transport that tests use.
func address(t *testing.T) string {
	if os.Getenv("NITROSEAL_TRANSPORT") == "vsock" {
		return fmt.Sprintf("vsock://1:%d", 30000+nextPort.Add(1))
	}
	return "unix://" + filepath.Join(t.TempDir(), "s")
}

// start runs a server until the test ends and returns its address.
func start(t *testing.T, register func(*Server)) string {
	t.Helper()
	addr := address(t)
	s := NewServer(ServerOptions{MaxMessageSize: 16 << 20})
	register(s)
	l, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return addr
}

func client(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := NewClient(addr, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// raw connects without the package's own client.
func raw(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := nc.Write(appendHello(nil)); err != nil {
		t.Fatal(err)
	}
	return nc
}

func echo(_ context.Context, b []byte) ([]byte, error) { return b, nil }

// A peer that asks for answers and never reads one is cut off, instead of
// having them kept for it without end.
func TestAnswersThatNobodyReads(t *testing.T) {
	addr := start(t, func(s *Server) { s.Handle("echo", echo) })
	var id uint32
	for name, frame := range map[string]func(b []byte) []byte{
		"PING": func(b []byte) []byte { return append64(b, framePing, 1) },
		"OPEN": func(b []byte) []byte {
			id++
			return appendOpen(b, id, &open{method: []byte("none")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc := raw(t, addr)
			sent, began := 0, time.Now()
			for b := []byte(nil); sent < 64<<20; {
				for len(b) < maxFrame {
					b = frame(b)
				}
				// Over vsock, a Write that waits does not learn that the other
				// side has closed the connection; the next one does.
				nc.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				n, err := nc.Write(b)
				b, sent = b[n:], sent+n
				switch {
				case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
					return
				case err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > time.Minute):
					t.Fatalf("after %d bytes: %v", sent, err)
				}
			}
			t.Errorf("%d MiB were taken", sent>>20)
		})
	}
}

// The server counts what tiny messages cost it, not only their bytes, and
// other calls go on however much waits.
func TestTinyMessagesAreCounted(t *testing.T) {
	release := make(chan struct{})
	addr := start(t, func(s *Server) {
		s.Handle("echo", echo)
		s.HandleStream("ignore", func(context.Context, *ServerStream) error {
			<-release
			return nil
		})
	})
	defer close(release)
	const streams = 100 // of 1.6 MiB each by that count
	nc := raw(t, addr)
	refused := make(chan uint32, 1)
	echoed := make(chan error, 1)
	go func() {
		for {
			h, _, err := readFrame(nc)
			switch {
			case err != nil:
				echoed <- err
				return
			case h.typ == frameReset && h.stream > streams:
				echoed <- ResourceExhausted
				return
			case h.typ == frameReset:
				signalID(refused, h.stream)
			case h.typ == frameStatus:
				echoed <- nil
				return
			}
		}
	}()
	for id := uint32(1); id <= streams; id++ {
		b := appendOpen(nil, id, &open{method: []byte("ignore")})
		for range initialWindow / (frameHeader + 1) {
			b = append(appendHeader(b, header{1, frameData, flagEndMessage, id}), 'x')
		}
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	// Fill what the refused ones left, and call. The bytes that each stream
	// may always keep hold these.
	const fillers = 300
	message := func(method string, id uint32, flags byte, n int) {
		b := appendHeader(appendOpen(nil, id, &open{method: []byte(method)}), header{n, frameData, flags, id})
		if _, err := nc.Write(append(b, make([]byte, n)...)); err != nil {
			t.Fatal(err)
		}
	}
	for id := uint32(streams + 1); id <= streams+fillers; id++ {
		message("ignore", id, flagEndMessage, 8<<10)
	}
	message("echo", streams+fillers+1, flagEndMessage|flagEndStream, 16_000)
	if err := <-echoed; err != nil {
		t.Fatalf("a small call beside them: %v", err)
	}
	select {
	case id := <-refused:
		if id < 30 {
			t.Errorf("stream %d is refused already", id)
		}
	default:
		t.Error("no stream was refused")
	}
}

func signalID(c chan uint32, id uint32) {
	select {
	case c <- id:
	default:
	}
}

// A message that its sender could not finish is never joined with the next
// one, and harms no other call.
func TestCutMessage(t *testing.T) {
	ended := make(chan error, 1)
	proceed := make(chan struct{})
	addr := start(t, func(s *Server) {
		s.Handle("echo", echo)
		s.HandleStream("read", func(_ context.Context, st *ServerStream) error {
			<-proceed
			for {
				m, err := st.Recv()
				if err != nil {
					ended <- err
					return err
				}
				if len(m) != 200<<10 {
					t.Errorf("message of %d bytes", len(m))
				}
			}
		})
		s.HandleStream("write", func(ctx context.Context, st *ServerStream) error {
			cut, cancel := context.WithCancel(ctx)
			cancel()
			if err := st.Send(make([]byte, 200<<10)); err != nil {
				return err
			}
			if err := st.s.send(cut, make([]byte, 1<<20), false, true); !errors.Is(err, Canceled) {
				t.Errorf("a cut Send: %v", err)
			}
			<-proceed
			if err := st.Send([]byte("whole")); err == nil {
				t.Error("a message can be sent after part of another")
			}
			return nil
		})
	})
	c := client(t, addr)
	up, err := c.Stream(t.Context(), "read")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	down, err := c.Stream(t.Context(), "write")
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	if err := up.Send(make([]byte, 200<<10)); err != nil {
		t.Fatal(err)
	}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := up.s.send(cut, make([]byte, 1<<20), false, true); !errors.Is(err, Canceled) {
		t.Errorf("a cut Send: %v", err)
	}
	up.CloseSend()
	close(proceed)
	if err := <-ended; errors.Is(err, io.EOF) {
		t.Error("the handler takes the cut stream for a whole one")
	}
	for {
		m, err := down.Recv()
		if err != nil {
			if !errors.Is(err, Canceled) {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
		if len(m) != 200<<10 {
			t.Errorf("message of %d bytes", len(m))
		}
	}
	if _, err := c.Call(t.Context(), "echo", []byte("x")); err != nil {
		t.Errorf("another call on the connection: %v", err)
	}
}

// A server that says OK inside a message does not make it look whole.
func TestStatusInsideAMessage(t *testing.T) {
	addr := address(t)
	l, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		b := append(appendHeader(appendHello(nil), header{8, frameData, flagSize, 1}), "\x00\x00\x00\x08half"...)
		for seen := 0; seen < 2; seen++ { // HELLO and OPEN
			if _, _, err := readFrame(nc); err != nil {
				return
			}
		}
		nc.Write(appendStatus(b, frameStatus, 1, OK, ""))
		io.Copy(io.Discard, nc)
	}()
	st, err := client(t, addr).Stream(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if m, err := st.Recv(); !errors.Is(err, Internal) {
		t.Errorf("%q, %v", m, err)
	}
}

// Close ends calls that wait for a connection, and the attempt to make one.
func TestCloseWhileConnecting(t *testing.T) {
	c := client(t, address(t))
	c.mu.Lock()
	c.earliest = time.Now().Add(time.Hour)
	c.mu.Unlock()
	result := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), "x", nil)
		result <- err
	}()
	for waiting := false; !waiting; runtime.Gosched() {
		c.mu.Lock()
		waiting = c.dial != nil
		c.mu.Unlock()
	}
	c.Close()
	if err := <-result; !errors.Is(err, Canceled) {
		t.Error(err)
	}
}

func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	addr := start(t, func(s *Server) {
		s.Handle("exit", func(context.Context, []byte) ([]byte, error) {
			runtime.Goexit()
			return nil, nil
		})
	})
	if _, err := client(t, addr).Call(t.Context(), "exit", nil); !errors.Is(err, Internal) {
		t.Error(err)
	}
}

// What was not received of a call that its client gave up is dropped, even
// while the handler does not notice.
func TestResetDropsWhatWaits(t *testing.T) {
	entered, release := make(chan *ServerStream, 1), make(chan struct{})
	defer close(release)
	addr := start(t, func(s *Server) {
		s.HandleStream("ignore", func(ctx context.Context, st *ServerStream) error {
			entered <- st
			<-ctx.Done()
			entered <- st
			<-release
			return nil
		})
	})
	st, err := client(t, addr).Stream(t.Context(), "ignore")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Send(make([]byte, 200<<10)); err != nil {
		t.Fatal(err)
	}
	<-entered
	st.Close()
	srv := <-entered
	srv.s.mu.Lock()
	defer srv.s.mu.Unlock()
	if n := len(srv.s.queue); n != 0 || srv.s.held != 0 || srv.s.conn.held.Load() != 0 {
		t.Errorf("%d messages wait, %d bytes, %d on the connection", n, srv.s.held, srv.s.conn.held.Load())
	}
}

func TestWriteParts(t *testing.T) {
	for _, size := range []int{0, 1, maxFrame, maxFrame + 1, 3*maxFrame + 5} {
		var w partsWriter
		in := bytes.Repeat([]byte("part"), size)[:size]
		if n, err := writeParts(&w, in); n != size || err != nil || !bytes.Equal(w.all, in) || w.largest > maxFrame {
			t.Errorf("%d bytes: %d, %v, %d at once", size, n, err, w.largest)
		}
	}
	w := partsWriter{left: 1}
	if n, err := writeParts(&w, make([]byte, 2*maxFrame)); n != maxFrame || err != io.ErrClosedPipe {
		t.Errorf("%d, %v", n, err)
	}
}

// partsWriter fails after left writes, if that is not 0.
type partsWriter struct {
	all     []byte
	largest int
	left    int
}

func (w *partsWriter) Write(p []byte) (int, error) {
	if w.left > 0 && len(w.all) > 0 {
		return 0, io.ErrClosedPipe
	}
	w.all = append(w.all, p...)
	w.largest = max(w.largest, len(p))
	return len(p), nil
}

// A socket has its mode from the moment it can be found.
func TestUnixSocketModeBeforeBind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux takes the mode of a socket before it has a name")
	}
	path := filepath.Join(t.TempDir(), "s")
	cfg := net.ListenConfig{Control: beforeBind}
	l, err := cfg.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&^0o600 != 0 {
		t.Errorf("mode %v", info.Mode())
	}
}

// A send that is given up while it waits for the socket ends the call, since
// it has spent its part of the window.
func TestSendGivenUpAtTheSocket(t *testing.T) {
	a, b := net.Pipe() // nobody reads more of b than HELLO
	defer b.Close()
	c := servedConn(a, -1)
	if _, err := io.ReadFull(b, make([]byte, len(appendHello(nil)))); err != nil {
		t.Fatal(err)
	}
	c.out.put(func(p []byte) []byte { return append(p, make([]byte, 2*outboxLimit)...) })
	// The writer takes what was there; the second lot stays.
	for taken := false; !taken; runtime.Gosched() {
		c.out.mu.Lock()
		taken = len(c.out.buf) == 0
		c.out.mu.Unlock()
	}
	c.out.put(func(p []byte) []byte { return append(p, make([]byte, 2*outboxLimit)...) })
	s, err := c.open(open{method: []byte("x")}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.send(ctx, []byte("x"), false, true); !errors.Is(err, Canceled) {
		t.Errorf("a Send that cannot reach the socket: %v", err)
	}
	if err := s.send(t.Context(), []byte("y"), false, true); !errors.Is(err, Canceled) {
		t.Errorf("the call goes on: %v", err)
	}
	c.close(errorf(Canceled, "the test is over"))
	<-c.gone
}
