package keypolicy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// TestSpecGolden pins the bytes: who reviews a key policy wants to see the same
// one from the same Spec.
func TestSpecGolden(t *testing.T) {
	s := spec()
	s.AttestedResponses = true
	s.Context = map[string]string{"app": "chatbot", "Tenant": "<a&b>"}
	got, err := s.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/made.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, "testdata/made.json"); !bytes.Equal(got, want) {
		t.Errorf("got:\n%s", got)
	}
}

// TestSpecPassesLint tries every combination of options.
func TestSpecPassesLint(t *testing.T) {
	for i := range 32 {
		s := spec()
		s.AttestedResponses = i&1 != 0
		if s.SealedResponses = i&16 != 0; s.SealedResponses {
			s.AttestedResponses = false
		}
		var delegating []string
		if s.Delegated = i&2 != 0; s.Delegated {
			delegating = s.Clients
		}
		if i&4 != 0 {
			s.Context = map[string]string{"app": "chatbot"}
		}
		if i&8 != 0 && s.Delegated {
			s.Enclaves = nil
		}
		policy, err := s.Policy()
		if err != nil {
			t.Fatal(err)
		}
		findings := keypolicy.Lint(policy, keypolicy.Options{Delegating: delegating, Measurements: s.Measurements})
		if len(findings) > 0 {
			t.Errorf("%+v: %v", s, findings)
		}
	}
	debug := spec()
	debug.AllowDebug = true
	debug.Measurements = []attest.Measurement{{PCRs: attest.PCRs{0: attest.ZeroPCR()}}}
	policy, err := debug.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if f := keypolicy.Lint(policy, keypolicy.Options{}); len(f) != 1 || f[0].Code != keypolicy.ZeroPCR {
		t.Errorf("debug mode: %v", f)
	}
}

func TestSpecRefuses(t *testing.T) {
	good := attest.PCRs{0: digest(1)}
	of := func(pcrs attest.PCRs) func(*keypolicy.Spec) {
		return func(s *keypolicy.Spec) { s.Measurements = []attest.Measurement{{PCRs: pcrs}} }
	}
	context := func(name, value string) func(*keypolicy.Spec) {
		return func(s *keypolicy.Spec) { s.Context = map[string]string{name: value} }
	}
	for _, test := range []struct {
		name, field string
		edit        func(*keypolicy.Spec)
	}{
		{"no admins", "Admins", func(s *keypolicy.Spec) { s.Admins = nil }},
		{"no clients", "Clients", func(s *keypolicy.Spec) { s.Clients = nil }},
		{"no enclaves", "Enclaves", func(s *keypolicy.Spec) { s.Enclaves = nil }},
		{"everybody", "Clients", func(s *keypolicy.Spec) { s.Clients = []string{"*"} }},
		{"account", "Admins", func(s *keypolicy.Spec) { s.Admins = []string{"arn:aws:iam::111122223333:root"} }},
		{"account number", "Admins", func(s *keypolicy.Spec) { s.Admins = []string{"111122223333"} }},
		{"wildcard", "Enclaves", func(s *keypolicy.Spec) { s.Enclaves = []string{parent + "*"} }},
		{"second ARN", "Enclaves", func(s *keypolicy.Spec) { s.Enclaves = []string{parent, "x"} }},
		{"two duties", "Enclaves", func(s *keypolicy.Spec) { s.Enclaves = []string{admin} }},
		{"twice", "Clients", func(s *keypolicy.Spec) { s.Clients = []string{client, client} }},
		{"two kinds of responses", "SealedResponses", func(s *keypolicy.Spec) { s.SealedResponses, s.AttestedResponses = true, true }},
		{"no measurement", "Measurements", func(s *keypolicy.Spec) { s.Measurements = nil }},
		{"too many", "Measurements", func(s *keypolicy.Spec) { s.Measurements = make([]attest.Measurement, 9) }},
		{"nothing measured", "Measurements", of(nil)},
		{"no PCR0", "Measurements", of(attest.PCRs{1: digest(1), 2: digest(2)})},
		{"short", "Measurements", of(attest.PCRs{0: digest(1)[:47]})},
		{"debug mode", "Measurements", of(attest.PCRs{0: attest.ZeroPCR()})},
		{"unsigned", "Measurements", of(attest.PCRs{0: digest(1), 8: attest.ZeroPCR()})},
		{"PCR32", "Measurements", of(attest.PCRs{0: digest(1), 32: digest(2)})},
		{"PCR-1", "Measurements", of(attest.PCRs{0: digest(1), -1: digest(2)})},
		{"direction again", "Context", context("Direction", "request")},
		{"two of a name", "Context", func(s *keypolicy.Spec) { s.Context = map[string]string{"a": "1", "A": "2"} }},
		{"no name", "Context", context("", "x")},
		{"name of AWS", "Context", context("aws:s3", "x")},
		{"name with a space", "Context", context("a b", "x")},
		{"no value", "Context", context("a", "")},
		{"variable", "Context", context("a", "${aws:username}")},
		{"long value", "Context", context("a", strings.Repeat("x", 1025))},
		{"too large", "Clients", func(s *keypolicy.Spec) {
			for i := range 300 {
				s.Clients = append(s.Clients, fmt.Sprintf("%s-%d", client, i))
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spec()
			s.Measurements = []attest.Measurement{{PCRs: good}}
			if _, err := s.Policy(); err != nil {
				t.Fatal(err)
			}
			test.edit(&s)
			policy, err := s.Policy()
			var e *keypolicy.SpecError
			if policy != nil || !errors.Is(err, keypolicy.ErrSpec) || !errors.As(err, &e) || e.Field != test.field {
				t.Errorf("got %s, %v", policy, err)
			}
		})
	}
}

// FuzzSpec tries to smuggle something into a policy by the text in a Spec.
func FuzzSpec(f *testing.F) {
	f.Add(client, "app", "chatbot", []byte{1}, byte(0))
	f.Add(client+`"}`, `a":"b`, `"`, make([]byte, 48), byte(1))
	f.Fuzz(func(t *testing.T, arn, name, value string, pcr []byte, flags byte) {
		s := spec()
		s.Clients = []string{arn}
		s.Context = map[string]string{name: value}
		s.Measurements[1].PCRs[1] = pcr
		s.Delegated, s.AttestedResponses, s.SealedResponses = flags&1 != 0, flags&2 != 0, flags&4 != 0
		policy, err := s.Policy()
		if err != nil {
			if !errors.Is(err, keypolicy.ErrSpec) {
				t.Fatal(err)
			}
			return
		}
		opts := keypolicy.Options{Measurements: s.Measurements}
		if s.Delegated {
			opts.Delegating = s.Clients
		}
		if findings := keypolicy.Lint(policy, opts); len(findings) > 0 {
			t.Fatalf("%v in\n%s", findings, policy)
		}
	})
}
