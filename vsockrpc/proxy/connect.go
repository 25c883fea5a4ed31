package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Resolver finds the addresses of a host. *net.Resolver is one. A Forwarder
// calls LookupNetIP with network "ip", concurrently, and tries the addresses
// in the order in which they are returned.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// errForbidden is about names that resolve to refused addresses only.
var errForbidden = errors.New("the name resolves to addresses of this machine or link only, which are refused")

// minDialShare is the least that an address gets of DialTimeout, as long as
// that lasts: a fair share of many would be too short for any.
const minDialShare = 2 * time.Second

// connect connects to the target: to the first of its addresses, as they are
// now, that can be reached.
func (f *Forwarder) connect() (net.Conn, error) {
	deadline := time.Now().Add(f.opts.DialTimeout)
	ctx, cancel := context.WithDeadline(f.ctx, deadline)
	defer cancel()
	addrs, err := f.addresses(ctx)
	if err != nil {
		return nil, err
	}
	var first error
	for i, ip := range addrs {
		share := max(time.Until(deadline)/time.Duration(len(addrs)-i), minDialShare)
		c, err := f.dial(ctx, ip, share)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (f *Forwarder) dial(ctx context.Context, ip netip.Addr, share time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	return f.opts.Dial(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(int(f.target.port))))
}

// addresses returns the target's addresses that may be dialled, at least one.
func (f *Forwarder) addresses(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(f.target.host); err == nil {
		return []netip.Addr{ip}, nil // whoever configured the target meant this address
	}
	found, err := f.opts.Resolver.LookupNetIP(ctx, "ip", f.lookup)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(found))
	for _, ip := range found {
		if ip = ip.Unmap(); f.opts.AllowLocal || !local(ip) {
			addrs = append(addrs, ip)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("%s has no addresses", f.target.host)
	case len(addrs) == 0:
		return nil, fmt.Errorf("%w: %v", errForbidden, found)
	}
	return addrs, nil
}

// localNets are ranges that reach this machine, or what it alone can reach,
// besides those that package netip knows.
var localNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),          // this host on this network (RFC 1122)
	netip.MustParsePrefix("255.255.255.255/32"), // limited broadcast
	netip.MustParsePrefix("::/96"),              // IPv4-compatible, deprecated (RFC 4291)
	netip.MustParsePrefix("fd00:ec2::/32"),      // instance metadata and other services of an EC2 instance's own link
}

// nat64 holds IPv4 addresses in the last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// local reports whether an address must not be reached by way of a name.
func local(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, n := range localNets {
		if n.Contains(ip) {
			return true
		}
	}
	return !ip.IsValid() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast()
}
