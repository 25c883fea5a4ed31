package main

import (
	"context"
	"io"
	"net"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// gRPC and ttrpc carry google.protobuf.BytesValue, so that no code needs to be
// generated for them.

var echoDesc = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			msg := &wrapperspb.BytesValue{}
			return msg, decode(msg)
		},
	}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Small", ServerStreams: true, Handler: grpcStream(small)},
		{StreamName: "Large", ServerStreams: true, Handler: grpcStream(large)},
	},
}

func grpcStream(size int) grpc.StreamHandler {
	return func(_ any, st grpc.ServerStream) error {
		for msg := wrapperspb.Bytes(make([]byte, size)); ; {
			if err := st.SendMsg(msg); err != nil {
				return err
			}
		}
	}
}

func serveGRPC(l net.Listener) error {
	s := grpc.NewServer()
	s.RegisterService(&echoDesc, nil)
	return s.Serve(l)
}

type grpcClient struct{ c *grpc.ClientConn }

func dialGRPC(path string) (client, error) {
	c, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return grpcClient{c}, err
}

func (c grpcClient) echo(ctx context.Context, msg []byte) ([]byte, error) {
	var out wrapperspb.BytesValue
	err := c.c.Invoke(ctx, "/bench.Echo/Echo", wrapperspb.Bytes(msg), &out)
	return out.Value, err
}

func (c grpcClient) open(ctx context.Context, i int, name string) (grpc.ClientStream, error) {
	st, err := c.c.NewStream(ctx, &echoDesc.Streams[i], "/bench.Echo/"+name)
	if err != nil {
		return nil, err
	}
	if err := st.SendMsg(&emptypb.Empty{}); err != nil {
		return nil, err
	}
	return st, st.CloseSend()
}

func (c grpcClient) stream(ctx context.Context, each func() bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := c.open(ctx, 0, "Small")
	if err != nil {
		return err
	}
	for {
		var msg wrapperspb.BytesValue
		if err := st.RecvMsg(&msg); err != nil {
			return err
		}
		if !each() {
			return nil
		}
	}
}

func (c grpcClient) stall(ctx context.Context) error {
	_, err := c.open(ctx, 1, "Large")
	return err
}

func (c grpcClient) close() { c.c.Close() }

func serveTTRPC(l net.Listener) error {
	log.L.Logger.SetOutput(io.Discard) // it tells of every message that a stalled stream drops
	s, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	stream := func(size int) ttrpc.Stream {
		return ttrpc.Stream{StreamingServer: true, Handler: func(_ context.Context, st ttrpc.StreamServer) (any, error) {
			var in emptypb.Empty
			if err := st.RecvMsg(&in); err != nil {
				return nil, err
			}
			for msg := wrapperspb.Bytes(make([]byte, size)); ; {
				if err := st.SendMsg(msg); err != nil {
					return nil, err
				}
			}
		}}
	}
	s.RegisterService("bench.Echo", &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{"Echo": func(_ context.Context, decode func(any) error) (any, error) {
			msg := &wrapperspb.BytesValue{}
			return msg, decode(msg)
		}},
		Streams: map[string]ttrpc.Stream{"Small": stream(small), "Large": stream(large)},
	})
	return s.Serve(context.Background(), l)
}

type ttrpcClient struct{ c *ttrpc.Client }

func dialTTRPC(path string) (client, error) {
	log.L.Logger.SetOutput(io.Discard)
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return ttrpcClient{ttrpc.NewClient(c)}, nil
}

func (c ttrpcClient) echo(ctx context.Context, msg []byte) ([]byte, error) {
	var out wrapperspb.BytesValue
	err := c.c.Call(ctx, "bench.Echo", "Echo", wrapperspb.Bytes(msg), &out)
	return out.Value, err
}

func (c ttrpcClient) stream(ctx context.Context, each func() bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := c.c.NewStream(ctx, &ttrpc.StreamDesc{StreamingServer: true}, "bench.Echo", "Small", &emptypb.Empty{})
	if err != nil {
		return err
	}
	for {
		var msg wrapperspb.BytesValue
		if err := st.RecvMsg(&msg); err != nil {
			return err
		}
		if !each() {
			return nil
		}
	}
}

func (c ttrpcClient) stall(ctx context.Context) error {
	_, err := c.c.NewStream(ctx, &ttrpc.StreamDesc{StreamingServer: true}, "bench.Echo", "Large", &emptypb.Empty{})
	return err
}

func (c ttrpcClient) close() { c.c.Close() }
