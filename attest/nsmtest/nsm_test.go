package nsmtest_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
)

func newCA(t testing.TB) *nsmtest.CA {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func open(t testing.TB, opts nsmtest.Options) *attest.NSM {
	t.Helper()
	device, err := nsmtest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	n, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func trust(ca *nsmtest.CA) attest.Options {
	return attest.Options{Roots: []*x509.Certificate{ca.Root()}, Policy: attest.Policy{AnyMeasurement: true}}
}

var image = attest.PCRFromDigest(sha512.Sum384([]byte("image")))

func TestAttest(t *testing.T) {
	ca := newCA(t)
	n := open(t, nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}})
	req := attest.Request{Nonce: []byte("nonce"), UserData: bytes.Repeat([]byte{7}, 512), PublicKey: bytes.Repeat([]byte{8}, 1024)}
	doc, err := n.Attest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	d, err := attest.Verify(doc, trust(ca))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Nonce, req.Nonce) || !bytes.Equal(d.UserData, req.UserData) || !bytes.Equal(d.PublicKey, req.PublicKey) {
		t.Error("the document does not repeat the request")
	}
	if d.ModuleID != nsmtest.DefaultModuleID || len(d.PCRs) != 16 || !d.PCRs[0].Equal(image) || !d.PCRs[4].Equal(attest.PCR4("i-0123456789abcdef0")) || d.Debug() {
		t.Errorf("%q, %v", d.ModuleID, d.PCRs)
	}
	if lasts := d.Certificate.NotAfter.Sub(d.Timestamp); lasts > 3*time.Hour || lasts < 2*time.Hour || len(d.CABundle) != 4 {
		t.Errorf("the leaf lasts %v under %d certificates", lasts, len(d.CABundle))
	}
	// The form that real documents have had since 2025.
	if !bytes.HasPrefix(doc, []byte{0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x59}) || doc[10] != 0xbf {
		t.Errorf("the document begins with % x", doc[:11])
	}
	if _, err := attest.Verify(doc, attest.Options{Policy: attest.Policy{AnyMeasurement: true}}); !errors.Is(err, attest.ErrUntrusted) {
		t.Errorf("a simulated document under the AWS root: %v", err)
	}
}

