package front

import (
	"net/http"
	"net/netip"
	"strings"
)

// client is what one share of the limits belongs to: an IPv4 address, or the
// /64 network of an IPv6 address, since hosts have as many addresses in one of
// those as they like. It is kept in memory only, and never logged.
type client netip.Prefix

// unknown is the client of a connection without an IP address.
var unknown client

// clientOf finds out who asks: the other end of the connection or, if that is a
// trusted proxy, the one that it names in X-Forwarded-For. Of that header the
// last address counts that is not a trusted proxy's: what is before it was
// written by somebody else, and may be made up.
func clientOf(r *http.Request, trusted []netip.Prefix) client {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return unknown
	}
	addr := peer.Addr().Unmap().WithZone("")
	if !trusts(trusted, addr) {
		return clientAt(addr)
	}
	forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for forwarded != "" {
		i := strings.LastIndexByte(forwarded, ',')
		last, ok := parseForwarded(forwarded[i+1:])
		if !ok {
			return clientAt(addr) // the proxy that wrote it answers for it
		}
		if addr = last; !trusts(trusted, addr) {
			break
		}
		forwarded = forwarded[:max(i, 0)]
	}
	return clientAt(addr)
}

// parseForwarded reads one element of X-Forwarded-For: an address, which some
// proxies write with a port or, if it is an IPv6 one, in brackets.
func parseForwarded(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil {
			return a.Unmap().WithZone(""), true
		}
	}
	return netip.Addr{}, false
}

func trusts(trusted []netip.Prefix, a netip.Addr) bool {
	for _, p := range trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func clientAt(a netip.Addr) client {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return unknown
	}
	return client(p)
}
