package front

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
)

func TestClientOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:99", nil, "192.0.2.1/32"},
		{"[2001:db8:1:2:3:4:5:6]:99", nil, "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:ffff::]:1", nil, "2001:db8:1:2::/64"}, // the same
		{"[::ffff:192.0.2.1]:99", nil, "192.0.2.1/32"},
		{"[fe80::1%eth0]:99", nil, "fe80::/64"},
		{"@", nil, "invalid Prefix"},
		{"192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1/32"}, // anybody can write that
		{"10.0.0.1:99", nil, "10.0.0.1/32"},
		{"10.0.0.1:99", []string{"198.51.100.7"}, "198.51.100.7/32"},
		{"10.0.0.1:99", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7/32"}, // made up before the proxy
		{"10.0.0.1:99", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7/32"},
		{"10.0.0.1:99", []string{"203.0.113.9, 198.51.100.7, 10.9.9.9"}, "198.51.100.7/32"},
		{"10.0.0.1:99", []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1/32"},
		{"10.0.0.1:99", []string{"198.51.100.7, unknown"}, "10.0.0.1/32"},
		{"10.0.0.1:99", []string{"198.51.100.7,"}, "10.0.0.1/32"},
		{"10.0.0.1:99", []string{""}, "10.0.0.1/32"},
		{"10.0.0.1:99", []string{"198.51.100.7:1234"}, "198.51.100.7/32"},
		{"[fd00::1]:99", []string{"[2001:db8::1]:443"}, "2001:db8::/64"},
		{"[fd00::1]:99", []string{"[2001:db8::1]"}, "2001:db8::/64"},
		{"10.0.0.1:99", []string{"::ffff:10.3.3.3, ::ffff:192.0.2.5"}, "192.0.2.5/32"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := fmt.Sprint(netip.Prefix(clientOf(r, trusted))); got != tt.want {
			t.Errorf("%s, %q: %s, not %s", tt.peer, tt.forwarded, got, tt.want)
		}
	}
}
