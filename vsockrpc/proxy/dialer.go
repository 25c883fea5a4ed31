package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// ErrNoRoute is returned for addresses that a Dialer has no route for.
var ErrNoRoute = errors.New("proxy: no route to this address")

// DialerOptions configures a Dialer.
type DialerOptions struct {
	// Routes maps host:port, as the client names it, to the vsockrpc address
	// behind which the parent forwards to it. Hosts are compared without
	// regard to case.
	Routes map[string]string
}

// Dialer connects to servers through the parent. It is safe for concurrent
// use.
type Dialer struct{ routes map[string]string }

// NewDialer checks the routes and returns a Dialer.
func NewDialer(opts DialerOptions) (*Dialer, error) {
	d := &Dialer{routes: make(map[string]string, len(opts.Routes))}
	for target, addr := range maps.All(opts.Routes) {
		if err := checkTarget(target); err != nil {
			return nil, err
		}
		if _, err := vsockrpc.ParseAddr(addr); err != nil {
			return nil, fmt.Errorf("proxy: route to %s: %w", target, err)
		}
		d.routes[strings.ToLower(target)] = addr
	}
	return d, nil
}

// DialContext connects to address, which must have a route. The network must
// be "tcp", "tcp4" or "tcp6". It fits http.Transport.DialContext.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	addr, ok := d.routes[strings.ToLower(address)]
	if !ok || !strings.HasPrefix(network, "tcp") {
		return nil, fmt.Errorf("%w: %s %s", ErrNoRoute, network, address)
	}
	return vsockrpc.Dial(ctx, addr)
}

func checkTarget(target string) error {
	host, port, err := net.SplitHostPort(target)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("proxy: target %q is not host:port", target)
	}
	return nil
}
