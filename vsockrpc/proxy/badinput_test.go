package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/nitroseal/nitroseal/internal/badinput"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/vsockrpc-proxy.md.
func TestBadInput(t *testing.T) {
	plain, list := badinput.Plain(), badinput.As[*proxy.AllowlistError]()
	errOwn := errors.New("own")
	var cases []badinput.Case
	for _, c := range []struct{ input, text string }{
		{"nothing", ""},
		{"text", badinput.Canary},
		{"a NUL, and bytes that are not UTF-8", "allowlist:\n- {address: \x00\xff, port: 443}\n"},
		{"no entries", "allowlist:\n"},
		{"a port of 0", "allowlist:\n- {address: kms.example, port: 0}\n"},
		{"a port of 65,536", "allowlist:\n- {address: kms.example, port: 65536}\n"},
		{"a port of -1", "allowlist:\n- {address: kms.example, port: -1}\n"},
		{"an address with a space", "allowlist:\n- {address: kms example, port: 443}\n"},
		{"an entry without a port", "allowlist:\n- {address: kms.example}\n"},
		{"an entry with two ports", "allowlist:\n- {address: kms.example, port: 443, port: 444}\n"},
		{"another key", "denylist:\n- {address: kms.example, port: 443}\n"},
		{"an anchor", "allowlist: &a\n- {address: kms.example, port: 443}\n"},
		{"more than 4,096 entries", "allowlist:\n" + strings.Repeat("- {address: kms.example, port: 443}\n", 4097)},
		{"a line of 257 KiB", "allowlist:\n#" + strings.Repeat("x", 257<<10)},
	} {
		cases = append(cases, badinput.On("ParseAllowlist", c.input, list, func(context.Context) error {
			_, err := proxy.ParseAllowlist(strings.NewReader(c.text))
			return err
		}))
	}
	cases = append(cases,
		badinput.On("ParseAllowlist", "a nil reader", plain, func(context.Context) error { _, err := proxy.ParseAllowlist(nil); return err }),
		badinput.On("ParseAllowlist", "a reader that fails half way", badinput.Is("the reader's error", errOwn), func(context.Context) error {
			_, err := proxy.ParseAllowlist(io.MultiReader(strings.NewReader("allowlist:\n"), iotest.ErrReader(errOwn)))
			return err
		}))
	for _, c := range []struct{ input, target string }{
		{"an empty target", ""},
		{"a target without a port", "kms.example"},
		{"a target with a named port", "kms.example:https"},
		{"a target with port 0", "kms.example:0"},
		{"a target with a newline", "kms\n.example:443"},
		{"a target of *", "*:443"},
		{"a target of 300 bytes", strings.Repeat("x", 300) + ":443"},
	} {
		cases = append(cases,
			badinput.On("NewAllowlist", c.input, plain, func(context.Context) error { _, err := proxy.NewAllowlist("ok.example:443", c.target); return err }),
			badinput.On("NewForwarder", c.input, plain, func(context.Context) error {
				_, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: c.target})
				return err
			}),
			badinput.On("NewDialer", c.input, plain, func(context.Context) error {
				_, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{c.target: "mem://x"}})
				return err
			}))
	}
	forwarder := func(input string, want badinput.Outcome, opts proxy.ForwarderOptions) badinput.Case {
		return badinput.On("NewForwarder", input, want, func(context.Context) error { _, err := proxy.NewForwarder(opts); return err })
	}
	new := func() *proxy.Forwarder {
		f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: "127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	closed := new()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"kms.example:443": "mem://nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	dial := func(input string, want badinput.Outcome, network, address string) badinput.Case {
		return badinput.On("Dialer.DialContext", input, want, func(ctx context.Context) error { _, err := dialer.DialContext(ctx, network, address); return err })
	}
	noRoute := badinput.Is("proxy.ErrNoRoute", proxy.ErrNoRoute)
	cases = append(cases,
		forwarder("an Allowlist that allows nothing", badinput.Is("proxy.ErrNotAllowed", proxy.ErrNotAllowed), proxy.ForwarderOptions{Target: "kms.example:443", Allowlist: &proxy.Allowlist{}}),
		forwarder("a MaxConns of -1", badinput.Ignored("it is the default, as for 0"), proxy.ForwarderOptions{Target: "kms.example:443", MaxConns: -1}),
		forwarder("a DialTimeout of -1", badinput.Ignored("it is the default, as for 0"), proxy.ForwarderOptions{Target: "kms.example:443", DialTimeout: -1}),
		forwarder("an IdleTimeout of -1", badinput.Ignored("it is the default, as for 0"), proxy.ForwarderOptions{Target: "kms.example:443", IdleTimeout: -1}),
		badinput.On("NewDialer", "no routes", badinput.Ignored("every address is ErrNoRoute"), func(context.Context) error { _, err := proxy.NewDialer(proxy.DialerOptions{}); return err }),
		badinput.On("NewDialer", "a route to what is no address", plain, func(context.Context) error {
			_, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"kms.example:443": "http://x"}})
			return err
		}),
		badinput.On("NewDialer", "two routes for one host and port", plain, func(context.Context) error {
			_, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"kms.example:443": "mem://x", "KMS.example.:443": "mem://y"}})
			return err
		}).Vary(),
		dial("an address without a route", noRoute, "tcp", "evil.example:443"),
		dial("an address without a port", noRoute, "tcp", "kms.example"),
		dial("an address with a newline", noRoute, "tcp", "kms.example\n:443"),
		dial("a network of udp", plain, "udp", "kms.example:443"),
		dial("a route to where nobody listens", badinput.Own("what vsockrpc.Dial says (syscall.ECONNREFUSED)", syscall.ECONNREFUSED), "tcp", "kms.example:443"),
		badinput.On("Dialer.DialContext", "a context that has ended", badinput.Own("what vsockrpc.Dial says (context.Canceled)", context.Canceled), func(context.Context) error {
			_, err := dialer.DialContext(gone, "tcp", "kms.example:443")
			return err
		}).Vary(),
		badinput.Value("Allowlist.Allows", "the zero Allowlist, and nil", "they allow nothing", func() bool {
			return !(&proxy.Allowlist{}).Allows("kms.example:443") && !(*proxy.Allowlist)(nil).Allows("kms.example:443")
		}),
		badinput.Value("Allowlist.Allows", "what is not host:port", "it is not allowed", func() bool {
			a, err := proxy.NewAllowlist("kms.example:443")
			return err == nil && !a.Allows("kms.example") && !a.Allows("") && !a.Allows("kms.example:443\x00") && !a.Allows(":443")
		}),
		badinput.On("Forwarder.Serve", "a nil listener", plain, func(context.Context) error { return new().Serve(nil) }),
		badinput.On("Forwarder.Serve", "a closed listener", badinput.Is("net.ErrClosed", net.ErrClosed), func(context.Context) error {
			l, err := vsockrpc.Listen("mem://badinput-closed")
			if err != nil {
				return err
			}
			l.Close()
			return new().Serve(l)
		}),
		badinput.On("Forwarder.Serve", "a closed Forwarder", badinput.Is("proxy.ErrClosed", proxy.ErrClosed), func(context.Context) error {
			l, err := vsockrpc.Listen("mem://badinput-forwarder")
			if err != nil {
				return err
			}
			return closed.Serve(l)
		}),
		badinput.On("Forwarder.Shutdown", "a closed Forwarder", badinput.Ignored("it has ended"), closed.Shutdown),
		badinput.On("Forwarder.Close", "a closed Forwarder", badinput.Ignored("closing twice is fine"), func(context.Context) error { return closed.Close() }),
	)
	badinput.Table{
		Package: "vsockrpc/proxy",
		Cases:   cases,
		NoInput: []string{"Allowlist.Targets", "AllowlistError.Error", "Forwarder.Stats"},
	}.Run(t)
}