func TestUnusedFieldsAreNull(t *testing.T) {
	ca := newCA(t)
	doc, err := open(t, nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}}).Attest(t.Context(), attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := attest.Verify(doc, trust(ca))
	if err != nil || d.Nonce != nil || d.UserData != nil || d.PublicKey != nil {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDebugModeIsRefused(t *testing.T) {
	ca := newCA(t)
	doc, err := open(t, nsmtest.Options{CA: ca}).Attest(t.Context(), attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	var pe *attest.PolicyError
	if _, err := attest.Verify(doc, trust(ca)); !errors.As(err, &pe) || pe.Rule != "debug" {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	n := open(t, nsmtest.Options{CA: newCA(t)})
	for name, req := range map[string]attest.Request{
		"nonce":      {Nonce: make([]byte, 513)},
		"user data":  {UserData: make([]byte, 513)},
		"public key": {PublicKey: make([]byte, 1025)},
	} {
		if _, err := n.Attest(t.Context(), req); !errors.Is(err, attest.CodeInputTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, i := range []int{-1, 32, 70000} {
		if _, err := n.DescribePCR(t.Context(), i); !errors.Is(err, attest.CodeInvalidIndex) {
			t.Errorf("PCR%d: %v", i, err)
		}
	}
	if _, err := n.ExtendPCR(t.Context(), 16, make([]byte, 4096)); !errors.Is(err, attest.CodeInputTooLarge) {
		t.Error(err)
	}
	if err := n.LockPCRs(t.Context(), 33); !errors.Is(err, attest.CodeInvalidIndex) {
		t.Error(err)
	}
}

func TestRegisters(t *testing.T) {
	ctx, ca := t.Context(), newCA(t)
	n := open(t, nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}})
	for i := range 16 {
		if _, err := n.ExtendPCR(ctx, i, []byte("x")); !errors.Is(err, attest.CodeReadOnlyIndex) {
			t.Errorf("PCR%d can be extended: %v", i, err)
		}
	}
	want := attest.ZeroPCR().Extend([]byte("model")).Extend([]byte("more"))
	if _, err := n.ExtendPCR(ctx, 16, []byte("model")); err != nil {
		t.Fatal(err)
	}
	got, err := n.ExtendPCR(ctx, 16, []byte("more"))
	if err != nil || !got.Equal(want) {
		t.Fatalf("%v, %v", got, err)
	}
	if s, err := n.DescribePCR(ctx, 16); err != nil || s.Locked || !s.Value.Equal(want) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := n.LockPCR(ctx, 16); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ExtendPCR(ctx, 16, []byte("x")); !errors.Is(err, attest.CodeReadOnlyIndex) {
		t.Errorf("locked: %v", err)
	}
	if err := n.LockPCR(ctx, 16); !errors.Is(err, attest.CodeReadOnlyIndex) {
		t.Errorf("locked twice: %v", err)
	}
	if err := n.LockPCRs(ctx, 20); err != nil {
		t.Fatal(err)
	}
	d, err := n.Describe(ctx)
	if err != nil || d.PCRs != 32 || len(d.LockedPCRs) != 20 || d.Digest != "SHA384" || d.ModuleID != nsmtest.DefaultModuleID {
		t.Errorf("%+v, %v", d, err)
	}
	doc, err := n.Attest(ctx, attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := attest.Verify(doc, trust(ca)); err != nil || !v.PCRs[16].Equal(want) || len(v.PCRs) != 20 {
		t.Errorf("%v", err)
	}
}

func TestRandom(t *testing.T) {
	n := open(t, nsmtest.Options{CA: newCA(t)})
	a, b := make([]byte, 1000), make([]byte, 1000)
	for _, p := range [][]byte{a, b} {
		if k, err := n.Read(p); k != len(p) || err != nil {
			t.Fatalf("%d, %v", k, err)
		}
	}
	if bytes.Equal(a, b) || bytes.Count(a, []byte{0}) > 50 {
		t.Error("not random")
	}
}

func TestFaults(t *testing.T) {
	var fault nsmtest.Fault
	ctx := t.Context()
	n := open(t, nsmtest.Options{CA: newCA(t), PCRs: attest.PCRs{0: image}, Fault: func(string) *nsmtest.Fault { return &fault }})
	for name, f := range map[string]nsmtest.Fault{
		"errno":          {Errno: syscall.EIO},
		"code":           {Code: attest.CodeInternalError},
		"garbage":        {Reply: []byte("\xff\x00garbage")},
		"empty":          {Reply: []byte{}},
		"cut off":        {Reply: []byte{0xa1, 0x6b, 'A', 't'}},
		"another reply":  {Reply: []byte{0xa1, 0x69, 'E', 'x', 't', 'e', 'n', 'd', 'P', 'C', 'R', 0xa1, 0x64, 'd', 'a', 't', 'a', 0x41, 0x00}},
		"unknown string": {Reply: []byte{0x63, 'x', 'y', 'z'}},
	} {
		fault = f
		calls := map[string]error{}
		_, calls["Attestation"] = n.Attest(ctx, attest.Request{})
		_, calls["DescribePCR"] = n.DescribePCR(ctx, 0)
		_, calls["ExtendPCR"] = n.ExtendPCR(ctx, 16, nil)
		_, calls["DescribeNSM"] = n.Describe(ctx)
		_, calls["GetRandom"] = n.Read(make([]byte, 8))
		calls["LockPCR"] = n.LockPCR(ctx, 17)
		calls["LockPCRs"] = n.LockPCRs(ctx, 17)
		for op, err := range calls {
			var oe *attest.OpError
			if !errors.As(err, &oe) || oe.Op != op {
				t.Errorf("%s, %s: %v", name, op, err)
			}
			if name == "code" && !errors.Is(err, attest.CodeInternalError) {
				t.Errorf("%s: the code is lost: %v", op, err)
			}
		}
	}
}

// Many goroutines with fresh, small stacks: the device's stand-in for the
// system call must survive their growth.
func TestConcurrentUse(t *testing.T) {
	ca := newCA(t)
	n := open(t, nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			nonce := fmt.Append(nil, i)
			doc, err := n.Attest(t.Context(), attest.Request{Nonce: nonce})
			if err != nil {
				t.Error(err)
				return
			}
			opts := trust(ca)
			opts.Policy.Nonce = nonce
			if _, err := attest.Verify(doc, opts); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestClosedAndCancelled(t *testing.T) {
	n := open(t, nsmtest.Options{CA: newCA(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Attest(ctx, attest.Request{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	n.Close()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.Attest(t.Context(), attest.Request{}); !errors.Is(err, attest.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Read(make([]byte, 1)); !errors.Is(err, attest.ErrClosed) {
		t.Error(err)
	}
}

func TestClockAndRenewal(t *testing.T) {
	ca := newCA(t)
	now := time.Now()
	n := open(t, nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}, Clock: func() time.Time { return now }})
	opts := trust(ca)
	opts.Clock = func() time.Time { return now }
	first, err := n.Attest(t.Context(), attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		now = now.Add(time.Hour)
		doc, err := n.Attest(t.Context(), attest.Request{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attest.Verify(doc, opts); err != nil {
			t.Fatalf("after %v: %v", now, err)
		}
	}
	if _, err := attest.Verify(first, opts); !errors.Is(err, attest.ErrExpired) {
		t.Errorf("a document of ten hours ago: %v", err)
	}
}

// A document from ahead of the verifier's clock is refused where its age
// matters: the parent may have set that clock back.
func TestAgeLimit(t *testing.T) {
	ca := newCA(t)
	start := time.Now()
	now := start
	n := open(t, nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}, Clock: func() time.Time { return now }})
	if _, err := n.Attest(t.Context(), attest.Request{}); err != nil {
		t.Fatal(err)
	}
	now = start.Add(30 * time.Minute) // the module keeps its certificate
	doc, err := n.Attest(t.Context(), attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	for after, ok := range map[time.Duration]bool{
		20 * time.Minute: false, 29*time.Minute + 30*time.Second: true, 34 * time.Minute: true, 36 * time.Minute: false,
	} {
		opts := trust(ca)
		opts.Policy.MaxAge = 5 * time.Minute
		opts.Clock = func() time.Time { return start.Add(after) }
		if _, err := attest.Verify(doc, opts); (err == nil) != ok || (err != nil && !errors.Is(err, attest.ErrPolicy)) {
			t.Errorf("verified %v after the start: %v", after, err)
		}
	}
}

func TestCAMarshal(t *testing.T) {
	ca := newCA(t)
	data, err := ca.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := nsmtest.ParseCA(data)
	if err != nil || !again.Root().Equal(ca.Root()) {
		t.Fatal(err)
	}
	doc, err := open(t, nsmtest.Options{CA: again, PCRs: attest.PCRs{0: image}}).Attest(t.Context(), attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Verify(doc, trust(ca)); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{nil, []byte("x"), data[:len(data)/2]} {
		if _, err := nsmtest.ParseCA(bad); err == nil {
			t.Error("accepted a broken CA")
		}
	}
}

func TestBadOptions(t *testing.T) {
	ca := newCA(t)
	for _, opts := range []nsmtest.Options{{}, {CA: ca, PCRs: attest.PCRs{32: image}}, {CA: ca, PCRs: attest.PCRs{0: image[:5]}}} {
		if _, err := nsmtest.New(opts); err == nil {
			t.Errorf("%v accepted", opts.PCRs)
		}
	}
}
