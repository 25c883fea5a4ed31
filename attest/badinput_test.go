package attest_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	hfnsm "github.com/hf/nsm"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

var (
	malformed = badinput.Is("attest.ErrMalformed", attest.ErrMalformed)
	refused   = badinput.Both(badinput.As[*attest.PolicyError](), badinput.Is("attest.ErrPolicy", attest.ErrPolicy))
	opError   = badinput.As[*attest.OpError]()
)

func opErrorOf(name string, err error) badinput.Outcome {
	return badinput.Both(opError, badinput.Is(name, err))
}

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/attest.md.
func TestBadInput(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: bytes.Repeat([]byte{1}, 48)}})
	if err != nil {
		t.Fatal(err)
	}
	open := func() *attest.NSM {
		nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
		if err != nil {
			t.Fatal(err)
		}
		return nsm
	}
	nsm, closed := open(), open()
	defer nsm.Close()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	doc, err := nsm.Attest(t.Context(), attest.Request{Nonce: []byte("nonce")})
	if err != nil {
		t.Fatal(err)
	}
	badinput.Table{
		Package: "attest",
		Cases: append(append(verifyCases(doc, ca.Root()), policyCases()...),
			append(nsmCases(nsm, closed), valueCases()...)...),
		NoInput: []string{"AWSRoot", "ZeroPCR", "ChainCache.Len", "Document.Debug", "ExpiredError.Error", "ExpiredError.Unwrap",
			"OpError.Error", "OpError.Unwrap", "PolicyError.Error", "PolicyError.Unwrap", "Code.Error",
			"PCRFromDigest (an array of its size)", "PCR.IsZero", "PCR.MarshalText", "PCR.String"},
	}.Run(t)
}

func verifyCases(doc []byte, root *x509.Certificate) []badinput.Case {
	any := attest.Policy{AnyMeasurement: true}
	verify := func(doc []byte, opts attest.Options) func(context.Context) error {
		return func(context.Context) error {
			d, err := attest.Verify(doc, opts)
			if d != nil {
				return errors.New("a document beside the error")
			}
			return err
		}
	}
	trusted := func(p attest.Policy) attest.Options {
		return attest.Options{Roots: []*x509.Certificate{root}, Policy: p}
	}
	changed := bytes.Clone(doc)
	changed[len(changed)-1] ^= 1
	at := func(d time.Duration) func() time.Time {
		return func() time.Time { return time.Now().Add(d) }
	}
	expired := badinput.Both(badinput.As[*attest.ExpiredError](), badinput.Is("attest.ErrExpired", attest.ErrExpired))
	untrusted := badinput.Is("attest.ErrUntrusted", attest.ErrUntrusted)
	return []badinput.Case{
		{Func: "Verify", Input: "no document (nil or empty)", Want: malformed, Call: verify(nil, trusted(any))},
		{Func: "Verify", Input: "text in place of a document", Want: malformed, Call: verify([]byte(badinput.Canary+"\x00\xff\n"), trusted(any))},
		{Func: "Verify", Input: "more than 64 KiB", Want: malformed, Call: verify(make([]byte, 64<<10+1), trusted(any))},
		{Func: "Verify", Input: "a document cut short", Want: malformed, Call: verify(doc[:len(doc)/2], trusted(any))},
		{Func: "Verify", Input: "a document with bytes behind it", Want: malformed, Call: verify(append(bytes.Clone(doc), 0), trusted(any))},
		{Func: "Verify", Input: "a changed signature", Want: badinput.Is("attest.ErrSignature", attest.ErrSignature), Call: verify(changed, trusted(any))},
		{Func: "Verify", Input: "zero Options, and a simulator's document", Want: untrusted, Call: verify(doc, attest.Options{})},
		{Func: "Verify", Input: "Roots without a certificate (empty, not nil)", Want: untrusted, Call: verify(doc, attest.Options{Roots: []*x509.Certificate{}, Policy: any})},
		{Func: "Verify", Input: "Roots with a nil certificate", Want: untrusted, Call: verify(doc, attest.Options{Roots: []*x509.Certificate{nil}, Policy: any})},
		{Func: "Verify", Input: "a clock of a day later", Want: expired, Varies: true,
			Call: verify(doc, attest.Options{Roots: []*x509.Certificate{root}, Policy: any, Clock: at(24 * time.Hour)})},
		{Func: "Verify", Input: "a clock that gives the zero time", Want: expired, Varies: true,
			Call: verify(doc, attest.Options{Roots: []*x509.Certificate{root}, Policy: any, Clock: func() time.Time { return time.Time{} }})},
		{Func: "Verify", Input: "the zero Policy", Want: refused, Call: verify(doc, trusted(attest.Policy{}))},
		{Func: "Verify", Input: "Measurements and AnyMeasurement", Want: refused,
			Call: verify(doc, trusted(attest.Policy{AnyMeasurement: true, Measurements: []attest.Measurement{{PCRs: attest.PCRs{0: attest.ZeroPCR()}}}}))},
		{Func: "Verify", Input: "a measurement without PCRs", Want: refused, Call: verify(doc, trusted(attest.Policy{Measurements: []attest.Measurement{{Name: "v1"}}}))},
		{Func: "Verify", Input: "a measurement of PCR -1", Want: refused,
			Call: verify(doc, trusted(attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{-1: attest.ZeroPCR()}}}}))},
		{Func: "Verify", Input: "a measurement of 47 bytes", Want: refused,
			Call: verify(doc, trusted(attest.Policy{Measurements: []attest.Measurement{{Name: "v1\n", PCRs: attest.PCRs{0: make([]byte, 47)}}}}))},
		{Func: "Verify", Input: "a negative MaxAge", Want: refused, Call: verify(doc, trusted(attest.Policy{AnyMeasurement: true, MaxAge: -1}))},
		{Func: "Verify", Input: "an empty Nonce, and a document that has one", Want: refused, Call: verify(doc, trusted(attest.Policy{AnyMeasurement: true, Nonce: []byte{}}))},
		{Func: "Verify", Input: "another Nonce than the document's", Want: refused, Call: verify(doc, trusted(attest.Policy{AnyMeasurement: true, Nonce: []byte(badinput.Canary)}))},
		{Func: "Verify", Input: "another ModuleID than the document's, with a newline", Want: refused, Call: verify(doc, trusted(attest.Policy{AnyMeasurement: true, ModuleID: "i-0\n"}))},
	}
}

