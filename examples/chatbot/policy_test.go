package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

const (
	adminARN  = "arn:aws:iam::111122223333:role/key-admin"
	clientARN = "arn:aws:iam::111122223333:role/chatbot-client"
	roleARNof = "arn:aws:iam::111122223333:role/enclave"
	eifDir    = "../../attest/eif/testdata/"
	lintDir   = "../../envelope/keypolicy/testdata/"
	// imagePCR0 is that of the images in eifDir.
	imagePCR0 = "d959ddaac06c6f34bddd258b8095b3f7b942b5bca96867590017d7e753e525c4b56948e94358180c5f9d4b26fc801131"
)

func tempFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// succeeds runs a command that must, and returns its standard output.
func succeeds(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errOut := runArgs(t, stdin, args...)
	if code != exitOK || errOut != "" {
		t.Fatalf("%q: exit status %d, %q, %q", args, code, out, errOut)
	}
	return out
}

func hexPCR(digits string) string { return strings.Repeat(digits, 48) }

// TestPolicyEmit makes policies of all sources, which the parser must
// understand as they were meant.
func TestPolicyEmit(t *testing.T) {
	nitro := tempFile(t, "v2=.json", `{"Measurements": {"HashAlgorithm": "Sha384 { ... }", "PCR0": "`+hexPCR("ab")+`", "PCR1": "`+hexPCR("cd")+`"}}`)
	out := succeeds(t, succeeds(t, "", "eif", "measure", eifDir+"eif-signed.eif"), "policy", "emit",
		"-measurements", "v1="+eifDir+"eif-unsigned.eif", "-measurements", "="+nitro, "-measurements", "v3=-", "-measurements", eifDir+"eif-arm64.eif",
		"-pcr", "v4:0="+hexPCR("01"), "-pcr", "v4:8="+strings.ToUpper(hexPCR("0a")), "-max-age", "90s")
	p, err := attest.ParsePolicy([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range p.Measurements {
		got = append(got, m.Name+":"+m.PCRs[0].String()[:4])
	}
	if want := []string{"v1:d959", ":abab", "v3:d959", "dev 1:d959", "v4:0101"}; !slices.Equal(got, want) {
		t.Errorf("builds %q, want %q", got, want)
	}
	if p.MaxAge != 90*time.Second || p.AllowDebug || p.AnyMeasurement || p.Measurements[2].PCRs[8] == nil || p.Measurements[4].PCRs[8].String() != hexPCR("0a") {
		t.Errorf("%+v", p)
	}
	// The same in a file, of which the next one is made.
	path := filepath.Join(t.TempDir(), "policy.json")
	if out := succeeds(t, "", "policy", "emit", "-measurements", "v1="+eifDir+"eif-signed.eif", "-o", path); out != "" {
		t.Errorf("%q", out)
	}
	p, err = attest.ParsePolicy([]byte(succeeds(t, "", "policy", "emit", "-measurements", path, "-max-age", "0",
		"-parent-role", roleARNof, "-parent-instance", "i-0123456789abcdef0", "-module-id", "m")))
	if err != nil || len(p.Measurements) != 1 || p.Measurements[0].Name != "v1" || p.MaxAge != 0 || p.ModuleID != "m" ||
		!p.Measurements[0].PCRs[3].Equal(attest.PCR3(roleARNof)) || !p.Measurements[0].PCRs[4].Equal(attest.PCR4("i-0123456789abcdef0")) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPolicyEmitWarns(t *testing.T) {
	for pcr, want := range map[string]string{"8": "every image that its signer", "1": "the whole image"} {
		code, out, errOut := runArgs(t, "", "policy", "emit", "-pcr", "x:"+pcr+"="+hexPCR("01"))
		if code != exitOK || out == "" || !strings.HasPrefix(errOut, "warning: ") || !strings.Contains(errOut, want) {
			t.Errorf("exit status %d, %q, %q", code, out, errOut)
		}
	}
	if code, _, errOut := runArgs(t, "", "policy", "emit", "-pcr", "0="+hexPCR("00"), "-allow-debug"); code != exitOK || errOut != "" {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}

func TestPolicyEmitRefuses(t *testing.T) {
	anyone := tempFile(t, "any.json", `{"any_measurement": true}`)
	two := tempFile(t, "two.json", `{"measurements": [{"pcrs": {"0": "`+hexPCR("01")+`"}}, {"pcrs": {"0": "`+hexPCR("02")+`"}}]}`)
	pcr3 := tempFile(t, "pcr3.json", `{"measurements": [{"pcrs": {"0": "`+hexPCR("01")+`", "3": "`+hexPCR("02")+`"}}]}`)
	out := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct {
		code int
		args []string
	}{
		{exitUsage, nil},
		{exitUsage, []string{"-measurements", "v1="}},
		{exitUsage, []string{"-pcr", "0"}},
		{exitUsage, []string{"-pcr", "32=" + hexPCR("01")}},
		{exitUsage, []string{"-pcr", "0=" + hexPCR("01")[2:]}},
		{exitUsage, []string{"-pcr", "0=" + hexPCR("01"), "-pcr", "0=" + hexPCR("02")}},
		{exitUsage, []string{"-pcr", "0=" + hexPCR("01"), "-max-age", "-1s"}},
		{exitUsage, []string{"-pcr", "0=" + hexPCR("01"), "-parent-role", "role"}},
		{exitUsage, []string{"-pcr", "0=" + hexPCR("01"), "-parent-instance", "i-1"}},
		{exitFailed, []string{"-pcr", "0=" + hexPCR("00")}},
		{exitFailed, []string{"-measurements", "none.eif"}},
		{exitFailed, []string{"-measurements", "main.go"}},
		{exitFailed, []string{"-measurements", eifDir + "eif-bad-crc.eif"}},
		{exitFailed, []string{"-measurements", anyone}},
		{exitFailed, []string{"-measurements", "v1=" + two}},
		{exitFailed, []string{"-measurements", pcr3, "-parent-role", roleARNof}},
	} {
		code, stdout, errOut := runArgs(t, "", append([]string{"policy", "emit", "-o", out}, tt.args...)...)
		if code != tt.code || stdout != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, code, stdout, errOut)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%q: wrote something", tt.args)
		}
	}
	if code, _, errOut := runArgs(t, strings.Repeat(" ", maxPolicyFile+1), "policy", "emit", "-measurements", "-"); code != exitFailed || !strings.Contains(errOut, "larger than") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}

// TestPolicyKey compares with what package keypolicy makes, and has lint judge
// it.
func TestPolicyKey(t *testing.T) {
	builds := []attest.Measurement{
		{Name: "old", PCRs: attest.PCRs{0: digestOf(t, "01")}},
		{Name: "new", PCRs: attest.PCRs{0: digestOf(t, "02"), 1: digestOf(t, "03")}},
	}
	pcrs := []string{"-pcr", "old:0=" + hexPCR("01"), "-pcr", "new:0=" + hexPCR("02"), "-pcr", "new:1=" + hexPCR("03")}
	for _, tt := range []struct {
		args []string
		spec keypolicy.Spec
		lint []string
	}{
		{nil, keypolicy.Spec{Delegated: true, SealedResponses: true}, []string{"-delegating", clientARN}},
		{[]string{"-enclave-role", roleARNof, "-encryption-context", "app=x"},
			keypolicy.Spec{Delegated: true, SealedResponses: true, Enclaves: []string{roleARNof}, Context: map[string]string{"app": "x"}}, []string{"-delegating", clientARN}},
		{[]string{"-mode", "blog", "-enclave-role", roleARNof}, keypolicy.Spec{Enclaves: []string{roleARNof}}, nil},
	} {
		out := succeeds(t, "", slices.Concat([]string{"policy", "key", "-admin", adminARN, "-client", clientARN}, tt.args, pcrs)...)
		tt.spec.Admins, tt.spec.Clients, tt.spec.Measurements = []string{adminARN}, []string{clientARN}, builds
		want, err := tt.spec.Policy()
		if err != nil || out != string(want) {
			t.Errorf("%q: %v\n%s\nwant\n%s", tt.args, err, out, want)
		}
		args := slices.Concat([]string{"policy", "lint", "-strict"}, tt.lint, pcrs, []string{"-"})
		if said := succeeds(t, out, args...); said != "no findings\n" {
			t.Errorf("%q: %s", tt.args, said)
		}
	}
}

func digestOf(t *testing.T, digits string) (pcr attest.PCR) {
	t.Helper()
	if err := pcr.UnmarshalText([]byte(hexPCR(digits))); err != nil {
		t.Fatal(err)
	}
	return pcr
}

func TestPolicyKeyRefuses(t *testing.T) {
	pcr := "0=" + hexPCR("01")
	for _, tt := range []struct {
		code int
		args []string
	}{
		{exitUsage, []string{"-pcr", pcr}},
		{exitUsage, []string{"-pcr", pcr, "-admin", adminARN}},
		{exitUsage, []string{"-admin", adminARN, "-client", clientARN}},
		{exitUsage, []string{"-admin", adminARN, "-client", clientARN, "-pcr", pcr, "-mode", "blog"}},
		{exitUsage, []string{"-admin", adminARN, "-client", clientARN, "-pcr", pcr, "-mode", "other"}},
		{exitUsage, []string{"-admin", adminARN, "-client", clientARN, "-pcr", pcr, "-encryption-context", "x"}},
		{exitFailed, []string{"-admin", adminARN, "-client", "*", "-pcr", pcr}},
		{exitFailed, []string{"-admin", adminARN, "-client", adminARN, "-pcr", pcr}},
		{exitFailed, []string{"-admin", adminARN, "-client", clientARN, "-pcr", "1=" + hexPCR("01")}},
		{exitFailed, []string{"-admin", adminARN, "-client", clientARN, "-pcr", "0=" + hexPCR("00")}},
	} {
		if code, out, errOut := runArgs(t, "", append([]string{"policy", "key"}, tt.args...)...); code != tt.code || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, code, out, errOut)
		}
	}
	// Debug mode is possible, and told.
	code, out, errOut := runArgs(t, "", "policy", "key", "-admin", adminARN, "-client", clientARN, "-pcr", "0="+hexPCR("00"), "-allow-debug")
	if code != exitOK || out == "" || !strings.Contains(errOut, "zero-pcr") {
		t.Errorf("exit status %d, %q, %q", code, out, errOut)
	}
}

