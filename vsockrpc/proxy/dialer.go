package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// ErrNoRoute is returned for addresses that a Dialer has no route for.
var ErrNoRoute = errors.New("proxy: no route to this address")

// DialerOptions configures a Dialer.
type DialerOptions struct {
	// Routes maps host:port, as the client names it, to the vsockrpc address
	// behind which the parent forwards to it. Hosts are compared as those of
	// an Allowlist.
	Routes map[string]string
}

// Dialer connects to servers through the parent. It is safe for concurrent
// use.
type Dialer struct{ routes map[target]string }

// NewDialer checks the routes and returns a Dialer. It refuses two routes for
// one host and port. Nothing is dialled yet.
func NewDialer(opts DialerOptions) (*Dialer, error) {
	d := &Dialer{routes: make(map[target]string, len(opts.Routes))}
	for s, addr := range opts.Routes {
		t, err := parseTarget(s)
		if err != nil {
			return nil, err
		}
		if _, err := vsockrpc.ParseAddr(addr); err != nil {
			return nil, fmt.Errorf("proxy: route to %s: %w", s, err)
		}
		if _, ok := d.routes[t]; ok {
			return nil, fmt.Errorf("proxy: two routes to %s", t)
		}
		d.routes[t] = addr
	}
	return d, nil
}

// DialContext connects to address, which must have a route. The network must
// be "tcp", "tcp4" or "tcp6"; the parent resolves the name, and which of them
// it is makes no difference. It fits http.Transport.DialContext. A parent that
// cannot reach the server, or has too many connections, accepts and closes at
// once.
//
// Errors: ErrNoRoute, and those of vsockrpc.Dial.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		if t, err := parseTarget(address); err == nil {
			if addr, ok := d.routes[t]; ok {
				return vsockrpc.Dial(ctx, addr)
			}
		}
	}
	return nil, fmt.Errorf("%w: %q %q", ErrNoRoute, network, address)
}