func policyCases() []badinput.Case {
	pcr := strings.Repeat("ab", 48)
	var cases []badinput.Case
	for _, c := range []struct{ input, data string }{
		{"nothing", ""},
		{"white space", " \n"},
		{"no JSON", "\x00\xff"},
		{"null", "null"},
		{"a number", "1"},
		{"an empty object", "{}"},
		{"an empty list", "[]"},
		{"a list of something else", `[1, 2]`},
		{"more than 1 MiB", strings.Repeat(" ", 1<<20) + "{}"},
		{"JSON nested 100 deep", strings.Repeat("[", 100) + strings.Repeat("]", 100)},
		{"two JSON values", `{"any_measurement": true} {}`},
		{"a member twice", `{"any_measurement": true, "any_measurement": false}`},
		{"an unknown member, with a newline in its name", `{"any_measurement": true, "nonce\n": ""}`},
		{"a member of another type", `{"any_measurement": "yes"}`},
		{"PCR 32", `{"measurements": [{"name": "v1", "pcrs": {"32": "` + pcr + `"}}]}`},
		{"PCR 007", `{"measurements": [{"name": "v1", "pcrs": {"007": "` + pcr + `"}}]}`},
		{"a PCR of 95 digits", `{"measurements": [{"name": "v1", "pcrs": {"0": "` + pcr[1:] + `"}}]}`},
		{"a measurement without PCRs", `{"measurements": [{"name": "v1", "pcrs": {}}]}`},
		{"a max_age of -5m", `{"any_measurement": true, "max_age": "-5m"}`},
		{"nitro-cli's form with another hash", `{"Measurements": {"HashAlgorithm": "Sha256 { ... }", "PCR0": "` + pcr + `"}}`},
		{"nitro-cli's form with a rule of this package's", `{"Measurements": {"PCR0": "` + pcr + `"}, "max_age": "5m"}`},
	} {
		cases = append(cases, badinput.Case{Func: "ParsePolicy", Input: c.input, Want: badinput.Plain(), Call: func(context.Context) error {
			_, err := attest.ParsePolicy([]byte(c.data))
			return err
		}})
	}
	return append(cases, badinput.Case{Func: "Policy.MarshalJSON", Input: "a policy with a nonce", Want: badinput.Plain(), Call: func(context.Context) error {
		_, err := attest.Policy{AnyMeasurement: true, Nonce: []byte(badinput.Canary)}.MarshalJSON()
		return err
	}})
}

