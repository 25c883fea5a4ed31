package attest_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// vector is one entry of testdata/vectors.json.
type vector struct {
	Name, File, SHA256, Root string
	At                       time.Time
	Expect, Strength, Note   string
	DebugMode                bool `json:"debug_mode"`
	Times                    []struct {
		At     time.Time
		Expect string
	}
	ModuleID     string             `json:"module_id"`
	TimestampMS  int64              `json:"timestamp_ms"`
	PCRsNonzero  map[int]attest.PCR `json:"pcrs_nonzero"`
	PCRIndexes   []int              `json:"pcr_indexes"`
	PublicKeyHex *string            `json:"public_key_hex"`
	UserDataHex  *string            `json:"user_data_hex"`
	NonceHex     *string            `json:"nonce_hex"`
	CABundleN    int                `json:"cabundle_n"`
}

var vectors = sync.OnceValues(func() ([]vector, error) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		return nil, err
	}
	var index struct{ Vectors []vector }
	err = json.Unmarshal(data, &index)
	return index.Vectors, err
})

func loadVectors(t testing.TB) []vector {
	t.Helper()
	v, err := vectors()
	if err != nil {
		t.Fatal(err)
	}
	if len(v) < 200 {
		t.Fatalf("the index has %d vectors, it must have more than 200", len(v))
	}
	return v
}

func (v *vector) doc(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", v.File))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); v.SHA256 != "" && hex.EncodeToString(sum[:]) != v.SHA256 {
		t.Fatalf("%s was changed", v.File)
	}
	return b
}

func (v *vector) options(t testing.TB, at time.Time) attest.Options {
	t.Helper()
	return attest.Options{
		Roots:  []*x509.Certificate{readCert(t, filepath.Join("testdata", v.Root))},
		Clock:  func() time.Time { return at },
		Policy: attest.Policy{AnyMeasurement: true, AllowDebug: true},
	}
}

func readCert(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// acceptedAsDocument are vectors that only a policy refuses.
var acceptedAsDocument = []string{"pcr0-missing"}

func TestVectors(t *testing.T) {
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			doc := v.doc(t)
			d, err := attest.Verify(doc, v.options(t, v.At))
			if slices.Contains(acceptedAsDocument, v.Name) {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if (err == nil) != (v.Expect == "ok") {
				t.Fatalf("got %v, want %s (%s; %s)", err, v.Expect, v.Strength, v.Note)
			}
			if (d == nil) == (err == nil) {
				t.Error("a document beside an error, or neither")
			}
			if err != nil {
				known := 0
				for _, e := range []error{attest.ErrMalformed, attest.ErrUntrusted, attest.ErrExpired, attest.ErrSignature, attest.ErrPolicy} {
					if errors.Is(err, e) {
						known++
					}
				}
				if known != 1 {
					t.Errorf("%v is %d of the documented errors", err, known)
				}
				return
			}
			compare(t, &v, d)
			for _, at := range v.Times {
				_, err := attest.Verify(doc, v.options(t, at.At))
				if (err == nil) != (at.Expect == "ok") || (err != nil && !errors.Is(err, attest.ErrExpired)) {
					t.Errorf("at %s: got %v, want %s", at.At, err, at.Expect)
				}
			}
		})
	}
}

