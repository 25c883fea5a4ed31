package vsockrpc_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// local is the transport of tests: unix sockets, or what NITROSEAL_TRANSPORT
// says, which is vsock in a guest that has it (package internal/guest).
var local = cmp.Or(os.Getenv("NITROSEAL_TRANSPORT"), "unix")

// nextPort of vsock.
var nextPort atomic.Uint32

// address returns a fresh address of a scheme.
func address(t testing.TB, scheme string) string {
	t.Helper()
	switch scheme {
	case "unix":
		return "unix://" + filepath.Join(t.TempDir(), "s")
	case "vsock": // CID 1 is this machine
		return fmt.Sprintf("vsock://1:%d", 20000+nextPort.Add(1))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "tcp://" + l.Addr().String()
}

// serve runs a server at addr until the test ends.
func serve(t testing.TB, addr string, opts vsockrpc.ServerOptions) *vsockrpc.Server {
	t.Helper()
	s := newServer(opts)
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != vsockrpc.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

type number struct {
	N int `cbor:"1,keyasint"`
}

// newServer has a handler for each thing that tests need.
func newServer(opts vsockrpc.ServerOptions) *vsockrpc.Server {
	s := vsockrpc.NewServer(opts)
	s.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
	s.Handle("fail", func(_ context.Context, req []byte) ([]byte, error) {
		return nil, &vsockrpc.Error{Code: vsockrpc.NotFound, Message: string(req)}
	})
	s.Handle("leak", func(context.Context, []byte) ([]byte, error) { return nil, errors.New("secret-canary") })
	s.Handle("panic", func(context.Context, []byte) ([]byte, error) { panic("secret-canary") })
	s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s.Handle("metadata", func(ctx context.Context, _ []byte) ([]byte, error) {
		return []byte(vsockrpc.MetadataFrom(ctx)["key"]), nil
	})
	s.Handle("deadline", func(ctx context.Context, _ []byte) ([]byte, error) {
		d, ok := ctx.Deadline()
		return fmt.Append(nil, ok, time.Until(d) > 50*time.Second, time.Until(d) <= time.Minute), nil
	})
	s.HandleStream("mirror", func(_ context.Context, st *vsockrpc.ServerStream) error {
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
	s.HandleStream("flood", func(ctx context.Context, st *vsockrpc.ServerStream) error {
		for m := make([]byte, 64<<10); ; {
			if err := st.Send(m); err != nil {
				return err
			}
		}
	})
	vsockrpc.Handle(s, "double", func(_ context.Context, n number) (number, error) { return number{2 * n.N}, nil })
	vsockrpc.HandleServerStream(s, "count", func(_ context.Context, n number) iter.Seq2[number, error] {
		return func(yield func(number, error) bool) {
			for i := range n.N {
				if !yield(number{i}, nil) {
					return
				}
			}
			if n.N == 13 {
				yield(number{}, &vsockrpc.Error{Code: vsockrpc.OutOfRange})
			}
		}
	})
	return s
}

func dial(t testing.TB, addr string) *vsockrpc.Client {
	t.Helper()
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// both runs a test over the local transport and TCP.
func both(t *testing.T, test func(t *testing.T, addr string)) {
	for _, scheme := range []string{local, "tcp"} {
		t.Run(scheme, func(t *testing.T) { test(t, address(t, scheme)) })
	}
}

func TestUnary(t *testing.T) {
	both(t, func(t *testing.T, addr string) {
		serve(t, addr, vsockrpc.ServerOptions{})
		c := dial(t, addr)
		for _, size := range []int{0, 1, 64, 32757, 32758, 32759, 65516, 256 << 10, 262144 - 10, 1 << 20, 4 << 20} {
			req := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(size)}).Read(req)
			resp, err := c.Call(t.Context(), "echo", req)
			if err != nil || !bytes.Equal(req, resp) {
				t.Errorf("%d bytes: %d back, %v", size, len(resp), err)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	addr := address(t, local)
	var log syncBuffer
	serve(t, addr, vsockrpc.ServerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c := dial(t, addr)
	for _, tt := range []struct {
		method, text string
		want         vsockrpc.Code
	}{
		{"fail", "the message", vsockrpc.NotFound},
		{"leak", "the handler failed", vsockrpc.Internal},
		{"panic", "the handler failed", vsockrpc.Internal},
		{"none", "no such method", vsockrpc.Unimplemented},
		{"", "method name", vsockrpc.InvalidArgument},
	} {
		_, err := c.Call(t.Context(), tt.method, []byte("the message"))
		if !errors.Is(err, tt.want) || vsockrpc.CodeOf(err) != tt.want || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", tt.method, err)
		}
	}
	if strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), "panicked") {
		t.Errorf("the log is %q", log.String())
	}
	if _, err := c.Call(t.Context(), "echo", nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestDeadlineAndMetadata(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if resp, err := c.Call(ctx, "deadline", nil); err != nil || string(resp) != "true true true" {
		t.Errorf("%s, %v", resp, err)
	}
	ctx = vsockrpc.WithMetadata(t.Context(), vsockrpc.Metadata{"key": "välue"})
	if resp, err := c.Call(ctx, "metadata", nil); err != nil || string(resp) != "välue" {
		t.Errorf("%s, %v", resp, err)
	}
	for name, md := range map[string]vsockrpc.Metadata{"empty key": {"": "x"}, "not UTF-8": {"x": "\xff"}, "long": {"x": strings.Repeat("x", 5000)}} {
		if _, err := c.Call(vsockrpc.WithMetadata(t.Context(), md), "metadata", nil); !errors.Is(err, vsockrpc.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, "wait", nil); !errors.Is(err, vsockrpc.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCancelReachesTheHandler(t *testing.T) {
	addr := address(t, local)
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	entered, left := make(chan struct{}), make(chan error, 1)
	s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := dial(t, addr).Call(ctx, "wait", nil); !errors.Is(err, vsockrpc.Canceled) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-left; err != context.Canceled {
		t.Error(err)
	}
}

func TestStreams(t *testing.T) {
	both(t, func(t *testing.T, addr string) {
		serve(t, addr, vsockrpc.ServerOptions{})
		c := dial(t, addr)
		st, err := c.Stream(t.Context(), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		go func() {
			for i := range 200 {
				if err := st.Send(bytes.Repeat([]byte{byte(i)}, i*1000)); err != nil {
					t.Error(err)
					return
				}
			}
			st.CloseSend()
		}()
		for i := range 200 {
			m, err := st.Recv()
			if err != nil || !bytes.Equal(m, bytes.Repeat([]byte{byte(i)}, i*1000)) {
				t.Fatalf("message %d: %d bytes, %v", i, len(m), err)
			}
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	})
}

func TestTyped(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	if n, err := vsockrpc.Call[number, number](t.Context(), c, "double", number{21}); err != nil || n.N != 42 {
		t.Errorf("%v, %v", n, err)
	}
	if _, err := c.Call(t.Context(), "double", []byte{0xff}); !errors.Is(err, vsockrpc.InvalidArgument) {
		t.Error(err)
	}
	if _, err := vsockrpc.Call[number, string](t.Context(), c, "double", number{1}); !errors.Is(err, vsockrpc.Internal) {
		t.Error(err)
	}
	for _, want := range []int{0, 5, 13} {
		got := 0
		var last error
		for n, err := range vsockrpc.CallServerStream[number, number](t.Context(), c, "count", number{want}) {
			if last = err; err == nil {
				if n.N != got {
					t.Errorf("%d in place %d", n.N, got)
				}
				got++
			}
		}
		if got != want || errors.Is(last, vsockrpc.OutOfRange) != (want == 13) {
			t.Errorf("%d of %d, %v", got, want, last)
		}
	}
	for range vsockrpc.CallServerStream[number, number](t.Context(), c, "count", number{1 << 30}) {
		break // must cancel the handler, or the server could not be closed
	}
}

// A stream that nobody reads holds up neither other calls nor the connection.
func TestStalledStream(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	st, err := c.Stream(t.Context(), "flood")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for range 200 {
		if _, err := c.Call(t.Context(), "echo", make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyCallers(t *testing.T) {
	both(t, func(t *testing.T, addr string) {
		serve(t, addr, vsockrpc.ServerOptions{})
		c := dial(t, addr)
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				for range 50 {
					req := make([]byte, r.IntN(100<<10))
					for j := 0; j < len(req); j += 100 {
						req[j] = byte(r.Uint32())
					}
					sum := sha256.Sum256(req)
					ctx, cancel := context.WithCancel(t.Context())
					if r.IntN(5) == 0 {
						cancel()
					}
					resp, err := c.Call(ctx, "echo", req)
					if err == nil && sha256.Sum256(resp) != sum {
						t.Error("an answer that belongs to another call")
					}
					if err != nil && !errors.Is(err, vsockrpc.Canceled) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
	})
}

func TestLimits(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{MaxStreams: 2, MaxConns: 1})
	c := dial(t, addr)
	if _, err := c.Call(t.Context(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	small, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{MaxMessageSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if _, err := small.Call(t.Context(), "echo", nil); !errors.Is(err, vsockrpc.Unavailable) {
		t.Errorf("a connection too many: %v", err)
	}
	var streams []*vsockrpc.ClientStream
	for range 2 {
		st, err := c.Stream(t.Context(), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if err := st.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	if _, err := c.Call(t.Context(), "echo", nil); !errors.Is(err, vsockrpc.ResourceExhausted) {
		t.Errorf("a call too many: %v", err)
	}
	streams[0].CloseSend()
	if _, err := streams[0].Recv(); err != io.EOF {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), "echo", nil); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{MaxMessageSize: 1000})
	c := dial(t, addr)
	if _, err := c.Call(t.Context(), "echo", make([]byte, 1001)); !errors.Is(err, vsockrpc.ResourceExhausted) {
		t.Errorf("a large request: %v", err)
	}
	if _, err := c.Call(t.Context(), "flood", nil); err == nil {
		t.Error("several answers to a unary call are accepted")
	}
	if _, err := c.Call(t.Context(), "echo", make([]byte, 1000)); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestAnswerLargerThanTheClientTakes(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{MaxMessageSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(t.Context(), "echo", make([]byte, 11)); !errors.Is(err, vsockrpc.ResourceExhausted) {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), "echo", make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

// When the server goes away, calls under way fail at once, and the same client
// uses the next server at the address.
func TestRestart(t *testing.T) {
	both(t, func(t *testing.T, addr string) {
		c := dial(t, addr)
		if _, err := c.Call(t.Context(), "echo", nil); !errors.Is(err, vsockrpc.Unavailable) {
			t.Fatalf("without a server: %v", err)
		}
		for range 3 {
			s := newServer(vsockrpc.ServerOptions{})
			l, err := vsockrpc.Listen(addr)
			if err != nil {
				t.Fatal(err)
			}
			go s.Serve(l)
			if _, err := c.Call(t.Context(), "echo", nil); err != nil {
				t.Fatal(err)
			}
			waiting := make(chan error, 1)
			st, err := c.Stream(t.Context(), "mirror")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, err := st.Recv()
				waiting <- err
			}()
			s.Close()
			if err := <-waiting; !errors.Is(err, vsockrpc.Unavailable) {
				t.Errorf("a call under way: %v", err)
			}
			st.Close()
		}
	})
}

// Shutdown lets calls finish, and takes no new ones.
func TestShutdown(t *testing.T) {
	addr := address(t, local)
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	entered, finish := make(chan struct{}), make(chan struct{})
	s.Handle("slow", func(context.Context, []byte) ([]byte, error) {
		close(entered)
		<-finish
		return []byte("done"), nil
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, addr)
	result := make(chan error, 1)
	go func() {
		resp, err := c.Call(t.Context(), "slow", nil)
		if err == nil && string(resp) != "done" {
			err = fmt.Errorf("answer %q", resp)
		}
		result <- err
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if err := <-served; err != vsockrpc.ErrServerClosed {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), "slow", nil); !errors.Is(err, vsockrpc.Unavailable) {
		t.Errorf("a new call: %v", err)
	}
	close(finish)
	if err := <-result; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	addr := address(t, local)
	s := newServer(vsockrpc.ServerOptions{})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	st, err := dial(t, addr).Stream(t.Context(), "mirror")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err != context.Canceled {
		t.Error(err)
	}
	if _, err := st.Recv(); !errors.Is(err, vsockrpc.Unavailable) {
		t.Error(err)
	}
}

// A peer that takes nothing and answers nothing is given up.
func TestKeepalive(t *testing.T) {
	addr := address(t, local)
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{Keepalive: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(t.Context(), "echo", nil); !errors.Is(err, vsockrpc.Unavailable) {
		t.Error(err)
	}
}

func TestHostileBytes(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	const helloFrame = "\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00nitroseal-rpc/1\n"
	for name, in := range map[string]string{
		"HTTP":            "GET / HTTP/1.1\r\n\r\n",
		"other version":   "\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00nitroseal-rpc/9\n",
		"second hello":    helloFrame + helloFrame,
		"unopened stream": helloFrame + "\x00\x00\x00\x00\x02\x01\x00\x00\x00\x05",
		"status":          helloFrame + "\x00\x00\x00\x0e\x01\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x04wait\x00" + "\x00\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		"opened twice":    helloFrame + strings.Repeat("\x00\x00\x00\x0e\x01\x00\x00\x00\x00\x01"+"\x00\x00\x00\x00\x00\x00\x00\x00\x04wait\x00", 2),
		"window overflow": helloFrame + "\x00\x00\x00\x0e\x01\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x04wait\x00" + strings.Repeat("\x00\x00\x00\x04\x05\x00\x00\x00\x00\x01\x40\x00\x00\x00", 2),
		"beyond the window": helloFrame + "\x00\x00\x00\x10\x01\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x06stuck!\x00" +
			strings.Repeat("\x00\x00\x00\x01\x02\x01\x00\x00\x00\x01x", 30000),
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := vsockrpc.Dial(t.Context(), addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if name == "beyond the window" {
				in = strings.Replace(in, "\x10\x01\x00\x00\x00\x00\x01"+"\x00\x00\x00\x00\x00\x00\x00\x00\x06stuck!", "\x0e\x01\x00\x00\x00\x00\x01"+"\x00\x00\x00\x00\x00\x00\x00\x00\x04wait", 1)
			}
			go io.WriteString(nc, in)
			if _, err := io.Copy(io.Discard, nc); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err) // EOF or a reset: the server ended the connection
			}
		})
	}
	if _, err := dial(t, addr).Call(t.Context(), "echo", nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		addr := address(t, local)
		s := newServer(vsockrpc.ServerOptions{})
		l, err := vsockrpc.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			s.Serve(l)
			close(served)
		}()
		c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		st, err := c.Stream(t.Context(), "flood")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan struct{})
		go func() {
			c.Call(ctx, "wait", nil)
			close(waiting)
		}()
		cancel()
		<-waiting
		s.Close()
		c.Close()
		<-served
	}
	// Goroutines that were told to end need a moment to do so.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{"vsock://16:5000", "vsock://any:5000", "vsock://3:8000", "unix:///run/x.sock", "tcp://127.0.0.1:80", "tcp://[::1]:80"} {
		if a, err := vsockrpc.ParseAddr(good); err != nil || a.String() != good {
			t.Errorf("%s: %v, %v", good, a, err)
		}
	}
	for _, bad := range []string{"", "vsock", "vsock://", "vsock://16", "vsock://x:1", "vsock://16:x", "vsock://4294967295:1", "vsock://16:4294967295",
		"unix://relative", "unix://", "tcp://10.0.0.1:80", "tcp://localhost:80", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "http://127.0.0.1:80"} {
		if _, err := vsockrpc.ParseAddr(bad); err == nil {
			t.Errorf("%s: accepted", bad)
		}
		if _, err := vsockrpc.Listen(bad); err == nil {
			t.Errorf("%s: listens", bad)
		}
		if _, err := vsockrpc.NewClient(bad, vsockrpc.ClientOptions{}); err == nil {
			t.Errorf("%s: dials", bad)
		}
	}
	if _, err := vsockrpc.Dial(t.Context(), "vsock://any:1"); err == nil {
		t.Error("any can be dialled")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := vsockrpc.Listen("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := vsockrpc.Listen("unix://" + path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket in use: %v", err)
	}
	// What a killed process leaves behind is replaced.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	again, err := vsockrpc.Listen("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vsockrpc.Listen("unix://" + file); err == nil {
		t.Error("a file was replaced by a socket")
	}
}

// Vsock itself, where the machine lets a process talk to itself over it.
func TestVsock(t *testing.T) {
	const addr = "vsock://1:50991"
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Skipf("no vsock loopback on this machine: %v", err)
	}
	s := newServer(vsockrpc.ServerOptions{})
	go s.Serve(l)
	defer s.Close()
	if resp, err := dial(t, addr).Call(t.Context(), "echo", make([]byte, 1<<20)); err != nil || len(resp) != 1<<20 {
		t.Errorf("%d bytes, %v", len(resp), err)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Many streams that nobody reads cannot together take more memory than the
// connection's limit; the one that goes too far fails, the others stay.
func TestHeldBytesAreBounded(t *testing.T) {
	addr := address(t, local)
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: 48 << 20})
	release := make(chan struct{})
	s.HandleStream("ignore", func(_ context.Context, st *vsockrpc.ServerStream) error {
		<-release
		for {
			if _, err := st.Recv(); err != nil {
				return nil
			}
		}
	})
	s.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	defer close(release)
	c := dial(t, addr)
	refused := false
	for range 4 { // 48 MiB each, of which 96 MiB may wait
		st, err := c.Stream(t.Context(), "ignore")
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if err := st.Send(make([]byte, 48<<20)); errors.Is(err, vsockrpc.ResourceExhausted) {
			refused = true
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !refused {
		t.Error("192 MiB wait on one connection")
	}
	if _, err := c.Call(t.Context(), "echo", nil); err != nil {
		t.Errorf("another call: %v", err)
	}
}
