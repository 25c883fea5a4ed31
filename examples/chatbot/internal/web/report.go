package web

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// Report is what the page shows of an enclave that was verified. Every field
// is from the verified document, from the client's own policy or from what the
// enclave attests; the model's name is the enclave's own word.
type Report struct {
	// Trusted is always true: see Failure.
	Trusted bool `json:"trusted"`
	// Simulated: the chain does not end in AWS's root, so nothing is protected.
	Simulated bool `json:"simulated"`
	// Debug: the enclave's console can be read from outside.
	Debug bool `json:"debug"`
	// AnyMeasurement: the policy accepts every enclave of everybody.
	AnyMeasurement bool          `json:"any_measurement"`
	VerifiedAt     time.Time     `json:"verified_at"`
	Document       DocumentInfo  `json:"document"`
	Policy         PolicyInfo    `json:"policy"`
	PCRs           []PCRInfo     `json:"pcrs"`
	Certificates   []Certificate `json:"certificates"`
	Key            KeyInfo       `json:"key"`
	Model          ModelInfo     `json:"model"`
	// KMSKey is an ARN, or empty where no KMS is used.
	KMSKey string `json:"kms_key"`
	// Parent is scheme, host and path of the parent's URL.
	Parent string `json:"parent"`
}

// DocumentInfo describes the attestation document. Bytes is its size.
type DocumentInfo struct {
	ModuleID  string    `json:"module_id"`
	Timestamp time.Time `json:"timestamp"`
	Digest    string    `json:"digest"`
	Bytes     int       `json:"bytes"`
}

// PolicyInfo describes what the document was held against. Measurement is the
// name of the alternative that it met, of Alternatives in all.
type PolicyInfo struct {
	Measurement   string `json:"measurement"`
	Alternatives  int    `json:"alternatives"`
	MaxAgeSeconds int    `json:"max_age_seconds"`
}

// The states of a register. In a Report there is no mismatch: a document with
// one is not trusted, and its Failure has it.
const (
	stateMatch      = "match"
	stateMismatch   = "mismatch"
	stateNotChecked = "not checked"
)

// PCRInfo is one register: Found and Expected in hexadecimal, Expected empty
// where the policy does not name it, Found empty where the document does not.
type PCRInfo struct {
	Index    int    `json:"index"`
	State    string `json:"state"`
	Found    string `json:"found"`
	Expected string `json:"expected"`
}

// Certificate is one of the chain, which goes from the root to the leaf.
// SHA256 is the fingerprint of its DER form in hexadecimal.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"`
	// Valid says whether it is valid now.
	Valid bool `json:"valid"`
}

// KeyInfo is the key that questions are sealed to. The client replaces it at
// NotAfter at the latest, with a new verification.
type KeyInfo struct {
	ID       string    `json:"id"`
	Suite    string    `json:"suite"`
	NotAfter time.Time `json:"not_after"`
}

// ModelInfo describes the model that the enclave attests.
type ModelInfo struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	Parameters uint64 `json:"parameters"`
	MaxTokens  int    `json:"max_tokens"`
	Engine     string `json:"engine"`
}

// errInconsistent: the Asker's Attestation contradicts itself.
var errInconsistent = errors.New("web: the attestation contradicts its own policy")

// maxName is the most characters of a name that the enclave chose, which the
// page shows.
const maxName = 200

// newReport describes a, as seen at now. It holds the document against the
// policy once more and fails where they do not fit, so that the page never
// says "match" on the word of another package.
func newReport(a *ask.Attestation, now time.Time) (*Report, error) {
	if a == nil || a.Document == nil || a.Document.Certificate == nil || len(a.Document.CABundle) == 0 || len(a.Raw) == 0 {
		return nil, errInconsistent
	}
	d := a.Document
	expected, err := metBy(a)
	if err != nil {
		return nil, err
	}
	if d.Debug() && !a.Policy.AllowDebug {
		return nil, errInconsistent
	}
	chain := append(slices.Clone(d.CABundle), d.Certificate)
	r := &Report{
		Trusted:        true,
		Simulated:      a.Simulated || !chain[0].Equal(attest.AWSRoot()),
		Debug:          d.Debug(),
		AnyMeasurement: a.Policy.AnyMeasurement,
		VerifiedAt:     a.VerifiedAt.UTC(),
		Document:       DocumentInfo{d.ModuleID, d.Timestamp.UTC(), d.Digest, len(a.Raw)},
		Policy:         PolicyInfo{expected.Name, len(a.Policy.Measurements), int(a.Policy.MaxAge / time.Second)},
		PCRs:           comparePCRs(d.PCRs, expected.PCRs),
		Key:            KeyInfo{a.Key.ID, a.Key.Suite, a.Key.NotAfter.UTC()},
		Model: ModelInfo{
			Name: shorten(a.Model.Name), Digest: a.Model.Digest, Parameters: a.Model.Parameters,
			MaxTokens: a.Model.MaxTokens, Engine: shorten(a.Model.Engine),
		},
		KMSKey: a.KMSKey,
		Parent: withoutSecrets(a.Parent),
	}
	for _, c := range chain {
		r.Certificates = append(r.Certificates, describe(c, now))
	}
	return r, nil
}

// metBy returns the alternative of the policy that the document meets: the
// named one, or the first if there is no name.
func metBy(a *ask.Attestation) (attest.Measurement, error) {
	if a.Policy.AnyMeasurement && len(a.Policy.Measurements) == 0 {
		return attest.Measurement{}, nil
	}
	for _, m := range a.Policy.Measurements {
		if m.Name == a.Measurement && len(m.PCRs) > 0 && meets(a.Document.PCRs, m.PCRs) {
			return m, nil
		}
	}
	return attest.Measurement{}, errInconsistent
}

func meets(found, expected attest.PCRs) bool {
	for i, want := range expected {
		if !want.Equal(found[i]) {
			return false
		}
	}
	return true
}

// shownPCRs are the registers that are always shown: see attest.PCRs. Others
// are shown where the policy names them or the enclave used them.
var shownPCRs = []int{0, 1, 2, 3, 4, 8}

func comparePCRs(found, expected attest.PCRs) []PCRInfo {
	shown := map[int]bool{}
	for _, i := range shownPCRs {
		shown[i] = true
	}
	for i := range expected {
		shown[i] = true
	}
	for i, value := range found {
		shown[i] = shown[i] || !value.IsZero()
	}
	infos := make([]PCRInfo, 0, len(shown))
	for _, i := range slices.Sorted(maps.Keys(shown)) {
		if shown[i] {
			infos = append(infos, comparePCR(i, found[i], expected[i]))
		}
	}
	return infos
}

func comparePCR(i int, found, expected attest.PCR) PCRInfo {
	info := PCRInfo{Index: i, State: stateNotChecked, Found: found.String(), Expected: expected.String()}
	switch {
	case expected == nil:
	case expected.Equal(found):
		info.State = stateMatch
	default:
		info.State = stateMismatch
	}
	return info
}

func describe(c *x509.Certificate, now time.Time) Certificate {
	sum := sha256.Sum256(c.Raw)
	return Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
		SHA256: hex.EncodeToString(sum[:]),
		Valid:  !now.Before(c.NotBefore) && !now.After(c.NotAfter),
	}
}

// withoutSecrets leaves out what a URL may carry for its server alone: a user,
// a password, a query. Text that is no URL is left out as a whole.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func shorten(name string) string {
	runes := []rune(name)
	if len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return name
}
