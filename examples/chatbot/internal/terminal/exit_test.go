package terminal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

var exitCodes = []struct {
	err  error
	want int
}{
	{nil, 0},
	{errTest, 1}, {errUnfinished, 1}, {errLong, 1}, {wire.ErrTooLong, 1}, {inference.ErrPromptTooLong, 1},
	{wire.ReasonBadRequest, 1}, {wire.ReasonTooLarge, 1}, {wire.ReasonReplayed, 1}, {wire.ReasonStale, 1},
	{wire.ReasonForm, 1}, {wire.ReasonCiphertext, 1}, {wire.ReasonQuestion, 1}, {wire.ReasonPromptTooLong, 1},
	{wire.ReasonInternal, 1},
	{ErrUsage, 2}, {wire.ErrEmpty, 2}, {wire.ErrNotUTF8, 2}, {inference.ErrInvalidRequest, 2},
	{attest.ErrMalformed, 3}, {attest.ErrUntrusted, 3}, {attest.ErrExpired, 3}, {attest.ErrSignature, 3}, {attest.ErrPolicy, 3},
	{&attest.PolicyError{Rule: "measurement"}, 3}, {&attest.ExpiredError{}, 3},
	{session.ErrConfig, 3}, {session.ErrConfigExpired, 3}, {session.ErrSegment, 3}, {session.ErrOrder, 3}, {session.ErrReceipt, 3},
	{chat.ErrModel, 3}, {chat.ErrKey, 3},
	{wire.ReasonKMSDenied, 4}, {wire.ReasonCredentials, 4}, {envelope.ErrDenied, 4}, {chat.ErrCredentials, 4},
	{wire.ReasonParent, 5}, {wire.ReasonCertificate, 5}, {wire.ReasonUnavailable, 5}, {wire.ReasonDeadline, 5}, {wire.ReasonOverloaded, 5}, {wire.ReasonRateLimited, 5},
	{wire.ReasonNotReady, 5}, {wire.ReasonNSM, 5}, {wire.ReasonKeyUnknown, 5}, {wire.ReasonKMSUnavailable, 5},
	{session.ErrTruncated, 5}, {context.DeadlineExceeded, 5}, {inference.ErrOverloaded, 5},
	{&net.OpError{Op: "dial", Err: errTest}, 5}, {&net.DNSError{}, 5},
	{ErrInterrupted, 130}, {context.Canceled, 130},
}

func TestExitCode(t *testing.T) {
	for _, c := range exitCodes {
		for _, err := range []error{c.err, fmt.Errorf("asking: %w", c.err)} {
			if c.err == nil {
				err = nil
			}
			if got := ExitCode(err); got != c.want {
				t.Errorf("%v: %d, want %d", err, got, c.want)
			}
		}
	}
	// Distrust outweighs what could be tried again.
	if got := ExitCode(errors.Join(wire.ReasonUnavailable, attest.ErrPolicy)); got != 3 {
		t.Errorf("unavailable and not trusted: %d", got)
	}
	if got := ExitCode(errors.Join(wire.ReasonDeadline, wire.ReasonKMSDenied)); got != 4 {
		t.Errorf("late and denied: %d", got)
	}
}

// Every reason that there is has an exit code in the test above and advice.
func TestReasonsAreComplete(t *testing.T) {
	source, err := os.ReadFile("../wire/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s+Reason\w+\s+Reason = "(\w+)"`).FindAllSubmatch(source, -1)
	if len(found) < 18 {
		t.Fatalf("found %d reasons", len(found))
	}
	for _, m := range found {
		r := wire.Reason(m[1])
		tested := false
		for _, c := range exitCodes {
			tested = tested || c.err == error(r)
		}
		what, next, _ := strings.Cut(Explain(fmt.Errorf("asking: %w", r)), "\n")
		if !tested || what != r.Error() || next == "" || next != "  "+advice[r] {
			t.Errorf("%s: tested %t, explained as %q, advice %q", r, tested, what, next)
		}
	}
}

func TestExplain(t *testing.T) {
	att := attestation()
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"pcr": {&attest.PolicyError{Rule: "measurement", Measurement: "v1", PCR: 0, Expected: att.Document.PCRs[1], Found: att.Document.PCRs[0]},
			[]string{"NOT trusted", "PCR0, the whole enclave image", strings.Repeat("11", 48) + ` ("v1"`, strings.Repeat("44", 48), "not from the parent"}},
		"missing":   {&attest.PolicyError{Rule: "measurement", PCR: 8, Expected: att.Document.PCRs[1]}, []string{"PCR8, the certificate", "found     missing"}},
		"debug":     {&attest.PolicyError{Rule: "debug", PCR: -1}, []string{"NOT trusted", "--debug-mode"}},
		"age":       {&attest.PolicyError{Rule: "age", PCR: -1}, []string{"NOT trusted", "Check the policy"}},
		"untrusted": {fmt.Errorf("x: %w", attest.ErrUntrusted), []string{"NOT trusted", "forgery", "name its root"}},
		"expired":   {&attest.ExpiredError{NotBefore: day, NotAfter: day.Add(1), At: day.AddDate(1, 0, 0)}, []string{"2026-03-04 13:00:00 UTC", "2027-03-04", "clock"}},
		"signature": {attest.ErrSignature, []string{"NOT trusted", "forged"}},
		"malformed": {attest.ErrMalformed, []string{"NOT trusted", "damaged"}},
		"denied":    {envelope.ErrDenied, []string{"this client", "which role"}},
		"deadline":  {context.DeadlineExceeded, []string{"-timeout"}},
		"dial":      {&net.OpError{Op: "dial", Net: "tcp", Err: errTest}, []string{"Does the parent run"}},
		"usage":     {fmt.Errorf("%w: no folder", ErrUsage), []string{"no folder"}},
		"too long":  {wire.ErrTooLong, []string{"shorter"}},
		"cut":       {errUnfinished, []string{"Do not rely"}},
		"truncated": {session.ErrTruncated, []string{"Do not rely"}},
		"forged":    {session.ErrSegment, []string{"NOT trusted", "Do not rely"}},
		"parent": {fmt.Errorf("%w: %w", wire.ReasonParent, &net.OpError{Op: "dial", Net: "tcp", Err: errTest}),
			[]string{"the parent cannot be reached: dial tcp: " + errTest.Error() + "\n", "firewall"}},
		"certificate": {fmt.Errorf("%w: %w: %w", wire.ReasonCertificate, sessionrpc.ErrUnreachable,
			&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}),
			[]string{"the parent's TLS certificate is not accepted: it has expired", "clock"}},
		"other":   {errTest, []string{errTest.Error()}},
		"stopped": {ErrInterrupted, []string{"interrupted"}},
	} {
		got := Explain(c.err)
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q lacks %q", name, got, w)
			}
		}
		if strings.HasPrefix(got, "usage") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := Explain(nil); got != "" {
		t.Errorf("no error is explained as %q", got)
	}
}
