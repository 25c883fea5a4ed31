package web_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/web"
)

// reportOf returns the report of a at the given time.
func reportOf(t *testing.T, a *ask.Attestation, at time.Time) web.Report {
	t.Helper()
	w := get(web.NewHandler(web.Options{Asker: asker{attestation: a}, Clock: func() time.Time { return at }}), "/api/attestation")
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var r web.Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReportOfAGenuineEnclave(t *testing.T) {
	a, at := genuine(t)
	r := reportOf(t, a, at)
	if !r.Trusted || r.Simulated || r.Debug || r.AnyMeasurement {
		t.Errorf("trusted %v, simulated %v, debug %v, any measurement %v", r.Trusted, r.Simulated, r.Debug, r.AnyMeasurement)
	}
	if r.Policy != (web.PolicyInfo{Measurement: "release 7", Alternatives: 1}) {
		t.Errorf("policy %+v", r.Policy)
	}
	if r.Document.ModuleID != a.Document.ModuleID || r.Document.Bytes != len(a.Raw) || !r.Document.Timestamp.Equal(a.Document.Timestamp) {
		t.Errorf("document %+v", r.Document)
	}
	if r.Parent != "https://parent.example:5001/ask" || r.KMSKey != a.KMSKey || r.Key.ID != a.Key.ID || r.Model.Digest != a.Model.Digest {
		t.Errorf("parent %q, KMS key %q, key %q, model %q", r.Parent, r.KMSKey, r.Key.ID, r.Model.Digest)
	}
	if len(r.Certificates) != 5 || !strings.Contains(r.Certificates[0].Subject, "aws.nitro-enclaves") {
		t.Fatalf("certificates %+v", r.Certificates)
	}
	root := sha256.Sum256(attest.AWSRoot().Raw)
	if r.Certificates[0].SHA256 != hex.EncodeToString(root[:]) {
		t.Errorf("the root's fingerprint is %s", r.Certificates[0].SHA256)
	}
	for i, c := range r.Certificates {
		if !c.Valid || i > 0 && c.Issuer != r.Certificates[i-1].Subject {
			t.Errorf("certificate %d: valid %v, issuer %q", i, c.Valid, c.Issuer)
		}
	}
	late := reportOf(t, a, at.Add(4*time.Hour)).Certificates
	if late[4].Valid || !late[0].Valid {
		t.Errorf("four hours later: leaf valid %v, root valid %v", late[4].Valid, late[0].Valid)
	}
}

func TestReportOfRegisters(t *testing.T) {
	policy := attest.Policy{Measurements: []attest.Measurement{
		{Name: "old", PCRs: attest.PCRs{0: kernel}},
		{Name: "new", PCRs: attest.PCRs{0: image, 1: kernel, 9: attest.ZeroPCR()}},
	}}
	a := simulated(t, attest.PCRs{0: image, 1: kernel, 3: role, 17: role}, policy)
	a.Measurement = "new"
	r := reportOf(t, a, time.Now())
	if r.Policy.Measurement != "new" || r.Policy.Alternatives != 2 {
		t.Errorf("policy %+v", r.Policy)
	}
	// 17 is not locked, so the document does not report it as the others.
	want := map[int]string{0: "match", 1: "match", 2: "not checked", 3: "not checked", 4: "not checked", 8: "not checked", 9: "match"}
	var indexes []int
	for _, p := range r.PCRs {
		indexes = append(indexes, p.Index)
		if state, ok := want[p.Index]; ok && p.State != state {
			t.Errorf("PCR%d: %q, want %q", p.Index, p.State, state)
		}
		if p.Found != a.Document.PCRs[p.Index].String() || (p.State == "match") != (p.Expected == p.Found) {
			t.Errorf("PCR%d: found %s, expected %s", p.Index, p.Found, p.Expected)
		}
	}
	if !slices.IsSorted(indexes) {
		t.Errorf("registers in the order %v", indexes)
	}
	for i := range want {
		if !slices.Contains(indexes, i) {
			t.Errorf("PCR%d is not shown", i)
		}
	}
	if slices.Contains(indexes, 5) {
		t.Error("PCR5, which nobody uses, is shown")
	}
}

func TestReportOfWhatProtectsNothing(t *testing.T) {
	a := simulated(t, attest.PCRs{}, attest.Policy{AnyMeasurement: true, AllowDebug: true})
	a.Simulated = false // the root says otherwise
	r := reportOf(t, a, time.Now())
	if !r.Simulated || !r.Debug || !r.AnyMeasurement {
		t.Errorf("simulated %v, debug %v, any measurement %v", r.Simulated, r.Debug, r.AnyMeasurement)
	}
	for _, p := range r.PCRs {
		if p.State != "not checked" || p.Expected != "" {
			t.Errorf("PCR%d: %+v", p.Index, p)
		}
	}
}

func TestReportBoundsNames(t *testing.T) {
	a, at := genuine(t)
	a.Model.Name = strings.Repeat("é", 5000)
	if r := reportOf(t, a, at); len([]rune(r.Model.Name)) != 201 {
		t.Errorf("a name of %d characters", len([]rune(r.Model.Name)))
	}
	a.Parent = "https://[bad"
	if r := reportOf(t, a, at); r.Parent != "" {
		t.Errorf("parent %q", r.Parent)
	}
}