// compare checks every field against the index.
func compare(t *testing.T, v *vector, d *attest.Document) {
	t.Helper()
	if d.Debug() != v.DebugMode && strings.Contains(v.File, "real") {
		t.Errorf("debug mode %v, want %v", d.Debug(), v.DebugMode)
	}
	if v.ModuleID == "" {
		return // an edited document: the index tells only the result
	}
	if d.ModuleID != v.ModuleID || d.Timestamp.UnixMilli() != v.TimestampMS || d.Digest != "SHA384" || len(d.CABundle) != v.CABundleN {
		t.Errorf("module %q, time %v, digest %q, %d certificates", d.ModuleID, d.Timestamp, d.Digest, len(d.CABundle))
	}
	if v.PCRIndexes != nil && len(d.PCRs) != len(v.PCRIndexes) {
		t.Errorf("%d PCRs, want %d", len(d.PCRs), len(v.PCRIndexes))
	}
	for _, i := range v.PCRIndexes {
		want := v.PCRsNonzero[i]
		if want == nil {
			want = attest.ZeroPCR()
		}
		if !d.PCRs[i].Equal(want) {
			t.Errorf("PCR%d is %v, want %v", i, d.PCRs[i], want)
		}
	}
	// The parent's instance id is in the module id, and PCR4 is made of it.
	if instance, _, ok := strings.Cut(d.ModuleID, "-enc"); ok && strings.Contains(v.File, "real") && !d.PCRs[4].Equal(attest.PCR4(instance)) {
		t.Errorf("PCR4 is not that of %s", instance)
	}
	if strings.Contains(v.File, "real") {
		for _, f := range []struct {
			name string
			got  []byte
			want *string
		}{{"public key", d.PublicKey, v.PublicKeyHex}, {"user data", d.UserData, v.UserDataHex}, {"nonce", d.Nonce, v.NonceHex}} {
			if (f.got == nil) != (f.want == nil) || (f.want != nil && hex.EncodeToString(f.got) != *f.want) {
				t.Errorf("%s is %x", f.name, f.got)
			}
		}
	}
}

// Which error some vectors must give: each rule's own.
func TestVectorErrors(t *testing.T) {
	want := map[string]error{
		"veracruz-flip-r": attest.ErrSignature, "veracruz-flip-pcr0": attest.ErrSignature, "splice-signature": attest.ErrSignature,
		"veracruz-badsig": attest.ErrSignature, "veracruz-sig-zero": attest.ErrSignature, "aad": attest.ErrSignature,
		"veracruz-sig-95": attest.ErrMalformed, "veracruz-trailing": attest.ErrMalformed, "dup-key": attest.ErrMalformed,
		"vaportpm-nitrotpm": attest.ErrMalformed, "nitrotpm": attest.ErrMalformed, "veracruz-huge-len": attest.ErrMalformed,
		"fake-root": attest.ErrUntrusted, "fake-root-own-intermediate": attest.ErrUntrusted, "self-signed-leaf": attest.ErrUntrusted,
		"leaf-p256": attest.ErrMalformed, "leaf-p521": attest.ErrMalformed, "leaf-rsa": attest.ErrMalformed, "pathlen": attest.ErrUntrusted,
		"leaf-wrong-key": attest.ErrUntrusted, "leaf-issuer-name": attest.ErrUntrusted, "int-not-ca": attest.ErrUntrusted,
		"int-no-certsign": attest.ErrUntrusted, "leaf-is-ca": attest.ErrUntrusted, "leaf-no-digsig": attest.ErrUntrusted,
		"leaf-crit-ext": attest.ErrUntrusted, "cabundle-no-root": attest.ErrUntrusted, "cabundle-reversed": attest.ErrUntrusted,
		"leaf-expired": attest.ErrExpired, "leaf-future": attest.ErrExpired, "int-expired": attest.ErrExpired, "basic-late": attest.ErrExpired,
	}
	found := 0
	for _, v := range loadVectors(t) {
		w, ok := want[v.Name]
		if !ok {
			continue
		}
		found++
		if _, err := attest.Verify(v.doc(t), v.options(t, v.At)); !errors.Is(err, w) {
			t.Errorf("%s: got %v, want %v", v.Name, err, w)
		}
	}
	if found != len(want) {
		t.Errorf("%d of %d vectors found", found, len(want))
	}
}

