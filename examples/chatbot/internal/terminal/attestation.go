package terminal

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// verified tells in a line which enclave answers, and why it is believed.
func (s *screen) verified(att *ask.Attestation, expectSimulated bool) {
	st := good
	if att.Simulated {
		st = plain
	}
	s.note(st, "%s", summary(att))
	s.warn(att, expectSimulated)
}

// warn tells loudly of an enclave that does not protect.
func (s *screen) warn(att *ask.Attestation, expectSimulated bool) {
	if att.Simulated && !expectSimulated {
		s.note(bad, "WARNING: SIMULATED. This is no Nitro enclave but a program on some machine: it protects NOTHING. Ask nothing confidential.")
	}
	if att.Document != nil && att.Document.Debug() && !att.Simulated {
		s.note(bad, "WARNING: DEBUG MODE. The enclave's console can be read from outside: it protects NOTHING. Ask nothing confidential.")
	}
	if att.Policy.AnyMeasurement {
		s.note(bad, "WARNING: ANY MEASUREMENT. The policy accepts whatever code an enclave runs.")
	}
}

func summary(att *ask.Attestation) string {
	what := "AWS Nitro enclave"
	if att.Simulated {
		what = "SIMULATED enclave"
	}
	notAfter := att.Key.NotAfter.UTC()
	form := "15:04 UTC"
	if notAfter.Format("2006-01-02") != att.VerifiedAt.UTC().Format("2006-01-02") {
		form = "2006-01-02 15:04 UTC"
	}
	return fmt.Sprintf("verified: %s, PCR0 %s, %s, key until %s, model %s (sha256 %s)",
		what, short(pcr0(att)), met(att), notAfter.Format(form), named(att.Model.Name), short(att.Model.Digest))
}

// met says what of the policy the enclave met.
func met(att *ask.Attestation) string {
	switch {
	case att.Policy.AnyMeasurement:
		return "meets a policy that accepts ANY measurement"
	case att.Measurement == "":
		return "meets the policy"
	}
	return fmt.Sprintf("meets policy %q", oneLine(att.Measurement))
}

// details tell who measured what.
func details(att *ask.Attestation) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	if att.Simulated {
		line("root", "SIMULATED: a root that you named, not AWS's. It protects nothing.")
	} else {
		line("root", "AWS Nitro Enclaves: its certificate chain and signature are good")
	}
	if d := att.Document; d != nil {
		if len(d.CABundle) > 0 {
			line("", "sha256 %x", sha256.Sum256(d.CABundle[0].Raw))
		}
		line("module", "%s", oneLine(d.ModuleID))
		line("document", "made %s by the enclave's Nitro Security Module, %d bytes", utc(d.Timestamp), len(att.Raw))
		if d.Certificate != nil {
			line("", "its certificate is valid until %s", utc(d.Certificate.NotAfter))
		}
		if d.Debug() {
			line("mode", "DEBUG: the enclave's console can be read from outside. It protects nothing.")
		}
	}
	line("verified", "%s, by this program", utc(att.VerifiedAt))
	line("policy", "%s", met(att))
	writePCRs(line, att)
	line("key", "%s (%s)", oneLine(att.Key.ID), oneLine(att.Key.Suite))
	line("", "attested by the document; used until %s", utc(att.Key.NotAfter))
	line("model", "%s, as it calls itself", named(att.Model.Name))
	line("", "sha256 %s, measured by the enclave as it loaded it", oneLine(att.Model.Digest))
	line("", "%d parameters, a context of %d tokens, run by %s", att.Model.Parameters, att.Model.MaxTokens, oneLine(att.Model.Engine))
	if att.KMSKey != "" {
		line("KMS key", "%s, which opens questions for this enclave", oneLine(att.KMSKey))
	} else {
		line("KMS key", "none: questions are sealed to the enclave's key alone")
	}
	line("parent", "%s, which carries everything and reads nothing", oneLine(att.Parent))
	return strings.TrimSuffix(b.String(), "\n")
}

// writePCRs lists the registers that say something: those that are not zero,
// and those that the policy asks about.
func writePCRs(line func(name, format string, args ...any), att *ask.Attestation) {
	if att.Document == nil {
		return
	}
	asked := map[int]bool{}
	for _, m := range att.Policy.Measurements {
		if m.Name == att.Measurement {
			for i := range m.PCRs {
				asked[i] = true
			}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(att.Document.PCRs)) {
		value := att.Document.PCRs[i]
		if value.IsZero() && !asked[i] {
			continue
		}
		line(fmt.Sprintf("PCR%d", i), "%s", value)
		checked := ""
		if asked[i] {
			checked = "; the policy asks for this value"
		}
		line("", "%s%s", pcrMeaning(i), checked)
	}
}

// pcrMeaning says what register i measures, and who measured it.
func pcrMeaning(i int) string {
	switch i {
	case 0:
		return "the whole enclave image, measured by the Nitro hypervisor"
	case 1:
		return "its kernel and boot ramdisk, measured by the Nitro hypervisor"
	case 2:
		return "its application, measured by the Nitro hypervisor"
	case 3:
		return "the IAM role of the parent instance, measured by the Nitro hypervisor"
	case 4:
		return "the parent instance's id, measured by the Nitro hypervisor"
	case 8:
		return "the certificate that signed the image, measured by the Nitro hypervisor"
	}
	if i < 16 {
		return "reserved by AWS"
	}
	return "measured by the enclave's own application"
}

// pcr0 is the measurement of the image in hexadecimal, or empty.
func pcr0(att *ask.Attestation) string {
	if att.Document == nil {
		return ""
	}
	return attest.PCR(att.Document.PCRs[0]).String()
}

// short is the beginning of a long hexadecimal number.
func short(digits string) string {
	const most = 12
	if digits == "" {
		return "unknown"
	}
	if digits = oneLine(digits); len(digits) > most {
		return digits[:most] + "…"
	}
	return digits
}

// named is a name that was not verified, or a word for its absence.
func named(name string) string {
	if name == "" {
		return "without a name"
	}
	return oneLine(name)
}
