package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	dir  = "../../attest/testdata/attestation/"
	real = dir + "real/veracruz.cose"
	at   = "2022-11-09T22:52:00Z"
	pcr0 = "22f9e1c949208da55eb01b9b9fc88f87454f77ba133f0d82320b509621c92482152a99d0a12335b97178c02d6f977d01"
)

func call(t *testing.T, stdin []byte, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(args, bytes.NewReader(stdin), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestText(t *testing.T) {
	code, out, _ := call(t, nil, "-at", at, real)
	if code != exitVerified {
		t.Fatalf("exit status %d: %s", code, out)
	}
	for _, part := range []string{`"i-04fd167167daacf3b-enc01845e97d0b3eb4e"`, "2022-11-09T22:52:00Z", "PCR0", pcr0, "aws.nitro-enclaves", "2049-10-28", "2022-11-10T01:52:00Z",
		"7c37108079b3e8a36d8a7970de1d6d4f", "public key  none", "VERIFIED", "no policy was given"} {
		if !strings.Contains(out, part) {
			t.Errorf("the report does not tell %q:\n%s", part, out)
		}
	}
}

func TestVerdicts(t *testing.T) {
	write := func(name, data string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", `{"measurements":[{"pcrs":{"0":"`+pcr0+`"}}]}`)
	nitro := write("nitro", `{"Measurements":{"HashAlgorithm":"Sha384 { ... }","PCR0":"`+pcr0+`"}}`)
	wrong := write("wrong", `{"measurements":[{"name":"v2","pcrs":{"0":"`+strings.Repeat("ab", 48)+`"}}]}`)
	bad := write("bad", `{}`)
	for _, tt := range []struct {
		name string
		args []string
		code int
		text string
	}{
		{"policy met", []string{"-at", at, "-policy", good, real}, exitVerified, "the policy is met"},
		{"nitro-cli's output", []string{"-at", at, "-policy", nitro, real}, exitVerified, "the policy is met"},
		{"policy not met", []string{"-at", at, "-policy", wrong, real}, exitRefused, `PCR0 of "v2": expected abab`},
		{"expired", []string{real}, exitRefused, "validity period"},
		{"debug", []string{"-at", "2023-03-06T00:00:00Z", dir + "real/evervault-debug.cose"}, exitRefused, "REFUSED"},
		{"bad signature", []string{"-at", at, dir + "real/veracruz-badsig.cose"}, exitRefused, "bad signature"},
		{"simulated", []string{"-at", at, dir + "synthetic/basic.cose"}, exitRefused, "untrusted"},
		{"its own root", []string{"-at", "2025-06-01T12:00:00Z", "-roots", dir + "root/synthetic-root.pem", dir + "synthetic/basic.cose"}, exitVerified, "VERIFIED"},
		{"no document", []string{"main.go"}, exitRefused, "malformed"},
		{"no file", []string{"none"}, exitUsage, ""},
		{"two files", []string{real, real}, exitUsage, ""},
		{"bad time", []string{"-at", "noon", real}, exitUsage, ""},
		{"bad policy", []string{"-policy", bad, real}, exitUsage, ""},
		{"bad roots", []string{"-roots", bad, real}, exitUsage, ""},
		{"unknown flag", []string{"-none"}, exitUsage, ""},
		{"help", []string{"-h"}, exitVerified, ""},
	} {
		code, out, errOut := call(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.text) || code == exitUsage && errOut == "" {
			t.Errorf("%s: exit status %d, %s%s", tt.name, code, out, errOut)
		}
	}
}

func TestInputForms(t *testing.T) {
	raw, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString(raw)
	for name, in := range map[string][]byte{
		"raw":       raw,
		"hex":       []byte(hex.EncodeToString(raw) + "\n"),
		"upper hex": []byte(strings.ToUpper(hex.EncodeToString(raw))),
		"base64":    []byte(b64),
		"wrapped":   []byte(b64[:76] + "\n" + b64[76:] + "\n"),
		"base64url": []byte(base64.RawURLEncoding.EncodeToString(raw)),
	} {
		for _, args := range [][]string{{"-at", at}, {"-at", at, "-"}} {
			if code, out, errOut := call(t, in, args...); code != exitVerified {
				t.Errorf("%s: exit status %d, %s%s", name, code, out, errOut)
			}
		}
	}
	if code, _, _ := call(t, make([]byte, maxInput+1)); code != exitUsage {
		t.Errorf("a huge input: exit status %d", code)
	}
}

func TestJSON(t *testing.T) {
	type output struct {
		Verified bool
		Kind     string `json:"error_kind"`
		Document *struct {
			PCRs map[string]string
		}
	}
	var v output
	code, out, _ := call(t, nil, "-json", "-at", at, real)
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitVerified || !v.Verified || v.Document.PCRs["0"] != pcr0 {
		t.Errorf("exit status %d, %v, %s", code, err, out)
	}
	v = output{}
	code, out, _ = call(t, nil, "-json", real)
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitRefused || v.Verified || v.Kind != "expired" || v.Document == nil {
		t.Errorf("exit status %d, %v, %s", code, err, out)
	}
}
