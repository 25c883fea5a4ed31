package main

import (
	"context"
	"net"
)

// peer is one way to make calls.
type peer struct {
	name  string
	serve func(net.Listener) error
	dial  func(path string) (client, error)
}

// client calls a peer's server. echo is safe for concurrent use where the peer
// shares a connection.
type client interface {
	echo(ctx context.Context, msg []byte) ([]byte, error)
	// stream has the server send messages of 32 bytes until each says no.
	// It returns errNoStreams where the peer has none.
	stream(ctx context.Context, each func() bool) error
	// stall begins a stream of large messages and reads none.
	stall(ctx context.Context) error
	close()
}

var peers = []peer{
	{"floor", serveFloor, dialFloor},
	{"mux-floor", serveMux, dialMux},
	{"vsockrpc", serveRPC, dialRPC},
	{"vsockrpc (own)", serveRPC, dialRPCOwn},
	{"grpc", serveGRPC, dialGRPC},
	{"ttrpc", serveTTRPC, dialTTRPC},
	{"net/rpc", serveNetRPC, dialNetRPC},
	{"http/1.1", serveHTTP1, dialHTTP1},
	{"http/2", serveHTTP2, dialHTTP2},
}

const (
	small = 32       // bytes of a message in a stream
	large = 64 << 10 // bytes of a message in a stalled stream
)