// Frames that a decoder which only looks at items would take for the document.
func TestFrame(t *testing.T) {
	v := findVector(t, "veracruz")
	for name, edit := range map[string]func([]byte) []byte{
		"array of 3":            func(d []byte) []byte { d[0] = 0x83; return d },
		"array of 5":            func(d []byte) []byte { d[0] = 0x85; return d },
		"unprotected of 1 pair": func(d []byte) []byte { d[6] = 0xa1; return d },
		"trailing break":        func(d []byte) []byte { return append(d, 0xff) },
		"trailing null":         func(d []byte) []byte { return append(d, 0xf6) },
	} {
		if _, err := attest.Verify(edit(v.doc(t)), v.options(t, v.At)); !errors.Is(err, attest.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"vaportpm-nitrotpm", "nitrotpm", "both-pcrs"} {
		v := findVector(t, name)
		if _, err := attest.Verify(v.doc(t), v.options(t, v.At)); err == nil || !strings.Contains(err.Error(), "NitroTPM") {
			t.Errorf("%s: the error does not tell what the document is: %v", name, err)
		}
	}
}

func findVector(t testing.TB, name string) *vector {
	t.Helper()
	all := loadVectors(t)
	i := slices.IndexFunc(all, func(v vector) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("no vector %s", name)
	}
	return &all[i]
}

func TestRoot(t *testing.T) {
	sum := sha256.Sum256(attest.AWSRoot().Raw)
	if got := hex.EncodeToString(sum[:]); got != "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b" {
		t.Errorf("the embedded root has fingerprint %s", got)
	}
	// nil roots are the AWS root alone: a real document passes, a simulated
	// one does not.
	for name, want := range map[string]error{"veracruz": nil, "basic": attest.ErrUntrusted} {
		v := findVector(t, name)
		opts := v.options(t, v.At)
		opts.Roots = nil
		if _, err := attest.Verify(v.doc(t), opts); !errors.Is(err, want) {
			t.Errorf("%s under the default root: %v", name, err)
		}
		opts.Roots = []*x509.Certificate{}
		if _, err := attest.Verify(v.doc(t), opts); !errors.Is(err, attest.ErrUntrusted) {
			t.Errorf("%s without any root: %v", name, err)
		}
	}
}

// The document does not change when the caller reuses its buffer.
func TestVerifyCopies(t *testing.T) {
	v := findVector(t, "veracruz")
	doc := v.doc(t)
	d, err := attest.Verify(doc, v.options(t, v.At))
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(d.UserData)
	clear(doc)
	if !bytes.Equal(before, d.UserData) {
		t.Error("the document shares the caller's memory")
	}
}

func TestLargeInputs(t *testing.T) {
	zeros := make([]byte, 10<<20)
	huge := append([]byte{0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, zeros[:100]...)
	for name, in := range map[string][]byte{"10 MB of zeros": zeros, "huge declared length": huge, "nil": nil} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := attest.Verify(in, attest.Options{Policy: attest.Policy{AnyMeasurement: true}})
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		if !errors.Is(err, attest.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if allocated > 256<<10 {
			t.Errorf("%s: %d bytes allocated", name, allocated)
		}
	}
}

func FuzzVerify(f *testing.F) {
	// Few seeds: signatures are slow under the fuzzer's instrumentation, and
	// FuzzParse has them all.
	for _, name := range []string{"veracruz", "veracruz-tagged", "veracruz-malleable", "veracruz-flip-r", "yawn", "basic"} {
		f.Add(findVector(f, name).doc(f))
	}
	real := findVector(f, "veracruz")
	opts := real.options(f, real.At)
	good := map[string]bool{}
	for _, name := range []string{"veracruz", "veracruz-tagged", "veracruz-malleable"} {
		good[string(findVector(f, name).doc(f))] = true
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := attest.Verify(in, opts)
		if (d == nil) == (err == nil) {
			t.Fatal("a document beside an error, or neither")
		}
		// Only the known forms of the one real document can verify.
		if err == nil && !good[string(in)] {
			t.Fatalf("an unknown document verifies: %x", in)
		}
	})
}
