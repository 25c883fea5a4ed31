// Package vsockrpc carries calls and streams between an enclave and its
// parent over one connection: vsock in production, a unix socket, loopback TCP
// or memory elsewhere, with the same code. Type Addr has the addresses of all:
//
//	vsock://16:5000                an enclave's port, or vsock://any:5000 in it
//	hvsock:///run/vm.vsock:5000    a guest of Firecracker, Cloud Hypervisor or
//	                               vhost-device-vsock, whose hosts have no vsock
//	unix:///run/enclave.sock
//	tcp://127.0.0.1:5000
//	mem://enclave
//
// A server registers handlers by method name and serves listeners:
//
//	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
//	vsockrpc.Handle(srv, "greet", func(ctx context.Context, name string) (string, error) {
//		return "hello, " + name, nil
//	})
//	l, err := vsockrpc.Listen("vsock://any:5000")
//	err = srv.Serve(l)
//
// A client dials when it is first used, and again when the connection breaks:
//
//	c, err := vsockrpc.NewClient("vsock://16:5000", vsockrpc.ClientOptions{})
//	greeting, err := vsockrpc.Call[string, string](ctx, c, "greet", "enclave")
//
// # Calls
//
// There are unary calls and streams from the server, from the client and in
// both directions. The functions Handle, HandleServerStream, HandleClientStream
// and HandleBidiStream, and those named Call with the same endings, have typed
// messages, encoded as deterministic CBOR; streams are iterators. Their methods
// of the same names take and give bytes as they are. HandleLent and AppendCall
// do it without garbage: messages are in memory that is erased and used again.
//
// All calls share the connection. Each stream has a flow-control window, so that
// a reader who stops holds up nobody else, and there is none for the connection,
// where they all could meet.
//
// Deadlines travel with the call, as time remaining, and so does Metadata.
// Cancelling a call's context cancels the handler's. Errors carry a Code of
// gRPC's set. What a handler returns that is not an *Error, and no Code, reaches
// the client as Internal without its text, which might repeat a secret. A handler
// that panics fails its own call only.
//
// # More than one server
//
// A Pool calls whichever of several servers has the fewest calls under way,
// sets aside those that fail, and lets one be replaced while calls go on. It
// repeats calls that certainly reached no handler (see Unprocessed), and never
// any other. Servers that hold something for their callers, such as the key of a
// session, are not all the same: ServedBy tells which one took a call, and the
// pool's method Target makes calls to that one only.
//
// # Limits
//
// Whatever a peer announces is bounded before memory is taken for it: the size
// of frames, of messages (MaxMessageSize), calls and connections at a time, and
// the bytes that wait to be received. What waits to be sent is bounded, too: where
// the peer does not read, messages and new calls wait from 256 KiB on, until
// their contexts end; of flow control, 14 bytes wait for each 64 KiB that the peer
// has sent. No write to a socket is larger than 32 KiB, since some
// kernels corrupt larger ones on vsock.
//
// # Watching
//
// ServerOptions and ClientOptions have Interceptors, which stand around calls;
// OnCall, which is told of each when it has ended, for metrics; and a Logger.
// None of them gets contents.
//
// Package vsocktest has a network that makes trouble on request, for tests;
// package proxy lets an enclave reach chosen servers of the Internet.
// PROTOCOL.md beside this file gives the wire format byte by byte.
//
// # What it does not protect from
//
// Nothing is encrypted or authenticated here. Vsock cannot be observed from
// other machines, but the parent is the other end: what it must not read has
// to be sealed before it is sent (package envelope), and what it sends must be
// taken for what it is. A parent can always drop, delay, repeat and reorder
// whole calls.
package vsockrpc
