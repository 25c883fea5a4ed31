package attest

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"time"
)

// Measurement is one enclave that a Policy accepts.
type Measurement struct {
	// Name tells people which build this is; it is not compared.
	Name string
	// PCRs must all be present in the document with these values. Others are
	// not looked at. At least one is required.
	PCRs PCRs
}

// Policy is what an enclave must be. The zero Policy refuses every document.
// A Policy must not be changed while Verify uses it.
type Policy struct {
	// Measurements are alternatives, of which one must match; several let two
	// builds serve side by side while one replaces the other.
	Measurements []Measurement
	// AnyMeasurement accepts every measurement, so that the document proves
	// only that some enclave of somebody's asked for it. This is for callers
	// who judge Document.PCRs themselves, as KMS does with key policies. It
	// excludes Measurements.
	AnyMeasurement bool
	// AllowDebug accepts documents of debug-mode enclaves, whose PCR0 is all
	// zero. Without it they are refused whatever the measurements say.
	AllowDebug bool
	// Nonce, UserData and PublicKey, where not nil, must equal the document's.
	Nonce, UserData, PublicKey []byte
	// ModuleID, where not empty, must equal the document's.
	ModuleID string
	// MaxAge, where not 0, bounds the age of the document by its timestamp.
	// A timestamp more than a minute in the future is then refused as well.
	MaxAge time.Duration
}

// maxFuture is how far a document's timestamp may be ahead of the verifier's
// clock when a policy limits its age.
const maxFuture = time.Minute

// PolicyError says which rule of a policy a genuine document does not meet.
// errors.Is(err, ErrPolicy) holds for it.
type PolicyError struct {
	// Rule is the policy's rule: "measurement", "debug", "nonce",
	// "user data", "public key", "module id", "age" or "policy" (the policy
	// itself refuses everything).
	Rule string
	// Measurement and PCR tell the first difference to the closest
	// alternative: of those, the one whose first differing register is
	// highest. PCR is -1 unless Rule is "measurement".
	Measurement string
	PCR         int
	// Expected and Found are that register's values; Found is nil where the
	// document does not have it.
	Expected, Found PCR
	detail          string
}

func (e *PolicyError) Error() string {
	if e.Rule != "measurement" {
		return fmt.Sprintf("%v: %s: %s", ErrPolicy, e.Rule, e.detail)
	}
	found := "absent"
	if e.Found != nil {
		found = e.Found.String()
	}
	name := ""
	if e.Measurement != "" {
		name = fmt.Sprintf(" of %q", e.Measurement)
	}
	return fmt.Sprintf("%v: PCR%d%s: expected %s, found %s", ErrPolicy, e.PCR, name, e.Expected, found)
}

// Unwrap returns ErrPolicy.
func (e *PolicyError) Unwrap() error { return ErrPolicy }

func refuse(rule, format string, args ...any) error {
	return &PolicyError{Rule: rule, PCR: -1, detail: fmt.Sprintf(format, args...)}
}

func (p *Policy) check(d *Document, now time.Time) error {
	if err := p.valid(); err != nil {
		return err
	}
	if d.PCRs[0].IsZero() && !p.AllowDebug {
		return refuse("debug", "PCR0 is all zero: the enclave runs in debug mode")
	}
	if err := p.checkMeasurements(d.PCRs); err != nil {
		return err
	}
	for _, f := range []struct {
		rule       string
		want, have []byte
	}{
		{"nonce", p.Nonce, d.Nonce},
		{"user data", p.UserData, d.UserData},
		{"public key", p.PublicKey, d.PublicKey},
	} {
		if f.want != nil && (f.have == nil || subtle.ConstantTimeCompare(f.want, f.have) != 1) {
			return refuse(f.rule, "not the expected %d bytes", len(f.want))
		}
	}
	if p.ModuleID != "" && p.ModuleID != d.ModuleID {
		return refuse("module id", "expected %q, found %q", p.ModuleID, d.ModuleID)
	}
	if p.MaxAge > 0 {
		age := now.Sub(d.Timestamp)
		if age > p.MaxAge || age < -maxFuture {
			return refuse("age", "the document is %v old, at most %v is allowed", age.Round(time.Second), p.MaxAge)
		}
	}
	return nil
}

// valid refuses policies that would accept more than their author can mean.
func (p *Policy) valid() error {
	if p.AnyMeasurement == (len(p.Measurements) > 0) {
		return refuse("policy", "give either Measurements or AnyMeasurement")
	}
	if p.MaxAge < 0 {
		return refuse("policy", "MaxAge is negative")
	}
	for _, m := range p.Measurements {
		if len(m.PCRs) == 0 {
			return refuse("policy", "measurement %q names no PCR", m.Name)
		}
		for i, v := range m.PCRs {
			if i < 0 || i >= maxPCRs || len(v) != pcrSize {
				return refuse("policy", "measurement %q: PCR%d is no register of %d bytes", m.Name, i, pcrSize)
			}
		}
	}
	return nil
}

func (p *Policy) checkMeasurements(found PCRs) error {
	var closest *PolicyError
	for _, m := range p.Measurements {
		miss := m.mismatch(found)
		if miss == nil {
			return nil
		}
		if closest == nil || miss.PCR > closest.PCR {
			closest = miss
		}
	}
	if closest == nil { // AnyMeasurement
		return nil
	}
	return closest
}

// mismatch returns the first register, in order of number, that differs.
func (m *Measurement) mismatch(found PCRs) *PolicyError {
	indexes := make([]int, 0, len(m.PCRs))
	for i := range m.PCRs {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	for _, i := range indexes {
		if !m.PCRs[i].Equal(found[i]) {
			return &PolicyError{Rule: "measurement", Measurement: m.Name, PCR: i, Expected: m.PCRs[i], Found: found[i]}
		}
	}
	return nil
}
