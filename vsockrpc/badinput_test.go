package vsockrpc_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nitroseal/nitroseal/internal/badinput"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

func badCall(code vsockrpc.Code, name string) badinput.Outcome {
	return badinput.Both(badinput.As[*vsockrpc.Error](), badinput.Is("vsockrpc."+name, code))
}

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/vsockrpc.md.
func TestBadInput(t *testing.T) {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: 100})
	vsockrpc.Handle(srv, "echo", func(_ context.Context, s string) (string, error) { return s, nil })
	srv.HandleStream("end", func(context.Context, *vsockrpc.ServerStream) error { return nil })
	badServerStream(srv)
	l, err := vsockrpc.Listen("mem://badinput")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()
	client, err := vsockrpc.NewClient("mem://badinput", vsockrpc.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pool, err := vsockrpc.NewPool([]string{"mem://badinput"}, vsockrpc.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	badinput.Table{
		Package: "vsockrpc",
		Cases: slices.Concat(addressCases(), callCases(t, "Client", client, client.Call), callCases(t, "Pool", pool, pool.Call),
			poolCases(pool), streamCases(client), serverCases(t)),
		NoInput: []string{"ClientStream.Close", "ClientStream.CloseSend", "Error.Error", "Error.Unwrap", "HandshakeError.Error",
			"Pool.Targets", "Server.Stats", "Addr.String", "Code.Error"},
	}.Run(t)
}

func addressCases() []badinput.Case {
	plain := badinput.Plain()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var cases []badinput.Case
	for _, c := range []struct{ input, addr string }{
		{"no address", ""},
		{"an unknown scheme", "http://127.0.0.1:80"},
		{"text with a newline and a NUL", "mem://a\n\x00" + badinput.Canary[:3]},
		{"bytes that are not UTF-8", "mem://\xff"},
		{"a vsock port of 2^32", "vsock://3:4294967296"},
		{"a vsock CID of -1", "vsock://-1:5000"},
		{"a TCP address that is not loopback", "tcp://192.0.2.1:80"},
		{"a TCP host name", "tcp://localhost:80"},
		{"a unix path that is not absolute", "unix://socket"},
		{"a unix path of 108 bytes", "unix:///" + strings.Repeat("x", 107)},
		{"a name in memory of 256 bytes", "mem://" + strings.Repeat("x", 256)},
	} {
		cases = append(cases,
			badinput.On("ParseAddr", c.input, plain, func(context.Context) error { _, err := vsockrpc.ParseAddr(c.addr); return err }),
			badinput.On("Listen", c.input, plain, func(context.Context) error { _, err := vsockrpc.Listen(c.addr); return err }),
			badinput.On("Dial", c.input, plain, func(ctx context.Context) error { _, err := vsockrpc.Dial(ctx, c.addr); return err }),
			badinput.On("NewClient", c.input, plain, func(context.Context) error {
				_, err := vsockrpc.NewClient(c.addr, vsockrpc.ClientOptions{})
				return err
			}),
			badinput.On("NewPool", c.input, plain, func(context.Context) error {
				_, err := vsockrpc.NewPool([]string{c.addr}, vsockrpc.PoolOptions{})
				return err
			}))
	}
	return append(cases,
		badinput.On("Listen", "an address that another listener has", badinput.Is("syscall.EADDRINUSE", syscall.EADDRINUSE), func(context.Context) error {
			_, err := vsockrpc.Listen("mem://badinput")
			return err
		}).Vary(),
		badinput.On("Dial", "an address where nobody listens", badinput.Is("syscall.ECONNREFUSED", syscall.ECONNREFUSED), func(ctx context.Context) error {
			_, err := vsockrpc.Dial(ctx, "mem://nobody")
			return err
		}).Vary(),
		badinput.On("Dial", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error {
			_, err := vsockrpc.Dial(gone, "mem://badinput")
			return err
		}).Vary(),
		badinput.On("NewPool", "no addresses", plain, func(context.Context) error { _, err := vsockrpc.NewPool(nil, vsockrpc.PoolOptions{}); return err }),
		badinput.On("NewPool", "257 addresses", plain, func(context.Context) error {
			_, err := vsockrpc.NewPool(slices.Repeat([]string{"mem://a"}, 257), vsockrpc.PoolOptions{})
			return err
		}),
		badinput.On("NewPool", "an address twice", badCall(vsockrpc.AlreadyExists, "AlreadyExists"), func(context.Context) error {
			_, err := vsockrpc.NewPool([]string{"mem://a", "mem://a"}, vsockrpc.PoolOptions{})
			return err
		}))
}

// callCases are those of a Client and of a Pool.
func callCases(t *testing.T, name string, c vsockrpc.Caller, call func(context.Context, string, []byte) ([]byte, error)) []badinput.Case {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	closedClient, err := vsockrpc.NewClient("mem://badinput", vsockrpc.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closedClient.Close()
	closedPool, err := vsockrpc.NewPool([]string{"mem://badinput"}, vsockrpc.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closedPool.Close()
	var closed vsockrpc.Caller = closedClient
	shut := closedClient.Close
	if name == "Pool" {
		closed, shut = closedPool, closedPool.Close
	}
	cases := []badinput.Case{
		badinput.On(name+".Close", "a closed "+name, badinput.Ignored("closing twice is fine"), func(context.Context) error { return shut() }),
	}
	canceled := badinput.Both(badCall(vsockrpc.Canceled, "Canceled"), badinput.Is("context.Canceled", context.Canceled))
	for _, op := range []struct {
		name string
		call func(ctx context.Context, c vsockrpc.Caller, method string, req []byte) error
	}{
		{"Call", func(ctx context.Context, c vsockrpc.Caller, method string, req []byte) error {
			if c == closed {
				_, err := c.AppendCall(ctx, nil, method, req) // which Call is made of
				return err
			}
			_, err := call(ctx, method, req)
			return err
		}},
		{"AppendCall", func(ctx context.Context, c vsockrpc.Caller, method string, req []byte) error {
			dst, err := c.AppendCall(ctx, []byte("dst"), method, req)
			if err != nil && string(dst) != "dst" {
				return errors.New("dst is not what it was")
			}
			return err
		}},
		{"Stream", func(ctx context.Context, c vsockrpc.Caller, method string, req []byte) error {
			s, err := c.Stream(ctx, method)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.SendLast(req); err != nil {
				_, err = s.Recv()
				return err
			}
			_, err = s.Recv()
			return err
		}},
	} {
		bad := func(input string, want badinput.Outcome, method string, req []byte) {
			cases = append(cases, badinput.On(name+"."+op.name, input, want, func(ctx context.Context) error { return op.call(ctx, c, method, req) }).Vary())
		}
		invalid := badCall(vsockrpc.InvalidArgument, "InvalidArgument")
		bad("no method", invalid, "", nil)
		bad("a method of 256 bytes", invalid, strings.Repeat("x", 256), nil)
		bad("a method that is not UTF-8", invalid, "\xff", nil)
		bad("a method that nobody handles", badCall(vsockrpc.Unimplemented, "Unimplemented"), "nothing\n", nil)
		bad("a message over the server's limit", badCall(vsockrpc.ResourceExhausted, "ResourceExhausted"), "echo", make([]byte, 101))
		bad("a message that the handler cannot decode", invalid, "echo", []byte("\xff"+badinput.Canary))
		cases = append(cases,
			badinput.On(name+"."+op.name, "a context that has ended", canceled, func(context.Context) error { return op.call(gone, c, "echo", nil) }).Vary(),
			badinput.On(name+"."+op.name, "metadata of 65 pairs", invalid, func(ctx context.Context) error {
				md := vsockrpc.Metadata{}
				for i := range 65 {
					md[strings.Repeat("x", i+1)] = ""
				}
				return op.call(vsockrpc.WithMetadata(ctx, md), c, "echo", nil)
			}).Vary(),
			badinput.On(name+"."+op.name, "metadata that is not UTF-8", invalid, func(ctx context.Context) error {
				return op.call(vsockrpc.WithMetadata(ctx, vsockrpc.Metadata{"a": badinput.Canary + "\xff"}), c, "echo", nil)
			}).Vary(),
			badinput.On(name+"."+op.name, "a closed "+name, badCall(vsockrpc.Canceled, "Canceled"), func(ctx context.Context) error { return op.call(ctx, closed, "echo", nil) }).Vary())
	}
	if name == "Client" {
		cases = append(cases,
			badinput.On("Client.Ping", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error { return c.(*vsockrpc.Client).Ping(gone) }).Vary(),
			badinput.On("Client.Ping", "a closed Client", badCall(vsockrpc.Canceled, "Canceled"), closedClient.Ping).Vary())
	}
	return cases
}

func poolCases(pool *vsockrpc.Pool) []badinput.Case {
	notFound, exists := badCall(vsockrpc.NotFound, "NotFound"), badCall(vsockrpc.AlreadyExists, "AlreadyExists")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	plain := badinput.Plain()
	return []badinput.Case{
		badinput.On("Pool.Add", "what is no address", plain, func(context.Context) error { return pool.Add("http://x\n") }),
		badinput.On("Pool.Add", "a target that it has", exists, func(context.Context) error { return pool.Add("mem://badinput") }),
		badinput.On("Pool.Drain", "a target that it does not have", notFound, func(ctx context.Context) error { return pool.Drain(ctx, "mem://other") }),
		badinput.On("Pool.Drain", "what is no address", plain, func(ctx context.Context) error { return pool.Drain(ctx, "x\n") }),
		badinput.On("Pool.Replace", "a target that it does not have", notFound, func(ctx context.Context) error { return pool.Replace(ctx, "mem://other", "mem://third") }),
		badinput.On("Pool.Replace", "a target by itself", exists, func(ctx context.Context) error { return pool.Replace(ctx, "mem://badinput", "mem://badinput") }),
		badinput.On("Pool.Replace", "what is no address", plain, func(ctx context.Context) error { return pool.Replace(ctx, "mem://badinput", "x") }),
		badinput.On("Pool.Replace", "a context that has ended", badinput.Own("context.Canceled", context.Canceled), func(context.Context) error {
			return pool.Replace(gone, "mem://badinput", "mem://nobody")
		}),
		badinput.On("Pool.Target", "an address that it does not have", badCall(vsockrpc.Unavailable, "Unavailable"), func(ctx context.Context) error {
			_, err := pool.Target("x\n").AppendCall(ctx, nil, "echo", nil)
			return err
		}).Vary(),
	}
}

func streamCases(client *vsockrpc.Client) []badinput.Case {
	ctx := context.Background()
	stream := func() *vsockrpc.ClientStream {
		s, err := client.Stream(ctx, "end")
		if err != nil {
			panic(err)
		}
		return s
	}
	type unencodable chan int
	bad := badinput.As[*vsockrpc.Error]()
	one := func(v unencodable) iter.Seq[unencodable] { return func(yield func(unencodable) bool) { yield(v) } }
	first := func(seq iter.Seq2[string, error]) error {
		for _, err := range seq {
			return err
		}
		return nil
	}
	closed := func() *vsockrpc.ClientStream {
		s := stream()
		s.Close()
		return s
	}
	return []badinput.Case{
		badinput.On("ClientStream.Send", "a closed stream", bad, func(context.Context) error { return closed().Send(nil) }).Vary(),
		badinput.On("ClientStream.SendLast", "a closed stream", bad, func(context.Context) error { return closed().SendLast(nil) }).Vary(),
		badinput.On("ClientStream.Recv", "a closed stream", bad, func(context.Context) error { _, err := closed().Recv(); return err }).Vary(),
		badinput.On("Call", "a request that cannot be encoded", bad, func(ctx context.Context) error {
			_, err := vsockrpc.Call[unencodable, string](ctx, client, "echo", nil)
			return err
		}).Vary(),
		badinput.On("Call", "an answer that cannot be decoded", bad, func(ctx context.Context) error {
			_, err := vsockrpc.Call[string, int](ctx, client, "echo", badinput.Canary)
			return err
		}).Vary(),
		badinput.On("CallServerStream", "a request that cannot be encoded", bad, func(ctx context.Context) error {
			return first(vsockrpc.CallServerStream[unencodable, string](ctx, client, "echo", nil))
		}).Vary(),
		badinput.On("CallServerStream", "a method that nobody handles", badCall(vsockrpc.Unimplemented, "Unimplemented"), func(ctx context.Context) error {
			return first(vsockrpc.CallServerStream[string, string](ctx, client, "nothing", ""))
		}).Vary(),
		badinput.On("CallClientStream", "a message that cannot be encoded", bad, func(ctx context.Context) error {
			_, err := vsockrpc.CallClientStream[unencodable, string](ctx, client, "end", one(nil))
			return err
		}).Vary(),
		badinput.On("CallBidiStream", "a message that cannot be encoded", bad, func(ctx context.Context) error {
			return first(vsockrpc.CallBidiStream[unencodable, string](ctx, client, "wait", one(nil)))
		}).Vary(),
		badinput.Value("CodeOf", "nil, and errors of others", "OK, and Unknown", func() bool {
			return vsockrpc.CodeOf(nil) == vsockrpc.OK && vsockrpc.CodeOf(errors.New("x")) == vsockrpc.Unknown
		}),
		badinput.Value("Unprocessed", "nil, and errors of others", "false", func() bool { return !vsockrpc.Unprocessed(nil) && !vsockrpc.Unprocessed(errors.New("x")) }),
		badinput.Value("MetadataFrom", "a context of no call", "nil", func() bool { return vsockrpc.MetadataFrom(ctx) == nil }),
		badinput.Value("PeerAddr", "a context of no call", "nil", func() bool { return vsockrpc.PeerAddr(ctx) == nil }),
		badinput.Value("WithMetadata", "nil, or what calls refuse", "calls say so; see Client.Call", func() bool { return vsockrpc.WithMetadata(ctx, nil) != nil }),
		badinput.Value("ServedBy", "a nil addr", "nothing is written", func() bool {
			_, err := client.Call(vsockrpc.ServedBy(ctx, nil), "echo", []byte("\x61x"))
			return err == nil
		}),
	}
}

// badServerStream registers handlers that misuse their stream.
func badServerStream(srv *vsockrpc.Server) {
	srv.HandleStream("wait", func(ctx context.Context, _ *vsockrpc.ServerStream) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

func serverCases(t *testing.T) []badinput.Case {
	closed := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	closed.Close()
	serverClosed := badinput.Is("vsockrpc.ErrServerClosed", vsockrpc.ErrServerClosed)
	listen := func(name string) net.Listener {
		l, err := vsockrpc.Listen(name)
		if err != nil {
			panic(err)
		}
		return l
	}
	cases := []badinput.Case{
		badinput.Value("NewServer", "limits below 0", "they are the defaults, as for 0", func() bool {
			return vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: -1, MaxStreams: -1, MaxConns: -1}).Close() == nil
		}),
		badinput.On("Server.Serve", "a closed Server", serverClosed, func(context.Context) error { return closed.Serve(listen("mem://badinput-closed")) }),
		badinput.On("Server.Serve", "a closed listener", badinput.Is("net.ErrClosed", net.ErrClosed), func(context.Context) error {
			l := listen("mem://badinput-gone")
			l.Close()
			return vsockrpc.NewServer(vsockrpc.ServerOptions{}).Serve(l)
		}).Vary(),
		badinput.On("Server.Serve", "a nil listener", badinput.Plain(), func(context.Context) error {
			return vsockrpc.NewServer(vsockrpc.ServerOptions{}).Serve(nil)
		}),
		badinput.On("Server.Close", "a closed Server", badinput.Ignored("closing twice is fine"), func(context.Context) error { return closed.Close() }),
		badinput.On("Server.Shutdown", "a closed Server", badinput.Ignored("it has ended"), closed.Shutdown),
		badinput.On("ServerStream.Send", "a client that broke off", badinput.As[*vsockrpc.Error](), func(ctx context.Context) error {
			return inHandler(ctx, "mem://badinput-send", func(s *vsockrpc.ServerStream) error {
				for {
					if err := s.Send([]byte("x")); err != nil {
						return err
					}
				}
			})
		}).Vary(),
		badinput.On("ServerStream.Recv", "a client that broke off", badinput.As[*vsockrpc.Error](), func(ctx context.Context) error {
			return inHandler(ctx, "mem://badinput-recv", func(s *vsockrpc.ServerStream) error {
				for {
					if _, err := s.Recv(); err != nil {
						return err
					}
				}
			})
		}).Vary(),
	}
	for name, handle := range map[string]func(*vsockrpc.Server, string){
		"Server.Handle":     func(s *vsockrpc.Server, m string) { s.Handle(m, noAnswer) },
		"Server.HandleLent": func(s *vsockrpc.Server, m string) { s.HandleLent(m, noAnswer) },
		"Server.HandleStream": func(s *vsockrpc.Server, m string) {
			s.HandleStream(m, func(context.Context, *vsockrpc.ServerStream) error { return nil })
		},
		"Handle": func(s *vsockrpc.Server, m string) {
			vsockrpc.Handle(s, m, func(context.Context, string) (string, error) { return "", nil })
		},
		"HandleServerStream": func(s *vsockrpc.Server, m string) {
			vsockrpc.HandleServerStream(s, m, func(context.Context, string) iter.Seq2[string, error] { return nil })
		},
		"HandleClientStream": func(s *vsockrpc.Server, m string) {
			vsockrpc.HandleClientStream(s, m, func(context.Context, iter.Seq2[string, error]) (string, error) { return "", nil })
		},
		"HandleBidiStream": func(s *vsockrpc.Server, m string) {
			vsockrpc.HandleBidiStream(s, m, func(context.Context, iter.Seq2[string, error]) iter.Seq2[string, error] { return nil })
		},
	} {
		panics := badinput.Panics("vsockrpc: ")
		cases = append(cases,
			badinput.On(name, "no method", panics, func(context.Context) error { handle(vsockrpc.NewServer(vsockrpc.ServerOptions{}), ""); return nil }),
			badinput.On(name, "a method of 256 bytes", panics, func(context.Context) error {
				handle(vsockrpc.NewServer(vsockrpc.ServerOptions{}), strings.Repeat("x", 256))
				return nil
			}),
			badinput.On(name, "a method that has a handler", panics, func(context.Context) error {
				s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
				handle(s, "x")
				handle(s, "x")
				return nil
			}))
	}
	slices.SortStableFunc(cases, func(a, b badinput.Case) int { return strings.Compare(a.Func, b.Func) })
	return cases
}

func noAnswer(context.Context, []byte) ([]byte, error) { return nil, nil }

// inHandler returns the error of fn, called with the stream of a client that
// breaks off at once.
func inHandler(ctx context.Context, addr string, fn func(*vsockrpc.ServerStream) error) error {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	got := make(chan error, 1)
	srv.HandleStream("x", func(_ context.Context, s *vsockrpc.ServerStream) error {
		got <- fn(s)
		return nil
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		return err
	}
	go srv.Serve(l)
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Stream(ctx, "x")
	if err != nil {
		return err
	}
	if err := s.Send([]byte("here")); err != nil {
		return err
	}
	s.Close()
	return <-got
}
