package attest_test

import (
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/hf/nsm"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
)

// A round through all requests; package nsmtest has the details.
func TestNSM(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var fault *nsmtest.Fault
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: pcrA}, Fault: func(string) *nsmtest.Fault { return fault }})
	if err != nil {
		t.Fatal(err)
	}
	n, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for round := range 3 {
		fault = [...]*nsmtest.Fault{nil, {Code: attest.CodeInternalError}, {Reply: []byte{0xa0}}}[round]
		results := map[string]error{}
		_, results["DescribeNSM"] = n.Describe(ctx)
		_, results["DescribePCR"] = n.DescribePCR(ctx, 0)
		_, results["ExtendPCR"] = n.ExtendPCR(ctx, 16, []byte("x"))
		results["LockPCR"] = n.LockPCR(ctx, 17)
		results["LockPCRs"] = n.LockPCRs(ctx, 19)
		_, results["Attestation"] = n.Attest(ctx, attest.Request{})
		_, results["GetRandom"] = io.ReadFull(n, make([]byte, 300))
		for op, err := range results {
			var oe *attest.OpError
			switch {
			case round == 0 && err != nil:
				t.Errorf("%s: %v", op, err)
			case round > 0 && (!errors.As(err, &oe) || oe.Op != op || !strings.HasPrefix(err.Error(), "attest: "+op+": ")):
				t.Errorf("%s with a fault: %v", op, err)
			case round == 1 && !errors.Is(err, attest.CodeInternalError):
				t.Errorf("%s: the code is lost: %v", op, err)
			}
		}
	}
	for name, err := range map[string]error{
		"PCR32": func() error { _, err := n.DescribePCR(ctx, 32); return err }(), "extend PCR-1": func() error { _, err := n.ExtendPCR(ctx, -1, nil); return err }(),
		"lock PCR32": n.LockPCR(ctx, 32), "lock 33": n.LockPCRs(ctx, 33),
	} {
		if !errors.Is(err, attest.CodeInvalidIndex) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := n.ExtendPCR(ctx, 16, make([]byte, 5000)); !errors.Is(err, attest.CodeInputTooLarge) {
		t.Error(err)
	}
	if _, err := n.Attest(ctx, attest.Request{Nonce: make([]byte, 513)}); !errors.Is(err, attest.CodeInputTooLarge) {
		t.Error(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := n.LockPCR(ctx, 20); !errors.Is(err, attest.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Read(make([]byte, 1)); !errors.Is(err, attest.ErrClosed) {
		t.Error(err)
	}
}

// badFile is a device that cannot be closed well.
type badFile struct{}

func (badFile) Fd() uintptr  { return 0 }
func (badFile) Close() error { return syscall.EIO }

func TestNSMDevice(t *testing.T) {
	var oe *attest.OpError
	if _, err := attest.OpenNSM(attest.NSMOptions{Device: nsm.Options{Open: func() (nsm.FileDescriptor, error) { return nil, os.ErrNotExist }}}); !errors.As(err, &oe) || oe.Op != "open" || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	n, err := attest.OpenNSM(attest.NSMOptions{Device: nsm.Options{Open: func() (nsm.FileDescriptor, error) { return badFile{}, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); !errors.As(err, &oe) || oe.Op != "close" || !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if _, err := os.Stat("/dev/nsm"); errors.Is(err, os.ErrNotExist) {
		if _, err := attest.OpenNSM(attest.NSMOptions{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without a device: %v", err)
		}
	}
}

// PCR8 of the signing certificate and PCR3 of a role are made like the others.
func TestPCRHelpers(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/parent"
	if !attest.PCR3(role).Equal(attest.ZeroPCR().Extend([]byte(role))) || attest.PCR3(role).Equal(attest.PCR4("i-0")) {
		t.Error("PCR3")
	}
	if a, b := attest.PCR8(attest.AWSRoot()), attest.PCR8(&x509.Certificate{Raw: []byte("x")}); a.Equal(b) || a.IsZero() {
		t.Error("PCR8")
	}
}

func TestExpiredMessage(t *testing.T) {
	v := findVector(t, "veracruz")
	for _, at := range v.Times {
		if at.Expect == "ok" {
			continue
		}
		_, err := attest.Verify(v.doc(t), v.options(t, at.At))
		want := "expired"
		if at.At.Before(v.At) {
			want = "not yet valid"
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "2022-11-09T22:51:57Z") {
			t.Errorf("at %v: %v", at.At, err)
		}
	}
}
