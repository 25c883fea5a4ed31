package keypolicy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/envelope-keypolicy.md.
func TestBadInput(t *testing.T) {
	malformed := badinput.Is("keypolicy.ErrMalformed", keypolicy.ErrMalformed)
	spec := badinput.Both(badinput.As[*keypolicy.SpecError](), badinput.Is("keypolicy.ErrSpec", keypolicy.ErrSpec))
	statement := func(s string) string { return `{"Version": "2012-10-17", "Statement": [` + s + `]}` }
	var cases []badinput.Case
	for _, c := range []struct{ input, data string }{
		{"nothing", ""},
		{"no JSON", badinput.Canary + "\x00\n"},
		{"null", "null"},
		{"a list", "[]"},
		{"no Statement", "{}"},
		{"more than 32 KiB", strings.Repeat(" ", 32<<10) + "{}"},
		{"two JSON values", "{} {}"},
		{"nested 1,000 deep", strings.Repeat("[", 1000)},
		{"an element that does not exist, with a newline", `{"State\nment": []}`},
		{"an element twice", `{"Statement": [], "Statement": []}`},
		{"a statement that is a number", statement("1")},
		{"a statement without Effect", statement(`{"Principal": "*", "Action": "*", "Resource": "*"}`)},
		{"a statement without Principal", statement(`{"Effect": "Allow", "Action": "*", "Resource": "*"}`)},
		{"a principal of an unknown kind", statement(`{"Effect": "Allow", "Principal": {"aws": "*"}, "Action": "*", "Resource": "*"}`)},
		{"an action that is an object", statement(`{"Effect": "Allow", "Principal": "*", "Action": {}, "Resource": "*"}`)},
		{"a condition without a value", statement(`{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"a": []}}}`)},
	} {
		cases = append(cases,
			badinput.On("Parse", c.input, malformed, func(context.Context) error {
				_, err := keypolicy.Parse([]byte(c.data))
				return err
			}))
	}
	cases = append(cases,
		badinput.Value("Lint", "what Parse refuses", "the finding Malformed, which is Critical", func() bool {
			f := keypolicy.Lint([]byte(badinput.Canary), keypolicy.Options{})
			return len(f) == 1 && f[0].Code == keypolicy.Malformed && f[0].Severity == keypolicy.Critical && !strings.Contains(f[0].String(), badinput.Canary)
		}),
		badinput.Value("Policy.Lint", "the zero Policy", "findings, as for any policy", func() bool { return len(new(keypolicy.Policy).Lint(keypolicy.Options{})) > 0 }),
		badinput.Value("Policy.Lint", "options whose ARNs and measurements are none", "they match nothing", func() bool {
			return len(new(keypolicy.Policy).Lint(keypolicy.Options{Untrusted: []string{"\x00"}, Delegating: []string{""}, Measurements: []attest.Measurement{{PCRs: attest.PCRs{-1: nil}}}})) > 0
		}),
		badinput.Value("Match", "an empty pattern", "it matches the empty string only", func() bool { return keypolicy.Match("", "") && !keypolicy.Match("", "a") }),
		badinput.Value("Match", "bytes that are not UTF-8, and 1,000 stars", "they are compared as they are, in time that is bounded", func() bool {
			return keypolicy.Match(strings.Repeat("*", 1000)+"\xff", strings.Repeat("a", 1000)+"\xff")
		}),
	)
	const arn = "arn:aws:iam::111122223333:role/"
	for _, c := range []struct {
		input  string
		change func(*keypolicy.Spec)
	}{
		{"the zero Spec", func(s *keypolicy.Spec) { *s = keypolicy.Spec{} }},
		{"no Admins", func(s *keypolicy.Spec) { s.Admins = nil }},
		{"no Clients", func(s *keypolicy.Spec) { s.Clients = nil }},
		{"no Enclaves, without Delegated", func(s *keypolicy.Spec) { s.Enclaves = nil }},
		{"a principal that is *", func(s *keypolicy.Spec) { s.Clients = []string{"*"} }},
		{"a principal that is no ARN, with a newline", func(s *keypolicy.Spec) { s.Clients = []string{"role\n"} }},
		{"a principal in two lists", func(s *keypolicy.Spec) { s.Clients = s.Admins }},
		{"AttestedResponses and SealedResponses", func(s *keypolicy.Spec) { s.AttestedResponses, s.SealedResponses = true, true }},
		{"no measurements", func(s *keypolicy.Spec) { s.Measurements = nil }},
		{"nine measurements", func(s *keypolicy.Spec) { s.Measurements = make([]attest.Measurement, 9) }},
		{"a measurement without PCR0", func(s *keypolicy.Spec) { s.Measurements[0].PCRs = attest.PCRs{1: s.Measurements[0].PCRs[0]} }},
		{"a measurement with PCR -1", func(s *keypolicy.Spec) { s.Measurements[0].PCRs[-1] = attest.ZeroPCR() }},
		{"a PCR of 47 bytes", func(s *keypolicy.Spec) { s.Measurements[0].PCRs[0] = make(attest.PCR, 47) }},
		{"a PCR that is zero, without AllowDebug", func(s *keypolicy.Spec) { s.Measurements[0].PCRs[0] = attest.ZeroPCR() }},
		{"a direction in Context", func(s *keypolicy.Spec) { s.Context = map[string]string{"Direction": "x"} }},
		{"an empty name in Context", func(s *keypolicy.Spec) { s.Context = map[string]string{"": "x"} }},
		{"a policy variable in Context", func(s *keypolicy.Spec) { s.Context = map[string]string{"app": "${aws:username}"} }},
		{"a Context that is not UTF-8", func(s *keypolicy.Spec) { s.Context = map[string]string{"app": "\xff"} }},
		{"a policy over 32 KiB", func(s *keypolicy.Spec) { s.Context = map[string]string{"app": strings.Repeat("x", 32<<10)} }},
	} {
		cases = append(cases, badinput.On("Spec.Policy", c.input, spec, func(context.Context) error {
			s := keypolicy.Spec{
				Admins: []string{arn + "admin"}, Clients: []string{arn + "client"}, Enclaves: []string{arn + "enclave"},
				Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: attest.PCR3("image")}}},
			}
			c.change(&s)
			_, err := s.Policy()
			return err
		}))
	}
	badinput.Table{
		Package: "envelope/keypolicy",
		Cases:   cases,
		NoInput: []string{"Codes", "SpecError.Error", "SpecError.Unwrap", "Finding.String", "Severity.MarshalText (any number)", "Severity.String (any number)"},
	}.Run(t)
}
