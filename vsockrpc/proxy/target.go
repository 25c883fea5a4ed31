package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// target is a host and a port in the one form in which they are compared.
type target struct {
	host string // lower case, no final dot; an IP address as netip writes it
	port uint16
}

// parseTarget reads host:port, where IPv6 addresses stand in brackets.
func parseTarget(s string) (target, error) {
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		return target{}, fmt.Errorf("proxy: target %q is not host:port", s)
	}
	host, ok := canonicalHost(h)
	if !ok {
		return target{}, fmt.Errorf("proxy: target %q: the host is neither a name nor an IP address", s)
	}
	port, ok := parsePort(p)
	if !ok {
		return target{}, fmt.Errorf("proxy: target %q: the port is not a number from 1 to 65535", s)
	}
	return target{host, port}, nil
}

// String is the form that parseTarget reads.
func (t target) String() string {
	return net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
}

// canonicalHost checks a host name or IP address. What resolvers may take for
// a number, such as 127.1 or 0x7f000001, is neither.
func canonicalHost(s string) (string, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap().String(), true
	}
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return "", false
	}
	last := ""
	for last = range strings.SplitSeq(s, ".") {
		if len(last) == 0 || len(last) > 63 || strings.ContainsFunc(last, notInLabel) {
			return "", false
		}
	}
	s, last = strings.ToLower(s), strings.ToLower(last)
	digits, hex := strings.CutPrefix(last, "0x")
	if strings.Trim(last, "0123456789") == "" || hex && strings.Trim(digits, "0123456789abcdef") == "" {
		return "", false
	}
	return s, true
}

func notInLabel(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}

// parsePort takes decimal digits without leading zeros only: other forms mean
// different numbers to different readers.
func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return uint16(n), true
}
