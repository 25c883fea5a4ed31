package main

import (
	"context"
	"net"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func serveRPC(l net.Listener) error {
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	echo := func(_ context.Context, b []byte) ([]byte, error) { return b, nil }
	s.HandleLent("echo", echo)
	s.Handle("echo-own", echo)
	stream := func(size int) vsockrpc.StreamHandler {
		return func(_ context.Context, st *vsockrpc.ServerStream) error {
			for msg := make([]byte, size); ; {
				if err := st.Send(msg); err != nil {
					return err
				}
			}
		}
	}
	s.HandleStream("small", stream(small))
	s.HandleStream("large", stream(large))
	return s.Serve(l)
}

type rpcClient struct {
	c      *vsockrpc.Client
	method string
}

func dialRPC(path string) (client, error) {
	c, err := vsockrpc.NewClient("unix://"+path, vsockrpc.ClientOptions{})
	return rpcClient{c, "echo"}, err
}

// dialRPCOwn calls a handler that owns its requests.
func dialRPCOwn(path string) (client, error) {
	c, err := vsockrpc.NewClient("unix://"+path, vsockrpc.ClientOptions{})
	return rpcClient{c, "echo-own"}, err
}

func (c rpcClient) echo(ctx context.Context, msg []byte) ([]byte, error) {
	return c.c.Call(ctx, c.method, msg)
}

func (c rpcClient) stream(ctx context.Context, each func() bool) error {
	st, err := c.c.Stream(ctx, "small")
	if err != nil {
		return err
	}
	defer st.Close()
	for {
		if _, err := st.Recv(); err != nil {
			return err
		}
		if !each() {
			return nil
		}
	}
}

func (c rpcClient) stall(ctx context.Context) error {
	_, err := c.c.Stream(ctx, "large")
	return err
}

func (c rpcClient) close() { c.c.Close() }