// TestPolicyLint: all policies that defeat attestation have the exit status 1,
// and no others, but with -strict.
func TestPolicyLint(t *testing.T) {
	files, err := filepath.Glob(lintDir + "*/*.json")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	statuses := map[int]int{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		worst := keypolicy.Severity(-1)
		for _, f := range keypolicy.Lint(data, keypolicy.Options{}) {
			worst = max(worst, f.Severity)
		}
		code, out, errOut := runArgs(t, "", "policy", "lint", path)
		strict, _, _ := runArgs(t, string(data), "policy", "lint", "-", "-strict")
		if (code == exitFailed) != (worst == keypolicy.Critical) || (strict == exitFailed) != (worst >= keypolicy.Warning) || errOut != "" ||
			(code == exitFailed) != strings.Contains(out, "does NOT hold the key") {
			t.Errorf("%s: exit status %d, strictly %d, worst %v, %q, %s", path, code, strict, worst, errOut, out)
		}
		statuses[code]++
	}
	if statuses[exitOK] < 5 || statuses[exitFailed] < 20 || len(statuses) != 2 {
		t.Errorf("%v", statuses)
	}
}

func TestPolicyLintOptions(t *testing.T) {
	policy := succeeds(t, "", "policy", "key", "-admin", adminARN, "-client", clientARN, "-pcr", "0="+hexPCR("01"))
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-delegating", clientARN, "-untrusted", adminARN}, exitFailed, "CRITICAL: statement 1 (Administration): changes-policy\n"},
		{[]string{"-delegating", clientARN, "-pcr", "0=" + hexPCR("02")}, exitOK, "WARNING: statement 3 (EnclaveReadsRequests1): other-measurement\n"},
		{nil, exitOK, "0 critical, 1 warnings, 0 notes: nothing here defeats attestation\n"},
	} {
		if code, out, errOut := runArgs(t, policy, append([]string{"policy", "lint", "-"}, tt.args...)...); code != tt.code || !strings.Contains(out, tt.want) || errOut != "" {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, code, out, errOut)
		}
	}
	var findings []keypolicyFinding
	if out := succeeds(t, policy, "policy", "lint", "-json", "-"); json.Unmarshal([]byte(out), &findings) != nil || len(findings) != 1 || findings[0].Code != "enclave-role-writes-requests" {
		t.Error(out)
	}
	if out := succeeds(t, policy, "policy", "lint", "-json", "-delegating", clientARN, "-"); out != "[]\n" {
		t.Errorf("%q", out)
	}
	// What a policy says cannot move the cursor.
	nasty := strings.Replace(policy, `"Administration"`, `"\u001b[2J\u009b"`, 1)
	for _, args := range [][]string{{"policy", "lint", "-untrusted", adminARN, "-"}, {"policy", "show", "-"}} {
		if _, out, _ := runArgs(t, nasty, args...); !strings.Contains(out, ".[2J.") || strings.ContainsAny(out, "\x1b\u009b") {
			t.Errorf("%q", out)
		}
	}
	if code, _, errOut := runArgs(t, strings.Repeat(" ", keypolicy.MaxSize+1), "policy", "lint", "-"); code != exitUsage || !strings.Contains(errOut, "larger than") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}

