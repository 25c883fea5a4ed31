package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// writeKernel writes the start of a bzImage, or of an arm64 Image.
func writeKernel(t *testing.T) string {
	t.Helper()
	b := make([]byte, 0x1000)
	if runtime.GOARCH == "arm64" {
		copy(b[56:], "ARM\x64")
	} else {
		copy(b[0x1fe:], "\x55\xaa\x00\x00HdrS")
		b[0x211] = 1
	}
	name := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestEIFImage builds an image of the test binary with the real libllama, and
// reads all that is written beside it.
func TestEIFImage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("images are of programs for Linux")
	}
	const admin, client = "arn:aws:iam::111122223333:role/admin", "arn:aws:iam::111122223333:role/client"
	out := filepath.Join(t.TempDir(), "c.eif")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, printed, told := runArgs(t, "", "eif", "image", "-kernel", writeKernel(t), "-o", out, "-version", "1.4", "-cpus", "4", "-more-memory", "100",
		"-file", "/etc/ca.pem="+ca, "-admin", admin, "-client", client, "--", "-key-arn", "arn:aws:kms:us-east-1:111122223333:key/1", "-kms-ca", "/etc/ca.pem")
	if code != exitOK {
		t.Fatalf("exit status %d: %s", code, told)
	}
	if !strings.Contains(told, "run-enclave --eif-path "+out+" --memory ") || !strings.Contains(told, "--cpu-count 4") || strings.Contains(told, "warning") {
		t.Error(told)
	}
	_, measured, _ := runArgs(t, "", "eif", "measure", out)
	beside := func(name string) string {
		data, err := os.ReadFile(strings.TrimSuffix(out, ".eif") + name)
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
	if printed != measured || beside(".measurements.json") != measured {
		t.Errorf("%s and %s are not %s", printed, beside(".measurements.json"), measured)
	}
	policy, err := attest.ParsePolicy([]byte(beside(".policy.json")))
	if err != nil || len(policy.Measurements) != 1 || policy.Measurements[0].Name != "chatbot 1.4" {
		t.Errorf("%+v, %v", policy, err)
	}
	var m struct{ Measurements map[string]string }
	if err := json.Unmarshal([]byte(measured), &m); err != nil || policy.Measurements[0].PCRs[0].String() != m.Measurements["PCR0"] {
		t.Errorf("%v, %v", m, err)
	}
	key := beside(".key-policy.json")
	if findings := keypolicy.Lint([]byte(key), keypolicy.Options{Measurements: policy.Measurements, Delegating: []string{client}}); len(findings) != 0 || !strings.Contains(key, m.Measurements["PCR0"]) {
		t.Errorf("%v\n%s", findings, key)
	}
	if yaml := beside(".allocator.yaml"); !strings.Contains(yaml, "cpu_count: 4\n") {
		t.Error(yaml)
	}
	if pcrs, err := simulatedPCRs(strings.TrimSuffix(out, ".eif") + ".measurements.json"); err != nil || !pcrs[0].Equal(policy.Measurements[0].PCRs[0]) {
		t.Errorf("-simulate-pcrs: %v, %v", pcrs, err)
	}
}

// TestEIFImageFlags: what would fail in an enclave fails here.
func TestEIFImageFlags(t *testing.T) {
	kernel := writeKernel(t)
	for name, tt := range map[string]struct {
		args, enclave []string
		code          int
		want          string
	}{
		"unknown flag":     {nil, []string{"-keyarn", "x"}, exitUsage, "not defined: -keyarn"},
		"argument":         {nil, []string{"x"}, exitUsage, "must be flags of chatbot enclave"},
		"model twice":      {[]string{"-model", "m"}, []string{"-without-kms", "-model", "m"}, exitUsage, "-model belongs before --"},
		"library":          {nil, []string{"-without-kms", "-llama-lib", "m"}, exitUsage, "-llama-lib belongs before --"},
		"no key":           {nil, []string{"-v"}, exitUsage, "-key-arn is required"},
		"CA":               {nil, []string{"-without-kms", "-kms-ca", "/ca.pem"}, exitUsage, "-file /ca.pem=FILE"},
		"no model":         {[]string{"-model", kernel}, []string{"-without-kms"}, exitFailed, "no GGUF"},
		"file":             {[]string{"-file", "x"}, nil, exitUsage, "NAME=FILE"},
		"CPUs":             {[]string{"-cpus", "0"}, nil, exitUsage, "-cpus"},
		"CID":              {[]string{"-parent-cid", "4294967295"}, nil, exitUsage, "-parent-cid"},
		"half a policy":    {[]string{"-admin", "a"}, nil, exitUsage, "-admin and -client"},
		"no such role":     {[]string{"-admin", "a", "-client", "c"}, []string{"-without-kms"}, exitFailed, "ARN"},
		"half a signature": {[]string{"-signing-key", "k"}, nil, exitUsage, "go together"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "c.eif")
			args := append([]string{"eif", "image", "-kernel", kernel, "-o", out}, tt.args...)
			code, _, told := runArgs(t, "", append(append(args, "--"), tt.enclave...)...)
			if code != tt.code || !strings.Contains(told, tt.want) {
				t.Errorf("exit status %d: %s", code, told)
			}
			if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
				t.Errorf("files are left: %v", left)
			}
		})
	}
}

func TestSimulatedPCRs(t *testing.T) {
	for name, data := range map[string]string{"empty": "", "any": `{"any_measurement":true}`, "none": `{"Measurements":{}}`} {
		file := filepath.Join(t.TempDir(), "m.json")
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if pcrs, err := simulatedPCRs(file); err == nil || pcrs != nil {
			t.Errorf("%s: %v, %v", name, pcrs, err)
		}
	}
}
