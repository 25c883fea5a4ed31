package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// pipes is a listener whose connections are in memory, so that tests in a
// bubble of package synctest need not wait for time to pass.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) open() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// serving runs a Forwarder on pipes until stop.
func serving(t *testing.T, opts proxy.ForwarderOptions) (p *pipes, f *proxy.Forwarder, stop func()) {
	t.Helper()
	f, err := proxy.NewForwarder(opts)
	if err != nil {
		t.Fatal(err)
	}
	p = newPipes()
	served := make(chan error, 1)
	go func() { served <- f.Serve(p) }()
	return p, f, func() {
		f.Close()
		if err := <-served; err != proxy.ErrClosed {
			t.Error(err)
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets := make(chan net.Conn, 1)
		p, f, stop := serving(t, proxy.ForwarderOptions{
			Target: "192.0.2.1:443", IdleTimeout: time.Minute,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				targets <- here
				return there, nil
			},
		})
		defer stop()
		enclave := p.open()
		target := <-targets
		pass := func(from, to net.Conn) {
			t.Helper()
			go from.Write([]byte{1})
			if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		// One byte in either direction before each minute is over is enough for both.
		for range 10 {
			time.Sleep(50 * time.Second)
			pass(enclave, target)
			time.Sleep(50 * time.Second)
			pass(target, enclave)
		}
		// So is a reader that takes its time, both for what comes late and until
		// the next byte.
		time.Sleep(50 * time.Second)
		go target.Write([]byte{1})
		time.Sleep(50 * time.Second)
		if _, err := io.ReadFull(enclave, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		pass(enclave, target)

		quiet := time.Now()
		for _, c := range []net.Conn{enclave, target} {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a byte came from nowhere")
			}
		}
		if took := time.Since(quiet); took < 54*time.Second || took > 60*time.Second {
			t.Errorf("ended after %v", took)
		}
		synctest.Wait()
		if s, want := f.Stats(), (proxy.Stats{Accepted: 1, IdleTimeouts: 1, BytesUp: 11, BytesDown: 11}); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// resolverFunc is a Resolver.
type resolverFunc func(ctx context.Context) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	return f(ctx)
}

// Resolving and all addresses together get the time that the options say, and
// no address all of it.
func TestDialTimeout(t *testing.T) {
	addrs := func(n int) (list []netip.Addr) {
		for i := range n {
			list = append(list, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		return list
	}
	const s = time.Second
	for name, tt := range map[string]struct {
		addresses int
		lookup    time.Duration
		shares    []time.Duration
	}{
		"one":                {1, 0, []time.Duration{12 * s}},
		"three":              {3, 0, []time.Duration{4 * s, 4 * s, 4 * s}},
		"three, a slow name": {3, 3 * s, []time.Duration{3 * s, 3 * s, 3 * s}},
		"too many":           {100, 1 * s, []time.Duration{2 * s, 2 * s, 2 * s, 2 * s, 2 * s, 1 * s}},
		"no answer":          {1, time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var shares []time.Duration
				p, f, stop := serving(t, proxy.ForwarderOptions{
					Target: "kms.example:443", DialTimeout: 12 * s,
					Resolver: resolverFunc(func(ctx context.Context) ([]netip.Addr, error) {
						select {
						case <-time.After(tt.lookup):
							return addrs(tt.addresses), nil
						case <-ctx.Done():
							return nil, ctx.Err()
						}
					}),
					Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
						began := time.Now()
						<-ctx.Done()
						shares = append(shares, time.Since(began))
						return nil, ctx.Err()
					},
				})
				defer stop()
				began := time.Now()
				if _, err := p.open().Read(make([]byte, 1)); err == nil {
					t.Error("a byte came from nowhere")
				}
				if took := time.Since(began); took != 12*s {
					t.Errorf("gave up after %v", took)
				}
				synctest.Wait()
				if !slices.Equal(shares, tt.shares) {
					t.Errorf("the addresses got %v, want %v", shares, tt.shares)
				}
				if st, want := f.Stats(), (proxy.Stats{Accepted: 1, DialErrors: 1}); st != want {
					t.Errorf("%+v, want %+v", st, want)
				}
			})
		})
	}
}

