package vsocktest_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"syscall"
	"testing"

	"github.com/nitroseal/nitroseal/internal/badinput"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/vsockrpc-vsocktest.md.
func TestBadInput(t *testing.T) {
	refusedDial := badinput.Own("syscall.ECONNREFUSED, in a *net.OpError", syscall.ECONNREFUSED)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	dial := func(n *vsocktest.Network, name string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := n.Dial(ctx, name); return err }
	}
	n, closed := vsocktest.NewNetwork(vsocktest.Options{}), vsocktest.NewNetwork(vsocktest.Options{})
	if _, err := n.Listen("taken"); err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	// passes tells whether a byte comes through a network, set up so.
	passes := func(opts vsocktest.Options, set func(*vsocktest.Network)) bool {
		n := vsocktest.NewNetwork(opts)
		defer n.Close()
		l, err := n.Listen("x")
		if err != nil {
			return false
		}
		set(n)
		c, err := n.Dial(t.Context(), "x")
		if err != nil {
			return false
		}
		go c.Write([]byte("abc"))
		s, err := l.Accept()
		if err != nil {
			return false
		}
		b := make([]byte, 3)
		_, err = io.ReadFull(s, b)
		return err == nil && string(b) == "abc"
	}
	nothing := func(*vsocktest.Network) {}
	set := func(d vsocktest.Direction, f vsocktest.Faults) func(*vsocktest.Network) {
		return func(n *vsocktest.Network) { n.Set(d, f) }
	}
	minus := math.MinInt
	badinput.Table{
		Package: "vsockrpc/vsocktest",
		Cases: []badinput.Case{
			badinput.Value("NewNetwork", "a Buffer of -1", "it is 256 KiB, as for 0", func() bool { return passes(vsocktest.Options{Buffer: -1}, nothing) }),
			badinput.On("Network.Listen", "a name that another listener has", badinput.Own("syscall.EADDRINUSE, in a *net.OpError", syscall.EADDRINUSE), func(context.Context) error { _, err := n.Listen("taken"); return err }),
			badinput.Value("Network.Listen", "an empty name, or one with a NUL", "any name is taken", func() bool {
				_, err := n.Listen("")
				_, err2 := n.Listen("\x00\n\xff")
				return err == nil && err2 == nil
			}),
			badinput.On("Network.Listen", "a closed network", badinput.Own("net.ErrClosed, in a *net.OpError", net.ErrClosed), func(context.Context) error { _, err := closed.Listen("x"); return err }),
			badinput.On("Network.Dial", "a name without a listener", refusedDial, dial(n, "nobody")),
			badinput.On("Network.Dial", "a closed network", refusedDial, dial(closed, "x")),
			badinput.On("Network.Dial", "a context that has ended", badinput.Own("context.Canceled, in a *net.OpError", context.Canceled), func(context.Context) error { return dial(n, "taken")(gone) }),
			badinput.Value("Network.Set", "no direction", "nothing changes", func() bool { return passes(vsocktest.Options{}, set(0, vsocktest.Faults{Drop: true})) }),
			badinput.Value("Network.Set", "an unknown direction", "nothing changes", func() bool { return passes(vsocktest.Options{}, set(4, vsocktest.Faults{Drop: true})) }),
			badinput.Value("Network.Set", "a Latency and a MaxRead below 0", "they are none", func() bool {
				return passes(vsocktest.Options{}, set(vsocktest.Both, vsocktest.Faults{Latency: -1, MaxRead: -1}))
			}),
			badinput.Value("Network.Set", "a position to corrupt below 0", "no byte has it", func() bool {
				return passes(vsocktest.Options{}, set(vsocktest.Both, vsocktest.Faults{Corrupt: &minus}))
			}),
			badinput.Value("Network.Set", "a CutAfter below 0", "the connection breaks at once", func() bool {
				return !passes(vsocktest.Options{}, set(vsocktest.Both, vsocktest.Faults{CutAfter: &minus}))
			}),
			badinput.Value("Link.Set", "no direction, on a closed connection", "nothing happens", func() bool {
				n := vsocktest.NewNetwork(vsocktest.Options{})
				n.Listen("x")
				c, err := n.Dial(t.Context(), "x")
				if err != nil {
					return false
				}
				c.Close()
				n.Links()[0].Set(0, vsocktest.Faults{Stall: true})
				return n.Close() == nil
			}),
			badinput.Value("Link.Passed", "no direction", "0", func() bool {
				n := vsocktest.NewNetwork(vsocktest.Options{})
				defer n.Close()
				n.Listen("x")
				_, err := n.Dial(t.Context(), "x")
				return err == nil && n.Links()[0].Passed(0) == 0
			}),
			badinput.Value("Network.FailAccepts", "a nil error", "a call of Accept that fails all the same", func() bool {
				n := vsocktest.NewNetwork(vsocktest.Options{})
				defer n.Close()
				l, err := n.Listen("x")
				if err != nil {
					return false
				}
				n.FailAccepts(nil, errors.New("own"))
				_, err = l.Accept()
				return err != nil
			}),
			badinput.On("Network.Close", "a closed network", badinput.Ignored("closing twice is fine"), func(context.Context) error { return closed.Close() }),
		},
		NoInput: []string{"Network.Links", "Network.RefuseDials"},
	}.Run(t)
}
