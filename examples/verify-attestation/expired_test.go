package main

import (
	"strings"
	"testing"
)

// An expired document is refused, and still shown to the person who asks what
// it is.
func TestExpiredIsShown(t *testing.T) {
	code, out, _ := call(t, nil, real)
	if code != exitRefused || !strings.Contains(out, "REFUSED") || !strings.Contains(out, "expired") || !strings.Contains(out, pcr0) {
		t.Errorf("exit status %d:\n%s", code, out)
	}
	// That must not weaken the rest: a bad signature shows nothing.
	code, out, _ = call(t, nil, dir+"real/veracruz-badsig.cose")
	if code != exitRefused || strings.Contains(out, pcr0) || strings.Contains(out, "module ") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
}