func nsmCases(nsm, closed *attest.NSM) []badinput.Case {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	tooLarge := opErrorOf("attest.CodeInputTooLarge", attest.CodeInputTooLarge)
	index := opErrorOf("attest.CodeInvalidIndex", attest.CodeInvalidIndex)
	locked := opErrorOf("attest.CodeReadOnlyIndex", attest.CodeReadOnlyIndex)
	ended := opErrorOf("context.Canceled", context.Canceled)
	after := opErrorOf("attest.ErrClosed", attest.ErrClosed)
	fails := func(e error) attest.NSMOptions {
		return attest.NSMOptions{Device: hfnsm.Options{Open: func() (hfnsm.FileDescriptor, error) { return nil, e }}}
	}
	cases := []badinput.Case{
		{Func: "OpenNSM", Input: "a device that is not there", Want: opErrorOf("syscall.ENOENT", syscall.ENOENT), Call: func(context.Context) error {
			_, err := attest.OpenNSM(fails(syscall.ENOENT))
			return err
		}},
		{Func: "NSM.Attest", Input: "a nonce of 513 bytes", Want: tooLarge, Call: attestWith(nsm, attest.Request{Nonce: make([]byte, 513)})},
		{Func: "NSM.Attest", Input: "user data of 513 bytes", Want: tooLarge, Call: attestWith(nsm, attest.Request{UserData: make([]byte, 513)})},
		{Func: "NSM.Attest", Input: "a public key of 1,025 bytes", Want: tooLarge, Call: attestWith(nsm, attest.Request{PublicKey: make([]byte, 1025)})},
		{Func: "NSM.DescribePCR", Input: "PCR -1", Want: index, Call: func(ctx context.Context) error { _, err := nsm.DescribePCR(ctx, -1); return err }},
		{Func: "NSM.DescribePCR", Input: "PCR 65,536, which is 0 in 16 bits", Want: index, Call: func(ctx context.Context) error { _, err := nsm.DescribePCR(ctx, 1<<16); return err }},
		{Func: "NSM.ExtendPCR", Input: "PCR -1", Want: index, Call: func(ctx context.Context) error { _, err := nsm.ExtendPCR(ctx, -1, nil); return err }},
		{Func: "NSM.ExtendPCR", Input: "PCR 32", Want: index, Call: func(ctx context.Context) error { _, err := nsm.ExtendPCR(ctx, 32, nil); return err }},
		{Func: "NSM.ExtendPCR", Input: "PCR 0, which is locked", Want: locked, Call: func(ctx context.Context) error { _, err := nsm.ExtendPCR(ctx, 0, []byte("x")); return err }},
		{Func: "NSM.ExtendPCR", Input: "more than 2,048 bytes", Want: tooLarge, Call: func(ctx context.Context) error { _, err := nsm.ExtendPCR(ctx, 16, make([]byte, 2049)); return err }},
		{Func: "NSM.LockPCR", Input: "PCR -1", Want: index, Call: func(ctx context.Context) error { return nsm.LockPCR(ctx, -1) }},
		{Func: "NSM.LockPCR", Input: "the largest int", Want: index, Call: func(ctx context.Context) error { return nsm.LockPCR(ctx, math.MaxInt) }},
		{Func: "NSM.LockPCR", Input: "PCR 0, which is locked", Want: locked, Call: func(ctx context.Context) error { return nsm.LockPCR(ctx, 0) }},
		{Func: "NSM.LockPCRs", Input: "a count of -1", Want: index, Call: func(ctx context.Context) error { return nsm.LockPCRs(ctx, -1) }},
		{Func: "NSM.LockPCRs", Input: "a count of 33", Want: index, Call: func(ctx context.Context) error { return nsm.LockPCRs(ctx, 33) }},
		{Func: "NSM.Read", Input: "no room", Want: badinput.Ignored("nothing is read"), Call: func(context.Context) error { _, err := nsm.Read(nil); return err }},
		{Func: "NSM.Read", Input: "a closed NSM", Want: after, Call: func(context.Context) error { _, err := closed.Read(make([]byte, 1)); return err }},
		{Func: "NSM.Close", Input: "a closed NSM", Want: badinput.Ignored("closing twice is fine"), Call: func(context.Context) error { return closed.Close() }},
	}
	for _, c := range []struct {
		name string
		call func(context.Context, *attest.NSM) error
	}{
		{"NSM.Attest", func(ctx context.Context, n *attest.NSM) error { return attestWith(n, attest.Request{})(ctx) }},
		{"NSM.Describe", func(ctx context.Context, n *attest.NSM) error { _, err := n.Describe(ctx); return err }},
		{"NSM.DescribePCR", func(ctx context.Context, n *attest.NSM) error { _, err := n.DescribePCR(ctx, 0); return err }},
		{"NSM.ExtendPCR", func(ctx context.Context, n *attest.NSM) error { _, err := n.ExtendPCR(ctx, 16, nil); return err }},
		{"NSM.LockPCR", func(ctx context.Context, n *attest.NSM) error { return n.LockPCR(ctx, 16) }},
		{"NSM.LockPCRs", func(ctx context.Context, n *attest.NSM) error { return n.LockPCRs(ctx, 17) }},
	} {
		cases = append(cases,
			badinput.Case{Func: c.name, Input: "a context that has ended", Want: ended, Call: func(context.Context) error { return c.call(gone, nsm) }},
			badinput.Case{Func: c.name, Input: "a closed NSM", Want: after, Call: func(ctx context.Context) error { return c.call(ctx, closed) }})
	}
	return cases
}

