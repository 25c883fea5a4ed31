package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
)

func TestEIFMeasure(t *testing.T) {
	for _, name := range []string{"eif-unsigned", "eif-signed"} {
		out := succeeds(t, "", "eif", "measure", eifDir+name+".eif")
		p, err := attest.ParsePolicy([]byte(out))
		if err != nil || p.Measurements[0].PCRs[0].String() != imagePCR0 || (p.Measurements[0].PCRs[8] != nil) != (name == "eif-signed") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
	data, err := os.ReadFile(eifDir + "eif-signed.eif")
	if err != nil {
		t.Fatal(err)
	}
	var d described
	out := succeeds(t, string(data), "eif", "describe", "-")
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Measurements["PCR0"] != imagePCR0 || !d.IsSigned || d.Architecture != "x86_64" ||
		d.ImageName != "dev" || d.ImageVersion != "1" || d.SigningCertificate.Subject != "CN=dev eif signer" || len(d.Sections) < 5 {
		t.Errorf("%v, %s", err, out)
	}
	if p, err := attest.ParsePolicy([]byte(out)); err != nil || p.Measurements[0].Name != "dev" {
		t.Errorf("no policy: %+v, %v", p, err)
	}
	for _, args := range [][]string{{"measure", "none"}, {"measure", "main.go"}, {"describe", eifDir + "eif-bad-crc.eif"}, {"describe", eifDir + "eif-trunc.eif"}} {
		if code, out, errOut := runArgs(t, "", append([]string{"eif"}, args...)...); code != exitFailed || out != "" || !strings.HasPrefix(errOut, "chatbot eif: ") {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}

// signer writes a key, in the form that is named, and its certificate.
func signer(t *testing.T, form string, curve elliptic.Curve) (keyFile, certFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	var der []byte
	text := ""
	if form == "PRIVATE KEY" {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	} else {
		der, err = x509.MarshalECPrivateKey(key)
		text = string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{5, 0}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return tempFile(t, "key.pem", text+string(pem.EncodeToMemory(&pem.Block{Type: form, Bytes: der}))),
		tempFile(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
}

// TestEIFBuild builds an image twice, signed and not: the same bytes, that
// measure as was printed, and policies that name it.
func TestEIFBuild(t *testing.T) {
	kernel, init, app := tempFile(t, "kernel", "kernel"), tempFile(t, "init", "init"), tempFile(t, "app", "application")
	for _, form := range []string{"", "PRIVATE KEY", "EC PRIVATE KEY"} {
		dir := t.TempDir()
		path := func(name string) string { return filepath.Join(dir, name) }
		args := []string{"eif", "build", "-kernel", kernel, "-cmdline", "console=ttyS0", "-ramdisk", init, "-ramdisk", app, "-name", "chatbot", "-version", "1.4",
			"-policy", path("policy.json"), "-key-policy", path("key.json"), "-admin", adminARN, "-client", clientARN, "-max-age", "1m"}
		if form != "" {
			key, cert := signer(t, form, elliptic.P384())
			args = append(args, "-signing-key", key, "-signing-cert", cert)
		}
		out := succeeds(t, "", append(args, "-o", path("a.eif"))...)
		if again := succeeds(t, "", append(args, "-o", path("b.eif"))...); again != out {
			t.Errorf("%s\nand then %s", out, again)
		}
		a, err := os.ReadFile(path("a.eif"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path("b.eif")); err != nil || !bytes.Equal(a, b) {
			t.Errorf("two builds differ: %d and %d bytes, %v", len(a), len(b), err)
		}
		if measured := succeeds(t, "", "eif", "measure", path("a.eif")); measured != out {
			t.Errorf("measured %s, printed %s", measured, out)
		}
		image, err := eif.Read(bytes.NewReader(a))
		if err != nil || image.Cmdline != "console=ttyS0" || (image.SigningCertificate != nil) != (form != "") || nameOf(image.Metadata) != "chatbot 1.4" {
			t.Fatalf("%+v, %v", image, err)
		}
		data, err := os.ReadFile(path("policy.json"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := attest.ParsePolicy(data)
		if err != nil || p.MaxAge != time.Minute || len(p.Measurements) != 1 || p.Measurements[0].Name != "chatbot 1.4" || len(p.Measurements[0].PCRs) != len(image.PCRs) ||
			!p.Measurements[0].PCRs[0].Equal(image.PCRs[0]) {
			t.Errorf("%+v, %v", p, err)
		}
		if said := succeeds(t, "", "policy", "lint", "-strict", "-delegating", clientARN, "-measurements", path("a.eif"), path("key.json")); said != "no findings\n" {
			t.Error(said)
		}
		// Metadata is not measured, and everything else is.
		var names []string
		for _, change := range [][2]string{{"-version", "1.5"}, {"-cmdline", "console=ttyS1"}, {"-kernel", init}, {"-ramdisk", kernel}} {
			other := succeeds(t, "", append(args, change[0], change[1], "-o", path("c.eif"))...)
			if (other == out) != (change[0] == "-version") {
				t.Errorf("%v: %s", change, other)
			}
		}
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if want := []string{"a.eif", "b.eif", "c.eif", "key.json", "policy.json"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("files %q, %v", names, err)
		}
	}
}

func TestEIFBuildRefuses(t *testing.T) {
	kernel := tempFile(t, "kernel", "kernel")
	key, cert := signer(t, "PRIVATE KEY", elliptic.P384())
	otherKey, _ := signer(t, "PRIVATE KEY", elliptic.P384())
	smallKey, smallCert := signer(t, "PRIVATE KEY", elliptic.P256())
	good := []string{"-kernel", kernel, "-cmdline", "x", "-ramdisk", kernel}
	for _, tt := range []struct {
		code int
		args []string
	}{
		{exitUsage, good[2:]}, {exitUsage, good[:4]}, {exitUsage, append(good[:2:2], good[4:]...)},
		{exitUsage, append(good[:6:6], "-arch", "mips")},
		{exitUsage, append(good[:6:6], "-signing-key", key)},
		{exitUsage, append(good[:6:6], "-key-policy", "x")},
		{exitUsage, append(good[:6:6], "-max-age", "-1s")},
		{exitFailed, append(good[:6:6], "-ramdisk", "none")},
		{exitFailed, append(good[:6:6], "-key-policy", filepath.Join(t.TempDir(), "x"), "-admin", adminARN, "-client", "*")},
		{exitFailed, append(good[:6:6], "-signing-key", "none", "-signing-cert", cert)},
		{exitFailed, append(good[:6:6], "-signing-key", cert, "-signing-cert", cert)},
		{exitFailed, append(good[:6:6], "-signing-key", key, "-signing-cert", key)},
		{exitFailed, append(good[:6:6], "-signing-key", otherKey, "-signing-cert", cert)},
		{exitFailed, append(good[:6:6], "-signing-key", smallKey, "-signing-cert", smallCert)},
	} {
		dir := t.TempDir()
		code, out, errOut := runArgs(t, "", append([]string{"eif", "build", "-o", filepath.Join(dir, "x.eif")}, tt.args...)...)
		if code != tt.code || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, code, out, errOut)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%q: left %v, %v", tt.args, entries, err)
		}
	}
}

// TestMetadata: nitro-cli describe-eif wants all these members to be text.
func TestMetadata(t *testing.T) {
	raw, err := newMetadata("n", "v")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"ImageName":"n","ImageVersion":"v","BuildMetadata":{"BuildTime":"1970-01-01T00:00:00Z","BuildTool":"nitroseal chatbot","BuildToolVersion":"","OperatingSystem":"Linux","KernelVersion":""},"DockerInfo":{},"CustomMetadata":{}}`
	if string(raw) != want {
		t.Errorf("%s", raw)
	}
	for raw, want := range map[string]string{"": "", "[]": "", `{"ImageName": "a"}`: "a", `{"ImageName": 1}`: ""} {
		if got := nameOf(json.RawMessage(raw)); got != want {
			t.Errorf("%q: %q", raw, got)
		}
	}
}