// One connection too many is closed at once, and there is room again when
// another has ended.
func TestMaxConns(t *testing.T) {
	addr, f := forward(t, proxy.ForwarderOptions{Target: doubler(t, nil), MaxConns: 2})
	first, second := open(t, addr), open(t, addr)
	for i, c := range []net.Conn{first, second} {
		if err := double(c, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	const extra = 5
	for range extra {
		if err := double(open(t, addr), 1); err == nil {
			t.Error("a third connection was served")
		}
	}
	if s := f.Stats(); s.Active != 2 || s.Accepted != 2 || s.Refused != extra {
		t.Errorf("%+v", s)
	}
	closeWrite(t, first)
	if _, err := io.ReadAll(first); err != nil {
		t.Error(err)
	}
	// The forwarder sees that first is done a little after first does.
	for deadline := time.Now().Add(time.Minute); ; {
		err := double(open(t, addr), 1)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no place is free: %v", err)
		}
	}
	if err := double(second, 2); err != nil {
		t.Error(err)
	}
}

func TestAllowlistOfForwarder(t *testing.T) {
	list, err := proxy.NewAllowlist("kms.us-east-1.amazonaws.com:443", "127.0.0.1:8443", "[2001:db8::1]:443")
	if err != nil {
		t.Fatal(err)
	}
	for target, allowed := range map[string]bool{
		"kms.us-east-1.amazonaws.com:443":     true,
		"KMS.us-east-1.AmazonAWS.com.:443":    true,
		"127.0.0.1:8443":                      true,
		"[::ffff:127.0.0.1]:8443":             true,
		"[2001:0DB8:0:0::1]:443":              true,
		"kms.us-east-1.amazonaws.com:80":      false,
		"kms.us-east-2.amazonaws.com:443":     false,
		"us-east-1.amazonaws.com:443":         false,
		"a.kms.us-east-1.amazonaws.com:443":   false,
		"kms.us-east-1.amazonaws.com.evil:44": false,
		"localhost:8443":                      false,
		"127.0.0.2:8443":                      false,
	} {
		_, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: target, Allowlist: list})
		if allowed && err != nil || !allowed && !errors.Is(err, proxy.ErrNotAllowed) || list.Allows(target) != allowed {
			t.Errorf("%s: %v", target, err)
		}
		for _, empty := range []*proxy.Allowlist{{}, must(proxy.NewAllowlist())} {
			if _, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: target, Allowlist: empty}); !errors.Is(err, proxy.ErrNotAllowed) {
				t.Errorf("an empty list: %v", err)
			}
		}
		if _, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: target}); err != nil {
			t.Errorf("no list: %v", err)
		}
	}
	if (*proxy.Allowlist)(nil).Allows("127.0.0.1:8443") || list.Allows("127.0.0.1") {
		t.Error("what is on no list is allowed")
	}

	// The right name on the list, and a target that serves through it.
	target := greeter(t, "allowed")
	addr, _ := forward(t, proxy.ForwarderOptions{Target: target, Allowlist: must(proxy.NewAllowlist(target))})
	if got := all(t, addr); got != "allowed" {
		t.Errorf("%q", got)
	}
}

func must(a *proxy.Allowlist, err error) *proxy.Allowlist {
	if err != nil {
		panic(err)
	}
	return a
}

// What is no connection to the proxy's listener is none to the target.
func TestRefusedAfterShutdown(t *testing.T) {
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: "192.0.2.1:443"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := vsockrpc.Listen(address(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Serve(l); err != proxy.ErrClosed {
		t.Error(err)
	}
	if c, err := l.Accept(); err == nil {
		c.Close()
		t.Error("the listener is still open")
	}
	if s := f.Stats(); s != (proxy.Stats{}) {
		t.Errorf("%+v", s)
	}
}
