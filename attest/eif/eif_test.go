package eif_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
)

type vector struct {
	Name, File, Expect, Note, SHA256 string
	PCRs                             map[string]attest.PCR `json:"pcrs"`
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil || len(all) < 10 {
		t.Fatalf("%d vectors, %v", len(all), err)
	}
	return all
}

func (v *vector) read(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", v.File))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != v.SHA256 {
		t.Fatalf("%s was changed", v.File)
	}
	return b
}

// isKnown reports whether err is exactly one of the documented errors.
func isKnown(err error) bool {
	n := 0
	for _, e := range []error{eif.ErrFormat, eif.ErrChecksum, eif.ErrSignature} {
		if errors.Is(err, e) {
			n++
		}
	}
	return n == 1
}

func TestVectors(t *testing.T) {
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			image, err := eif.Read(bytes.NewReader(v.read(t)))
			if (err == nil) != (v.Expect == "ok") || (image == nil) == (err == nil) {
				t.Fatalf("%v, want %s (%s)", err, v.Expect, v.Note)
			}
			if err != nil {
				if !isKnown(err) {
					t.Errorf("undocumented error %v", err)
				}
				return
			}
			if len(image.PCRs) != len(v.PCRs) {
				t.Errorf("%d PCRs, want %d", len(image.PCRs), len(v.PCRs))
			}
			for i, pcr := range image.PCRs {
				if !pcr.Equal(v.PCRs[fmt.Sprintf("PCR%d", i)]) {
					t.Errorf("PCR%d is %v", i, pcr)
				}
			}
			if (image.Arch == "arm64") != strings.Contains(v.Name, "arm64") || (image.SigningCertificate != nil) != (v.PCRs["PCR8"] != nil) {
				t.Errorf("%s, signed: %v", image.Arch, image.SigningCertificate != nil)
			}
		})
	}
}

func TestVectorErrors(t *testing.T) {
	want := map[string]error{"eif-bad-crc": eif.ErrChecksum, "eif-bad-magic": eif.ErrFormat, "eif-trunc": eif.ErrFormat, "eif-trailing": eif.ErrFormat, "eif-sig-wrong-pcr": eif.ErrSignature}
	for _, v := range loadVectors(t) {
		if w := want[v.Name]; w != nil {
			if _, err := eif.Read(bytes.NewReader(v.read(t))); !errors.Is(err, w) {
				t.Errorf("%s: %v, want %v", v.Name, err, w)
			}
		}
	}
}

// Every truncation and every changed byte is noticed: the checksum covers all.
func TestMutations(t *testing.T) {
	b, err := os.ReadFile("testdata/eif-signed.eif")
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := eif.Read(bytes.NewReader(b[:n])); !isKnown(err) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		changed := slices.Clone(b)
		changed[n] ^= 0x10
		if _, err := eif.Read(bytes.NewReader(changed)); !isKnown(err) {
			t.Fatalf("byte %d changed: %v", n, err)
		}
	}
}

// withCRC corrects the checksum, so that the rules behind it are tested.
func withCRC(b []byte) []byte {
	sum := crc32.NewIEEE()
	sum.Write(b[:544])
	sum.Write(b[548:])
	binary.BigEndian.PutUint32(b[544:], sum.Sum32())
	return b
}

func TestRules(t *testing.T) {
	good, err := os.ReadFile("testdata/eif-unsigned.eif")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eif.Read(bytes.NewReader(withCRC(slices.Clone(good)))); err != nil {
		t.Fatal(err)
	}
	// The tables begin at 28 and 284; section headers are at the offsets.
	section := func(b []byte, i int) []byte { return b[binary.BigEndian.Uint64(b[28+8*i:]):] }
	for name, edit := range map[string]func(b []byte){
		"version 2":         func(b []byte) { b[5] = 2 },
		"version 5":         func(b []byte) { b[5] = 5 },
		"unknown flag":      func(b []byte) { b[7] = 2 },
		"no sections":       func(b []byte) { b[26], b[27] = 0, 0 },
		"gap":               func(b []byte) { b[28+7]++ },
		"unused entry":      func(b []byte) { b[28+8*20] = 1 },
		"unused size":       func(b []byte) { b[284+8*20] = 1 },
		"huge section":      func(b []byte) { b[284] = 0x80 },
		"size differs":      func(b []byte) { section(b, 0)[11]++ },
		"section type 0":    func(b []byte) { section(b, 0)[1] = 0 },
		"section type 6":    func(b []byte) { section(b, 0)[1] = 6 },
		"section flags":     func(b []byte) { section(b, 0)[3] = 1 },
		"two kernels":       func(b []byte) { section(b, 1)[1] = 1 },
		"ramdisk in front":  func(b []byte) { section(b, 0)[1] = 3 },
		"cmdline in front":  func(b []byte) { section(b, 0)[1], section(b, 1)[1] = 2, 1 },
		"no ramdisk":        func(b []byte) { section(b, 3)[1], section(b, 4)[1] = 4, 4 },
		"metadata no JSON":  func(b []byte) { section(b, 2)[12] = 'x' },
		"signature no CBOR": func(b []byte) { section(b, 4)[1] = 4 },
	} {
		b := slices.Clone(good)
		edit(b)
		if image, err := eif.Read(bytes.NewReader(withCRC(b))); image != nil || !errors.Is(err, eif.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func signer(t testing.TB) *eif.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), SignatureAlgorithm: x509.ECDSAWithSHA384}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &eif.Signer{Key: key, Certificate: cert}
}