func attestWith(n *attest.NSM, req attest.Request) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := n.Attest(ctx, req)
		return err
	}
}

func valueCases() []badinput.Case {
	text := func(input, s string) badinput.Case {
		return badinput.Case{Func: "PCR.UnmarshalText", Input: input, Want: badinput.Plain(), Call: func(context.Context) error {
			var p attest.PCR
			return p.UnmarshalText([]byte(s))
		}}
	}
	check := func(name, input, meaning string, ok func() bool) badinput.Case {
		return badinput.Case{Func: name, Input: input, Want: badinput.Ignored(meaning), Call: func(context.Context) error {
			if !ok() {
				return fmt.Errorf("not so")
			}
			return nil
		}}
	}
	zero := attest.ZeroPCR()
	return []badinput.Case{
		text("nothing", ""),
		text("95 digits", strings.Repeat("a", 95)),
		text("98 digits", strings.Repeat("a", 98)),
		text("96 bytes that are no digits", strings.Repeat(badinput.Canary[:16], 6)),
		check("NewChainCache", "a size below 0", "it is 256, as for 0", func() bool { return attest.NewChainCache(math.MinInt).Len() == 0 }),
		check("PCR.Equal", "nil, or another length", "they equal nothing, not even themselves", func() bool { return !attest.PCR(nil).Equal(nil) && !zero.Equal(zero[1:]) }),
		check("PCR.Extend", "a nil register", "it counts as zero", func() bool { return attest.PCR(nil).Extend([]byte("x")).Equal(zero.Extend([]byte("x"))) }),
		check("PCRs.Extended", "nil PCRs, or no data", "registers start at zero; a copy", func() bool {
			return attest.PCRs(nil).Extended(16, []byte("x"))[16].Equal(zero.Extend([]byte("x"))) && len(attest.PCRs(nil).Extended(16)) == 0
		}),
		check("PCR3", "an empty ARN", "it is measured as it is, like any text", func() bool { return attest.PCR3("").Equal(zero.Extend(nil)) }),
		check("PCR4", "an empty id", "it is measured as it is, like any text", func() bool { return attest.PCR4("").Equal(zero.Extend(nil)) }),
		{Func: "PCR8", Input: "a nil certificate", Want: badinput.Panics("nil pointer"), Call: func(context.Context) error { attest.PCR8(nil); return nil }},
	}
}
