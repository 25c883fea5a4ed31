package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

const (
	// maxClockError is how far the enclave's clock may be from the NSM's.
	maxClockError = time.Minute
	// clocksource is where Linux says what its clock runs by.
	clocksource = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
)

// goodClocksources keep time in an enclave by themselves. Others drift, some of
// them by seconds a week.
var goodClocksources = []string{"kvm-clock", "tsc", "arch_sys_counter"}

// checkClock compares the clock with the NSM's, which the parent does not set.
// Certificates, signed KMS requests and the age of questions depend on it.
func checkClock(ctx context.Context, nsm attest.Attester, roots []*x509.Certificate, logger *slog.Logger) error {
	nonce := make([]byte, 32)
	rand.Read(nonce)
	raw, err := nsm.Attest(ctx, attest.Request{Nonce: nonce})
	if err != nil {
		return err
	}
	now := time.Now()
	document, err := verifyAt(raw, nonce, roots, now)
	if expired, ok := errors.AsType[*attest.ExpiredError](err); ok {
		// A certificate that was made a moment ago may begin after now.
		soon := now.Add(maxClockError)
		if soon.Before(expired.NotBefore) || now.After(expired.NotAfter) {
			return fmt.Errorf("the clock says %v, but the NSM's certificate is valid from %v to %v: set the clock",
				now.UTC().Format(time.RFC3339), expired.NotBefore.Format(time.RFC3339), expired.NotAfter.Format(time.RFC3339))
		}
		document, err = verifyAt(raw, nonce, roots, soon)
	}
	if err != nil {
		return fmt.Errorf("this enclave's own attestation document: %w", err)
	}
	if off := now.Sub(document.Timestamp); off > maxClockError || off < -maxClockError {
		return fmt.Errorf("the clock is %v from the NSM's: set the clock", off.Round(time.Second))
	}
	if source, err := os.ReadFile(clocksource); err == nil && logger != nil {
		if name := strings.TrimSpace(string(source)); !slices.Contains(goodClocksources, name) {
			logger.Warn("the clock may drift", "clocksource", name)
		}
	}
	return nil
}

// verifyAt verifies one of the enclave's own documents, whatever it measures.
func verifyAt(raw, nonce []byte, roots []*x509.Certificate, at time.Time) (*attest.Document, error) {
	return attest.Verify(raw, attest.Options{
		Roots:  roots,
		Clock:  func() time.Time { return at },
		Policy: attest.Policy{AnyMeasurement: true, AllowDebug: true, Nonce: nonce},
	})
}
