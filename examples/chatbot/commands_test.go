package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func runArgs(t *testing.T, stdin string, args ...string) (code int, out, err string) {
	t.Helper()
	var o bytes.Buffer
	var e syncBuffer
	code = run(t.Context(), args, streams{strings.NewReader(stdin), &o, &e})
	return code, o.String(), e.String()
}

func TestHelp(t *testing.T) {
	code, out, _ := runArgs(t, "", "-h")
	if code != exitOK {
		t.Errorf("exit status %d", code)
	}
	for _, c := range commands {
		if !strings.Contains(out, c.name) {
			t.Errorf("the help does not tell of %s", c.name)
		}
		code, out, errOut := runArgs(t, "", c.name, "-h")
		if code != exitOK || !strings.HasPrefix(out, "NAME\n    chatbot "+c.name+" - ") || errOut != "" {
			t.Errorf("%s -h: exit status %d, %q, %q", c.name, code, out, errOut)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nothing"}, {"demo", "-none"}, {"demo", "argument"}, {"demo", "-break-pcr"},
		{"client"}, {"client", "-key-arn", "x"}, {"client", "-policy", "p"}, {"client", "-policy", "p", "-key-arn", "x", "-without-kms"},
		{"client", "-policy", "p", "-key-arn", "x", "-q", "x", "-serve", "127.0.0.1:0"}, {"demo", "-keep", "-q", "x"}, {"demo", "-enclaves", "5"},
		{"kms", "-config", "x", "-ca-out", "y", "-plain-listen", "0.0.0.0:1"},
		{"enclave"}, {"kms"}, {"parent", "-egress", "nonsense"}, {"parent", "-egress", "=x"}, {"parent", "-tls-cert", "x"},
	} {
		if code, out, errOut := runArgs(t, "", args...); code != exitUsage || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte(`{"Version":1,"AccessKeyId":"canary"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(dir, "policy")
	if err := os.WriteFile(policy, []byte(`{"measurements":[{"pcrs":{"0":"`+strings.Repeat("ab", 48)+`"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1"
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	for _, args := range [][]string{
		{"client", "-key-arn", arn, "-policy", policy, "-q", "x"},
		{"client", "-key-arn", arn, "-policy", policy, "-credentials", bad, "-q", "x"},
		{"client", "-key-arn", arn, "-policy", policy, "-credentials", filepath.Join(dir, "none"), "-q", "x"},
		{"client", "-key-arn", arn, "-policy", bad, "-q", "x"},
		{"client", "-key-arn", arn, "-policy", policy, "-simulated-roots", bad, "-q", "x"},
		{"kms", "-config", bad, "-ca-out", filepath.Join(dir, "ca")},
		{"kms", "-config", filepath.Join(dir, "none"), "-ca-out", filepath.Join(dir, "ca")},
		{"parent", "-enclave", "nowhere", "-listen", "127.0.0.1:0"},
		{"parent", "-egress", "unix://" + dir + "/s=nohost", "-listen", "127.0.0.1:0"},
		{"enclave", "-key-arn", arn, "-simulate-nsm", bad},
		{"enclave", "-key-arn", arn, "-simulate-nsm", filepath.Join(dir, "none")},
	} {
		code, out, errOut := runArgs(t, "", args...)
		if code != exitFailed || out != "" || !strings.HasPrefix(errOut, "chatbot "+args[0]+": ") || strings.Contains(errOut, "canary") {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}

// Another model file, and one that is not the expected one.
func TestModelFile(t *testing.T) {
	const f16 = "../../inference/llama/testdata/larkfield-bloom-f16.gguf"
	code, out, errOut := runDemoProcess(t, "-model", f16, "-q", "what is my deductible?")
	if code != 0 || strings.TrimSpace(out) != deductible {
		t.Errorf("exit status %d, %q, %q", code, out, errOut)
	}
	code, out, errOut = runDemoProcess(t, "-model", f16, "-model-digest", strings.Repeat("0", 64), "-q", "x")
	if code != exitFailed || out != "" || !strings.Contains(errOut, "digest") {
		t.Errorf("a wrong digest: exit status %d, %q, %q", code, out, errOut)
	}
}