// keypolicyFinding is what of a finding in JSON is looked at.
type keypolicyFinding struct{ Code, Severity string }

func TestPolicyShow(t *testing.T) {
	_, policy, _ := runArgs(t, "", "policy", "emit", "-pcr", "old:0="+hexPCR("01"), "-pcr", "new:8="+hexPCR("02"), "-module-id", "m")
	out := succeeds(t, policy, "policy", "show", "-")
	for _, want := range []string{"one of 2 builds", "  old\n    PCR0   " + hexPCR("01"), "  new\n    PCR8   ", `must be "m"`, "at most 5m0s old", "Debug mode is refused", `warning: "new"`} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	out = succeeds(t, `{"any_measurement": true, "allow_debug": true}`, "policy", "show", "-")
	for _, want := range []string{"ANY enclave", "Debug mode is ACCEPTED", "any age"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	key := succeeds(t, "", "policy", "key", "-admin", adminARN, "-client", clientARN, "-pcr", "0="+hexPCR("01"))
	out = succeeds(t, key, "policy", "show", "-")
	for _, want := range []string{"3 statements", "2. ClientsWriteRequests\n  allows " + clientARN + "\n  to use kms:Encrypt\n  if kms:EncryptionContext:direction (StringEquals)\n      request\n", hexPCR("01")} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	deny := `{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "NotPrincipal": {"Service": "x.amazonaws.com"}, "NotAction": "kms:Get*", "NotResource": "arn:x"}}`
	out = succeeds(t, deny, "policy", "show", "-")
	if want := "  DENIES all but Service x.amazonaws.com\n  to use everything but kms:Get*\n  on everything but arn:x\n"; !strings.Contains(out, want) {
		t.Errorf("without %q:\n%s", want, out)
	}
	for _, bad := range []string{"", "{}", `{"Statement": 1}`, "x"} {
		if code, out, errOut := runArgs(t, bad, "policy", "show", "-"); code != exitFailed || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", bad, code, out, errOut)
		}
	}
}

// TestWriteWhole: a failure leaves what was there, and nothing besides.
func TestWriteWhole(t *testing.T) {
	path := tempFile(t, "x", "before")
	err := writeWhole(path, 0o644, func(f *os.File) error {
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		return os.ErrInvalid
	})
	data, readErr := os.ReadFile(path)
	entries, dirErr := os.ReadDir(filepath.Dir(path))
	if !errors.Is(err, os.ErrInvalid) || string(data) != "before" || readErr != nil || len(entries) != 1 || dirErr != nil {
		t.Errorf("%v, %q, %v, %v, %v", err, data, readErr, entries, dirErr)
	}
	if err := writeOut(path, []byte("after"), nil); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); string(data) != "after" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	var out bytes.Buffer
	if err := writeOut("", []byte("x"), &out); err != nil || out.String() != "x" {
		t.Errorf("%v, %q", err, &out)
	}
}
