// Package vsocktest is a network in memory that makes trouble on request, to
// test servers and clients of package vsockrpc, or of anything else that takes
// a net.Listener and a dial function.
//
// A Network has listeners with names of its own, so tests that run at the same
// time do not meet:
//
//	n := vsocktest.NewNetwork(vsocktest.Options{})
//	defer n.Close()
//	l, err := n.Listen("enclave")
//	go srv.Serve(l)
//	c, err := vsockrpc.NewClient("mem://enclave", vsockrpc.ClientOptions{
//		Dial: func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return n.Dial(ctx, a.Path) },
//	})
//
// Its connections behave as sockets do, until Set gives them Faults, for all
// connections or one (a Link), in one direction or both, and at any time:
//
//	n.Set(vsocktest.Both, vsocktest.Faults{Latency: 5 * time.Millisecond, MaxRead: 7})
//	n.Links()[0].Set(vsocktest.ToClient, vsocktest.Faults{Stall: true})
//
// # What to test
//
// A peer that goes away does so anywhere: run an exchange once without faults,
// ask Passed how many bytes it took, and run it again for each of them with
// CutAfter. A peer that hangs closes nothing: Drop, with keepalive or a
// deadline, shows whether the other side finds out. A peer that is slow: Stall,
// and see that nothing else waits for it. A network that gives what it has and
// not what a Read asks for: MaxRead 1.
//
// # Time and chance
//
// Nothing here does input or output, so all of it works in a bubble of package
// testing/synctest, where latency, keepalive and deadlines take no time. Make
// the Network within the bubble, and close it there.
//
// What is random comes from Options.Seed, the number of the connection and the
// direction. Positions (CutAfter, Corrupt) count the bytes of one direction
// from the connection's beginning, so they mean the same in every run in which
// the same bytes are written.
//
// # What it is not
//
// It is no vsock: there are no context ids, and no kernel whose bugs would show.
// Bytes can be lost or changed here that a real vsock would never lose or
// change; programs need not survive that, but should notice where they promise
// to.
package vsocktest
