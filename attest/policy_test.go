package attest_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// verifyWith verifies a genuine document under a policy.
func verifyWith(t *testing.T, name string, p attest.Policy) error {
	t.Helper()
	v := findVector(t, name)
	opts := v.options(t, v.At.Add(time.Minute))
	opts.Policy = p
	d, err := attest.Verify(v.doc(t), opts)
	if (d == nil) == (err == nil) {
		t.Error("a document beside an error, or neither")
	}
	return err
}

func TestPolicy(t *testing.T) {
	v := findVector(t, "veracruz")
	opts := v.options(t, v.At)
	d, err := attest.Verify(v.doc(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	right := attest.Measurement{Name: "right", PCRs: attest.PCRs{0: d.PCRs[0], 1: d.PCRs[1], 2: d.PCRs[2]}}
	flip := func(i int) attest.Measurement {
		m := attest.Measurement{Name: "flipped", PCRs: attest.PCRs{0: d.PCRs[0], 1: d.PCRs[1], 2: d.PCRs[2]}}
		m.PCRs[i] = slices.Clone(m.PCRs[i])
		m.PCRs[i][17] ^= 4
		return m
	}
	one := func(m ...attest.Measurement) attest.Policy { return attest.Policy{Measurements: m} }
	zero := one(attest.Measurement{PCRs: attest.PCRs{0: attest.ZeroPCR()}})
	debug := zero
	debug.AllowDebug = true
	with := func(edit func(*attest.Policy)) attest.Policy {
		p := one(right)
		edit(&p)
		return p
	}
	for _, tt := range []struct {
		name, doc string
		policy    attest.Policy
		rule      string // "": accepted
	}{
		{"right", "veracruz", one(right), ""},
		{"second alternative", "veracruz", one(flip(0), right), ""},
		{"zero policy", "veracruz", attest.Policy{}, "policy"},
		{"only AllowDebug", "veracruz", attest.Policy{AllowDebug: true}, "policy"},
		{"both", "veracruz", attest.Policy{AnyMeasurement: true, Measurements: []attest.Measurement{right}}, "policy"},
		{"measurement without PCRs", "veracruz", one(attest.Measurement{}), "policy"},
		{"short PCR", "veracruz", one(attest.Measurement{PCRs: attest.PCRs{0: d.PCRs[0][:47]}}), "policy"},
		{"nil PCR", "veracruz", one(attest.Measurement{PCRs: attest.PCRs{0: nil}}), "policy"},
		{"PCR out of range", "veracruz", one(attest.Measurement{PCRs: attest.PCRs{32: d.PCRs[0]}}), "policy"},
		{"wrong PCR0", "veracruz", one(flip(0)), "measurement"},
		{"wrong PCR2", "veracruz", one(flip(2)), "measurement"},
		{"debug refused", "evervault-debug", attest.Policy{AnyMeasurement: true}, "debug"},
		{"debug refused though measured", "evervault-debug", zero, "debug"},
		{"debug allowed", "evervault-debug", debug, ""},
		{"missing PCR0 is not zero", "pcr0-missing", debug, "measurement"},
		{"nonce", "veracruz", with(func(p *attest.Policy) { p.Nonce = d.Nonce }), ""},
		{"wrong nonce", "veracruz", with(func(p *attest.Policy) { p.Nonce = []byte{1} }), "nonce"},
		{"empty nonce is a nonce", "veracruz", with(func(p *attest.Policy) { p.Nonce = []byte{} }), "nonce"},
		{"user data", "veracruz", with(func(p *attest.Policy) { p.UserData = d.UserData }), ""},
		{"wrong user data", "veracruz", with(func(p *attest.Policy) { p.UserData = d.Nonce }), "user data"},
		{"absent public key", "veracruz", with(func(p *attest.Policy) { p.PublicKey = []byte{} }), "public key"},
		{"module", "veracruz", with(func(p *attest.Policy) { p.ModuleID = d.ModuleID }), ""},
		{"wrong module", "veracruz", with(func(p *attest.Policy) { p.ModuleID = "i-1" }), "module id"},
		{"young", "veracruz", with(func(p *attest.Policy) { p.MaxAge = time.Hour }), ""},
		{"negative age", "veracruz", with(func(p *attest.Policy) { p.MaxAge = -time.Hour }), "policy"},
		{"old", "veracruz", with(func(p *attest.Policy) { p.MaxAge = time.Millisecond }), "age"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := verifyWith(t, tt.doc, tt.policy)
			if tt.rule == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var pe *attest.PolicyError
			if !errors.As(err, &pe) || !errors.Is(err, attest.ErrPolicy) || pe.Rule != tt.rule {
				t.Fatalf("got %v, want rule %q", err, tt.rule)
			}
		})
	}
}

func TestPolicyErrorNamesPCR(t *testing.T) {
	v := findVector(t, "veracruz")
	wrong := attest.PCR4("i-elsewhere")
	err := verifyWith(t, "veracruz", attest.Policy{Measurements: []attest.Measurement{
		{Name: "old", PCRs: attest.PCRs{0: wrong}},
		{Name: "new", PCRs: attest.PCRs{0: v.PCRsNonzero[0], 4: wrong}},
	}})
	var pe *attest.PolicyError
	if !errors.As(err, &pe) || pe.PCR != 4 || pe.Measurement != "new" || !pe.Expected.Equal(wrong) || !pe.Found.Equal(v.PCRsNonzero[4]) {
		t.Fatalf("%+v", pe)
	}
	for _, part := range []string{"PCR4", `"new"`, wrong.String(), v.PCRsNonzero[4].String()} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not tell %s", err, part)
		}
	}
}

func TestPCRText(t *testing.T) {
	p := attest.PCR4("i-0")
	b, err := json.Marshal(attest.PCRs{4: p})
	if err != nil || string(b) != `{"4":"`+p.String()+`"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var back attest.PCRs
	if err := json.Unmarshal([]byte(strings.ToUpper(string(b))), &back); err != nil || !back[4].Equal(p) {
		t.Fatalf("%v, %v", back, err)
	}
	for _, bad := range []string{`{"0":""}`, `{"0":"00"}`, `{"0":"` + strings.Repeat("zz", 48) + `"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}

func TestPCRComparison(t *testing.T) {
	var missing attest.PCR
	if missing.IsZero() || missing.Equal(missing) || missing.Equal(attest.ZeroPCR()) || !attest.ZeroPCR().IsZero() {
		t.Error("a missing register must equal nothing")
	}
	if missing.Extend([]byte("x")).String() != attest.ZeroPCR().Extend([]byte("x")).String() {
		t.Error("extending a register that was never set starts at zero")
	}
}
