package vsockrpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// recorder notes what interceptors and hooks are told.
type recorder struct {
	mu    sync.Mutex
	lines []string
	calls []vsockrpc.CallStats
	ended chan struct{}
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) interceptor(name string) vsockrpc.Interceptor {
	return func(ctx context.Context, method string, next func(context.Context) error) error {
		r.add("%s>%s", name, method)
		err := next(ctx)
		r.add("%s<%v", name, vsockrpc.CodeOf(err))
		return err
	}
}

func (r *recorder) onCall(s vsockrpc.CallStats) {
	r.mu.Lock()
	r.calls = append(r.calls, s)
	r.mu.Unlock()
	r.ended <- struct{}{}
}

func newRecorder() *recorder { return &recorder{ended: make(chan struct{}, 1000)} }

func TestInterceptors(t *testing.T) {
	addr := address(t, local)
	server, client := newRecorder(), newRecorder()
	type key struct{}
	serve(t, addr, vsockrpc.ServerOptions{Interceptors: []vsockrpc.Interceptor{
		server.interceptor("a"), server.interceptor("b"),
		func(ctx context.Context, method string, next func(context.Context) error) error {
			switch method {
			case "mirror":
				return vsockrpc.PermissionDenied
			case "double":
				panic("in an interceptor")
			}
			return next(context.WithValue(ctx, key{}, "set"))
		},
	}})
	again := 0
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{Interceptors: []vsockrpc.Interceptor{
		client.interceptor("c"),
		func(ctx context.Context, method string, next func(context.Context) error) error {
			err := next(ctx)
			if errors.Is(err, vsockrpc.NotFound) {
				again++
				err = next(ctx)
			}
			return err
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Call(t.Context(), "echo", []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Call(t.Context(), "fail", nil); !errors.Is(err, vsockrpc.NotFound) || again != 1 {
		t.Errorf("%v after %d more", err, again)
	}
	if _, err := c.Call(t.Context(), "double", nil); !errors.Is(err, vsockrpc.Internal) {
		t.Errorf("an interceptor that panics: %v", err)
	}
	st, err := c.Stream(t.Context(), "mirror")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.Recv(); !errors.Is(err, vsockrpc.PermissionDenied) {
		t.Errorf("a stream that an interceptor refuses: %v", err)
	}
	want := []string{
		"c>echo", "c<ok", "c>fail", "c<not found", "c>double", "c<internal", "c>mirror", "c<ok", // c: the beginning of the stream
	}
	if !slices.Equal(client.lines, want) {
		t.Errorf("client: %q", client.lines)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if got := server.lines[:4]; !slices.Equal(got, []string{"a>echo", "b>echo", "b<ok", "a<ok"}) {
		t.Errorf("server: %q", got)
	}
}

func TestOnCall(t *testing.T) {
	addr := address(t, local)
	server, client := newRecorder(), newRecorder()
	s := serve(t, addr, vsockrpc.ServerOptions{OnCall: server.onCall})
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{OnCall: client.onCall})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Call(t.Context(), "echo", make([]byte, 100_000))
	<-server.ended
	c.Call(t.Context(), "fail", []byte("why"))
	<-server.ended
	c.Call(t.Context(), "none", nil)
	st, err := c.Stream(t.Context(), "mirror")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := st.Send([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Stats(); got != (vsockrpc.ServerStats{Conns: 1, Calls: 1}) {
		t.Errorf("%+v", got)
	}
	st.Close()
	st.Close()
	<-server.ended
	type row struct {
		method         string
		code           vsockrpc.Code
		sent, received vsockrpc.Traffic
	}
	rows := func(r *recorder) (all []row) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, s := range r.calls {
			if s.Began.IsZero() || s.Took <= 0 {
				t.Errorf("%+v", s)
			}
			all = append(all, row{s.Method, s.Code, s.Sent, s.Received})
		}
		return all
	}
	big, why, three, none := vsockrpc.Traffic{Messages: 1, Bytes: 100_000}, vsockrpc.Traffic{Messages: 1, Bytes: 3}, vsockrpc.Traffic{Messages: 3, Bytes: 15}, vsockrpc.Traffic{}
	if got := rows(server); !slices.Equal(got, []row{
		{"echo", vsockrpc.OK, big, big}, {"fail", vsockrpc.NotFound, none, why}, {"mirror", vsockrpc.Canceled, three, three},
	}) {
		t.Errorf("server: %+v", got)
	}
	if got := rows(client); !slices.Equal(got, []row{
		{"echo", vsockrpc.OK, big, big}, {"fail", vsockrpc.NotFound, why, none},
		{"none", vsockrpc.Unimplemented, vsockrpc.Traffic{Messages: 1}, none}, {"mirror", vsockrpc.Canceled, three, three},
	}) {
		t.Errorf("client: %+v", got)
	}
	if got := s.Stats(); got != (vsockrpc.ServerStats{Conns: 1}) {
		t.Errorf("at the end: %+v", got)
	}
}

func TestPing(t *testing.T) {
	addr := address(t, local)
	c := dial(t, addr)
	if err := c.Ping(t.Context()); !vsockrpc.Unprocessed(err) || !errors.Is(err, vsockrpc.Unavailable) {
		t.Errorf("without a server: %v", err)
	}
	s := serve(t, addr, vsockrpc.ServerOptions{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 20 {
				if err := c.Ping(t.Context()); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if _, err := c.Call(t.Context(), "echo", nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Close()
	if err := c.Ping(t.Context()); !errors.Is(err, vsockrpc.Unavailable) {
		t.Errorf("a server that was closed: %v", err)
	}
}

func TestPeerAddr(t *testing.T) {
	addr := address(t, local)
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	peer := make(chan net.Addr, 1)
	s.Handle("who", func(ctx context.Context, _ []byte) ([]byte, error) {
		peer <- vsockrpc.PeerAddr(ctx)
		return nil, nil
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	if _, err := dial(t, addr).Call(t.Context(), "who", nil); err != nil {
		t.Fatal(err)
	}
	if got := <-peer; got == nil || got.Network() != l.Addr().Network() {
		t.Errorf("%v", got)
	}
	if vsockrpc.PeerAddr(t.Context()) != nil {
		t.Error("a peer of no call")
	}
}

// AppendCall keeps what dst held, and uses its memory where there is room.
func TestAppendCall(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	for _, room := range []int{0, 3, 4, 5, 100, 200_000} {
		for _, size := range []int{0, 1, 4, 90, 100_000} {
			dst := append(make([]byte, 0, 4+room), "head"...)
			msg := bytes.Repeat([]byte{7}, size)
			got, err := c.AppendCall(t.Context(), dst, "echo", msg)
			if err != nil || !bytes.Equal(got, append([]byte("head"), msg...)) {
				t.Errorf("%d bytes with room for %d: %d back, %v", size, room, len(got), err)
				continue
			}
			if same := &got[0] == &dst[0]; same != (size <= room) {
				t.Errorf("%d bytes with room for %d: in dst's memory: %v", size, room, same)
			}
		}
	}
	dst := []byte("head")
	if got, err := c.AppendCall(t.Context(), dst, "fail", nil); err == nil || string(got) != "head" {
		t.Errorf("%q, %v", got, err)
	}
}

// What HandleLent lends is erased before anybody else gets it.
func TestLentIsErased(t *testing.T) {
	addr := address(t, local)
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	kept := make(chan []byte, 1)
	s.HandleLent("keep", func(_ context.Context, req []byte) ([]byte, error) {
		kept <- req
		return req[:1], nil
	})
	ended := make(chan struct{})
	s.HandleLent("panic", func(_ context.Context, req []byte) ([]byte, error) {
		kept <- req
		panic("with a lent request")
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		s.Serve(l)
		close(ended)
	}()
	c := dial(t, addr)
	for _, method := range []string{"keep", "panic"} {
		for _, size := range []int{10, 5000, 70_000} {
			got, err := c.Call(t.Context(), method, bytes.Repeat([]byte("s"), size))
			if method == "keep" && (err != nil || string(got) != "s") {
				t.Errorf("%d bytes: %q, %v", size, got, err)
			}
			if req := <-kept; len(req) != size || bytes.ContainsRune(req, 's') {
				t.Errorf("%s, %d bytes: the request is still there", method, size)
			}
		}
	}
	s.Close()
	<-ended
}

func TestTypedStreams(t *testing.T) {
	addr := address(t, local)
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	vsockrpc.HandleClientStream(s, "sum", func(_ context.Context, all iter.Seq2[int, error]) (sum int, err error) {
		for n, err := range all {
			if err != nil {
				return 0, err
			}
			if n < 0 {
				return 0, vsockrpc.OutOfRange
			}
			sum += n
		}
		return sum, nil
	})
	vsockrpc.HandleBidiStream(s, "double", func(_ context.Context, all iter.Seq2[int, error]) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n, err := range all {
				if n < 0 {
					err = vsockrpc.OutOfRange
				}
				if !yield(2*n, err) {
					return
				}
			}
		}
	})
	s.HandleStream("two", func(_ context.Context, st *vsockrpc.ServerStream) error {
		st.Send([]byte{1})
		return st.Send([]byte{2})
	})
	s.HandleStream("none", func(context.Context, *vsockrpc.ServerStream) error { return nil })
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	c := dial(t, addr)
	ctx := t.Context()

	numbers := func(n int) iter.Seq[int] {
		return func(yield func(int) bool) {
			for i := range n {
				if !yield(i) {
					return
				}
			}
		}
	}
	if sum, err := vsockrpc.CallClientStream[int, int](ctx, c, "sum", numbers(1000)); err != nil || sum != 499500 {
		t.Errorf("%d, %v", sum, err)
	}
	endless := func(yield func(int) bool) {
		for yield(-1) {
		}
	}
	if _, err := vsockrpc.CallClientStream[int, int](ctx, c, "sum", endless); !errors.Is(err, vsockrpc.OutOfRange) {
		t.Errorf("a handler that refuses: %v", err)
	}
	if _, err := vsockrpc.CallClientStream[string, int](ctx, c, "sum", slices.Values([]string{"text"})); !errors.Is(err, vsockrpc.InvalidArgument) {
		t.Errorf("requests of another type: %v", err)
	}
	if _, err := vsockrpc.CallClientStream[int, string](ctx, c, "sum", numbers(1)); !errors.Is(err, vsockrpc.Internal) {
		t.Errorf("an answer of another type: %v", err)
	}
	for _, method := range []string{"two", "none"} {
		if _, err := vsockrpc.CallClientStream[int, int](ctx, c, method, numbers(0)); !errors.Is(err, vsockrpc.Internal) {
			t.Errorf("%s: %v", method, err)
		}
	}

	next := 0
	for n, err := range vsockrpc.CallBidiStream[int, int](ctx, c, "double", numbers(1000)) {
		if err != nil || n != 2*next {
			t.Fatalf("%d in place %d, %v", n, next, err)
		}
		next++
	}
	if next != 1000 {
		t.Errorf("%d answers", next)
	}
	var last error
	for _, last = range vsockrpc.CallBidiStream[int, int](ctx, c, "double", endless) {
	}
	if !errors.Is(last, vsockrpc.OutOfRange) {
		t.Errorf("a handler that refuses: %v", last)
	}
	for n, err := range vsockrpc.CallBidiStream[int, int](ctx, c, "double", numbers(1<<30)) {
		if err != nil {
			t.Fatal(err)
		}
		if n == 200 {
			break // ends the sequence of requests, too
		}
	}
	for _, last = range vsockrpc.CallBidiStream[any, int](ctx, c, "double", slices.Values([]any{1, func() {}})) {
	}
	if !errors.Is(last, vsockrpc.Internal) {
		t.Errorf("a request that cannot be encoded: %v", last)
	}
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, last = range vsockrpc.CallBidiStream[int, int](cancelled, c, "double", numbers(1<<30)) {
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled: %v", last)
	}
	if _, err := c.Call(ctx, "none", nil); errors.Is(err, io.EOF) || !errors.Is(err, vsockrpc.Internal) {
		t.Error(err)
	}
}