func options(s *eif.Signer) eif.BuildOptions {
	return eif.BuildOptions{
		Kernel: strings.NewReader("the kernel"), Cmdline: "console=ttyS0",
		Ramdisks: []io.ReadSeeker{strings.NewReader("boot"), strings.NewReader("application"), strings.NewReader("more")},
		Metadata: json.RawMessage(`{"ImageName":"test"}`), Signer: s,
	}
}

func build(t testing.TB, opts eif.BuildOptions) ([]byte, *eif.Image) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image.eif"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image, err := eif.Build(f, opts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b, image
}

func TestBuild(t *testing.T) {
	for _, s := range []*eif.Signer{nil, signer(t)} {
		b, built := build(t, options(s))
		again, _ := build(t, options(s))
		if !bytes.Equal(b, again) {
			t.Error("two builds differ")
		}
		read, err := eif.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(read.PCRs) != fmt.Sprint(built.PCRs) || fmt.Sprint(read.Sections) != fmt.Sprint(built.Sections) || read.CRC != built.CRC ||
			read.Cmdline != built.Cmdline || string(read.Metadata) != string(built.Metadata) || read.Arch != built.Arch || read.Version != built.Version {
			t.Errorf("read %+v, built %+v", read, built)
		}
		if s != nil && (!read.SigningCertificate.Equal(s.Certificate) || !read.PCRs[8].Equal(attest.PCR8(s.Certificate))) {
			t.Error("another signer")
		}
		// Each part moves the PCRs that cover it, and no other.
		for part, want := range map[string]string{"kernel": "[0 1]", "cmdline": "[0 1]", "ramdisk0": "[0 1]", "ramdisk1": "[0 2]", "metadata": "[]"} {
			opts := options(s)
			switch part {
			case "kernel":
				opts.Kernel = strings.NewReader("another")
			case "cmdline":
				opts.Cmdline = "another"
			case "ramdisk0":
				opts.Ramdisks[0] = strings.NewReader("another")
			case "ramdisk1":
				opts.Ramdisks[1] = strings.NewReader("another")
			case "metadata":
				opts.Metadata = nil
			}
			_, changed := build(t, opts)
			var moved []int
			for i := range 3 {
				if !changed.PCRs[i].Equal(built.PCRs[i]) {
					moved = append(moved, i)
				}
			}
			if moved == nil {
				moved = []int{}
			}
			if fmt.Sprint(moved) != want {
				t.Errorf("another %s moves PCRs %v, want %s", part, moved, want)
			}
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	other := signer(t)
	for name, edit := range map[string]func(*eif.BuildOptions){
		"no kernel":     func(o *eif.BuildOptions) { o.Kernel = nil },
		"no cmdline":    func(o *eif.BuildOptions) { o.Cmdline = "" },
		"no ramdisk":    func(o *eif.BuildOptions) { o.Ramdisks = nil },
		"architecture":  func(o *eif.BuildOptions) { o.Arch = "riscv" },
		"metadata":      func(o *eif.BuildOptions) { o.Metadata = json.RawMessage("{") },
		"long cmdline":  func(o *eif.BuildOptions) { o.Cmdline = strings.Repeat("x", 1<<17) },
		"other key":     func(o *eif.BuildOptions) { o.Signer.Certificate = other.Certificate },
		"no key":        func(o *eif.BuildOptions) { o.Signer.Key = nil },
		"many ramdisks": func(o *eif.BuildOptions) { o.Ramdisks = slices.Repeat(o.Ramdisks, 20) },
	} {
		opts := options(signer(t))
		edit(&opts)
		f, err := os.Create(filepath.Join(t.TempDir(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		if image, err := eif.Build(f, opts); err == nil || image != nil {
			t.Errorf("%s: built", name)
		}
		f.Close()
	}
}

// zeros is n zero bytes that take no memory.
type zeros struct{ n, at int64 }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(int64(len(p)), z.n-z.at)
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	z.at += n
	return int(n), nil
}

func (z *zeros) Seek(offset int64, whence int) (int64, error) {
	z.at = map[int]int64{io.SeekStart: 0, io.SeekCurrent: z.at, io.SeekEnd: z.n}[whence] + offset
	return z.at, nil
}

func TestConstantMemory(t *testing.T) {
	opts := options(nil)
	opts.Ramdisks[1] = &zeros{n: 256 << 20}
	f, err := os.Create(filepath.Join(t.TempDir(), "large.eif"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	built, err := eif.Build(f, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	read, err := eif.Read(f)
	if err != nil || !read.PCRs[0].Equal(built.PCRs[0]) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes allocated for an image of 256 MiB", n)
	}
}

func FuzzRead(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add(v.read(f))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		image, err := eif.Read(bytes.NewReader(in))
		if (image == nil) == (err == nil) || err != nil && !isKnown(err) {
			t.Fatalf("%v", err)
		}
		// Behind the checksum, which the fuzzer cannot guess.
		if len(in) > 548 {
			image, err = eif.Read(bytes.NewReader(withCRC(slices.Clone(in))))
			if (image == nil) == (err == nil) || err != nil && !isKnown(err) {
				t.Fatalf("with the right checksum: %v", err)
			}
		}
	})
}

func Example() {
	f, err := os.Open("testdata/eif-signed.eif")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	image, err := eif.Read(f)
	if err != nil {
		panic(err)
	}
	fmt.Println(image.Arch, len(image.Sections), "sections, signed by", image.SigningCertificate.Subject.CommonName)
	fmt.Println("PCR0", image.PCRs[0])
	// Output:
	// x86_64 6 sections, signed by dev eif signer
	// PCR0 d959ddaac06c6f34bddd258b8095b3f7b942b5bca96867590017d7e753e525c4b56948e94358180c5f9d4b26fc801131
}
