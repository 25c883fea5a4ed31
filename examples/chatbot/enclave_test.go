package main

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/inference"
)

// openSimulated opens a software NSM with a clock of its own.
func openSimulated(t *testing.T, clock func() time.Time) (*attest.NSM, []*x509.Certificate) {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nsm.Close() })
	return nsm, []*x509.Certificate{ca.Root()}
}

func TestCheckClock(t *testing.T) {
	for _, tt := range []struct {
		off  time.Duration
		want string // of the error; empty: none
	}{
		{0, ""}, {30 * time.Second, ""}, {-30 * time.Second, ""},
		{2 * time.Minute, "set the clock"}, {-2 * time.Minute, "set the clock"},
		{24 * time.Hour, "certificate is valid from"}, {-24 * time.Hour, "certificate is valid from"},
	} {
		nsm, roots := openSimulated(t, func() time.Time { return time.Now().Add(tt.off) })
		err := checkClock(t.Context(), nsm, roots, nil)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NSM %v ahead: %v", tt.off, err)
		}
	}
	nsm, _ := openSimulated(t, time.Now)
	if err := checkClock(t.Context(), nsm, nil, nil); !errors.Is(err, attest.ErrUntrusted) {
		t.Errorf("an NSM of another root: %v", err)
	}
}

func TestRefuseDebug(t *testing.T) {
	zero := attest.PCRs{0: attest.ZeroPCR(), 1: attest.ZeroPCR(), 2: attest.ZeroPCR()}
	if err := refuseDebug(zero, false); err == nil || !strings.Contains(err.Error(), "debug mode") {
		t.Errorf("debug mode: %v", err)
	}
	if err := refuseDebug(zero, true); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if err := refuseDebug(attest.PCRs{0: attest.ZeroPCR().Extend(nil)}, false); err != nil {
		t.Errorf("measured: %v", err)
	}
}

// digestOnly is a model of which only the digest matters.
type digestOnly struct {
	inference.Model
	digest string
}

func (m digestOnly) Info() inference.Info { return inference.Info{Digest: m.digest} }

// The model is in PCR16, and nothing can be put on top of it.
func TestMeasureModel(t *testing.T) {
	nsm, _ := openSimulated(t, time.Now)
	digest := strings.Repeat("5a", 32)
	b := &booted{nsm: nsm, pcrs: attest.PCRs{}, model: digestOnly{digest: digest}}
	if err := b.measureModel(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	if want := attest.ZeroPCR().Extend(raw); !b.pcrs[modelPCR].Equal(want) {
		t.Errorf("PCR16 %v, want %v", b.pcrs[modelPCR], want)
	}
	for _, i := range []int{modelPCR, 17, 31} {
		if _, err := nsm.ExtendPCR(t.Context(), i, raw); !errors.Is(err, attest.CodeReadOnlyIndex) {
			t.Errorf("PCR%d: %v", i, err)
		}
	}
	b.model = digestOnly{}
	if err := b.measureModel(t.Context()); err == nil {
		t.Error("a model without a digest is measured")
	}
}
