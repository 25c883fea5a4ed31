package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// names is a DNS whose answers a test changes.
type names struct {
	mu    sync.Mutex
	addrs []netip.Addr
	asked []string
}

func (n *names) set(addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs = nil
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParseAddr(a))
	}
}

func (n *names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, network+" "+host)
	if len(n.addrs) == 0 && host != "empty.example" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return slices.Clone(n.addrs), nil
}

// lookups returns what was asked since the last time.
func (n *names) lookups() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked
	n.asked = nil
	return asked
}

// network has servers at addresses of its own, and nobody at the others.
type network struct {
	servers map[string]string // to real addresses
	mu      sync.Mutex
	dialled []string
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, address)
	n.mu.Unlock()
	server, ok := n.servers[address]
	if !ok {
		return nil, errors.New("nobody is there")
	}
	return new(net.Dialer).DialContext(ctx, network, server)
}

func (n *network) tried() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	tried := n.dialled
	n.dialled = nil
	return tried
}

// greeter is a server that says its name to each connection.
func greeter(t *testing.T, name string) string {
	t.Helper()
	return serve(t, func(c net.Conn) { io.WriteString(c, name) })
}

// serve runs handle for each connection to the address that it returns.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// all is what a new connection to addr is told.
func all(t *testing.T, addr string) string {
	t.Helper()
	c, err := vsockrpc.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	got, _ := io.ReadAll(c) // an abrupt end is one as well
	return string(got)
}

// A changed answer of DNS is used by the next connection, and the addresses of
// one answer are tried in turn.
func TestDNS(t *testing.T) {
	dns := &names{}
	n := &network{servers: map[string]string{
		"192.0.2.1:443":       greeter(t, "first"),
		"192.0.2.2:443":       greeter(t, "second"),
		"[2001:db8::3]:443":   greeter(t, "third"),
		"169.254.169.254:443": greeter(t, "instance metadata"),
	}}
	addr, f := forward(t, proxy.ForwarderOptions{Target: "KMS.example.:443", Resolver: dns, Dial: n.dial})
	for i, tt := range []struct {
		answer []string
		want   string
		tried  []string
	}{
		{nil, "", nil},
		{[]string{"192.0.2.1"}, "first", []string{"192.0.2.1:443"}},
		{[]string{"192.0.2.2"}, "second", []string{"192.0.2.2:443"}},
		{[]string{"192.0.2.8", "2001:db8::9", "192.0.2.2", "192.0.2.1"}, "second", []string{"192.0.2.8:443", "[2001:db8::9]:443", "192.0.2.2:443"}},
		{[]string{"2001:db8::3"}, "third", []string{"[2001:db8::3]:443"}},
		{[]string{"::ffff:192.0.2.1"}, "first", []string{"192.0.2.1:443"}},
		{[]string{"169.254.169.254", "192.0.2.1"}, "first", []string{"192.0.2.1:443"}},
		{[]string{"192.0.2.8", "192.0.2.9"}, "", []string{"192.0.2.8:443", "192.0.2.9:443"}},
		{[]string{"169.254.169.254"}, "", nil},
		{[]string{"192.0.2.1"}, "first", []string{"192.0.2.1:443"}},
	} {
		dns.set(tt.answer...)
		got := all(t, addr)
		if tried := n.tried(); got != tt.want || !slices.Equal(tried, tt.tried) {
			t.Errorf("%d: %q after trying %v, want %q after %v", i, got, tried, tt.want, tt.tried)
		}
		if asked := dns.lookups(); len(asked) != 1 || asked[0] != "ip KMS.example." {
			t.Errorf("%d: DNS was asked %q", i, asked)
		}
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if s := f.Stats(); s.Accepted != 10 || s.DialErrors != 3 || s.Forbidden != 1 {
		t.Errorf("%+v", s)
	}
}

// No answer of DNS lets the enclave reach what only the parent may.
func TestLocalAddresses(t *testing.T) {
	for _, ip := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
		"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
		"0.0.0.0", "::", "0.1.2.3", "224.0.0.1", "239.255.255.250", "ff02::1", "ff05::2", "255.255.255.255",
	} {
		dns, n := &names{}, &network{}
		dns.set(ip)
		addr, f := forward(t, proxy.ForwarderOptions{Target: "kms.example:443", Resolver: dns, Dial: n.dial})
		if got := all(t, addr); got != "" {
			t.Errorf("%s: %q", ip, got)
		}
		f.Close()
		if s, tried := f.Stats(), n.tried(); s.Forbidden != 1 || s.DialErrors != 1 || len(tried) > 0 {
			t.Errorf("%s: %+v, tried %v", ip, s, tried)
		}
	}
	// VPC endpoints have private addresses.
	for _, ip := range []string{"10.0.0.1", "172.31.0.1", "192.168.0.1", "52.94.0.1", "fd12::1", "2600::1", "64:ff9b::345e:1"} {
		dns, n := &names{}, &network{}
		dns.set(ip)
		addr, _ := forward(t, proxy.ForwarderOptions{Target: "kms.example:443", Resolver: dns, Dial: n.dial})
		all(t, addr)
		if tried := n.tried(); len(tried) != 1 {
			t.Errorf("%s: tried %v", ip, tried)
		}
	}

	// An answer without any address is none.
	addr, f := forward(t, proxy.ForwarderOptions{Target: "empty.example:443", Resolver: &names{}})
	if got := all(t, addr); got != "" {
		t.Errorf("%q", got)
	}
	f.Close()
	if s, want := f.Stats(), (proxy.Stats{Accepted: 1, DialErrors: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}

	server := greeter(t, "here")
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	dns := &names{}
	dns.set("127.0.0.1")
	for _, tt := range []struct {
		opts proxy.ForwarderOptions
		want string
	}{
		{proxy.ForwarderOptions{Target: "kms.example:" + port, Resolver: dns}, ""},
		{proxy.ForwarderOptions{Target: "localhost:" + port}, ""},
		{proxy.ForwarderOptions{Target: "kms.example:" + port, Resolver: dns, AllowLocal: true}, "here"},
		{proxy.ForwarderOptions{Target: server}, "here"},
	} {
		addr, _ := forward(t, tt.opts)
		if got := all(t, addr); got != tt.want {
			t.Errorf("%s, local allowed: %v: %q", tt.opts.Target, tt.opts.AllowLocal, got)
		}
	}
}
