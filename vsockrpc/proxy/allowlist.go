package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotAllowed is returned by NewForwarder for a target that is not on the
// allowlist.
var ErrNotAllowed = errors.New("proxy: the target is not on the allowlist")

// Allowlist says to which hosts and ports a parent forwards. It does not
// change, so it is safe for concurrent use; the zero value and nil allow
// nothing.
//
// A target is allowed if its host and port are those of an entry, as they are
// written: the case of names and a final dot make no difference, nor do
// different spellings of one IP address. There are no wildcards, as there are
// none in vsock-proxy.yaml. Names are not resolved to compare them; the
// vsock-proxy of the Nitro Enclaves CLI also allows a target whose address is
// that of an entry, which leaves the decision to DNS.
type Allowlist struct{ targets map[target]struct{} }

// NewAllowlist makes an allowlist of targets, each host:port with IPv6
// addresses in brackets.
func NewAllowlist(targets ...string) (*Allowlist, error) {
	a := &Allowlist{targets: make(map[target]struct{}, len(targets))}
	for _, s := range targets {
		t, err := parseTarget(s)
		if err != nil {
			return nil, err
		}
		a.targets[t] = struct{}{}
	}
	return a, nil
}

// Allows reports whether target, host:port, is on the list. What is not
// host:port is not.
func (a *Allowlist) Allows(target string) bool {
	t, err := parseTarget(target)
	return err == nil && a.allows(t)
}

func (a *Allowlist) allows(t target) bool {
	if a == nil {
		return false
	}
	_, ok := a.targets[t]
	return ok
}

// Targets returns the entries, sorted and each once, as host:port.
func (a *Allowlist) Targets() []string {
	if a == nil {
		return nil
	}
	list := make([]string, 0, len(a.targets))
	for t := range a.targets {
		list = append(list, t.String())
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

// AllowlistError says what ParseAllowlist does not take, and where.
type AllowlistError struct {
	// Line is the number of the line, from 1. For what is missing at the end
	// it is the last line's.
	Line int
	// Reason is in English, and repeats nothing of the file but names of keys.
	Reason string
}

func (e *AllowlistError) Error() string {
	return fmt.Sprintf("proxy: allowlist, line %d: %s", e.Line, e.Reason)
}
