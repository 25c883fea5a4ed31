// Package vsockrpc carries calls and streams between an enclave and its
// parent over one connection: vsock in production, a unix socket or loopback
// TCP elsewhere, with the same code.
//
// A server registers handlers by method name and serves listeners:
//
//	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
//	srv.Handle("echo", func(ctx context.Context, req []byte) ([]byte, error) { return req, nil })
//	l, err := vsockrpc.Listen("vsock://any:5000")
//	err = srv.Serve(l)
//
// A client dials when it is first used, and again when the connection breaks:
//
//	c, err := vsockrpc.NewClient("vsock://16:5000", vsockrpc.ClientOptions{})
//	resp, err := c.Call(ctx, "echo", []byte("hello"))
//
// Handle and Call (the functions) do the same with typed, CBOR-encoded
// messages; streams go in both directions, with flow control of their own, so
// that a reader who stops reads holds up nobody else.
//
// Deadlines travel with the call, as time remaining, and cancelling a call's
// context cancels the handler's. Errors carry a Code of gRPC's set. What a
// handler returns that is not an *Error reaches the client as Internal without
// its text, which might repeat a secret. A handler that panics fails its own
// call only.
//
// PROTOCOL.md beside this file gives the wire format byte by byte.
//
// # What it does not protect from
//
// Nothing is encrypted or authenticated here. Vsock cannot be observed from
// other machines, but the parent is the other end: what it must not read has
// to be sealed before it is sent (package envelope), and what it sends must be
// taken for what it is.
package vsockrpc
