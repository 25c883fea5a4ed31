package blog_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
)

// missing skips a test for want of a program, or fails it where
// NITROSEAL_REQUIRE_FOREIGN says that everything is installed.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// python finds an interpreter that has boto3: PATH may have one without.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import boto3").Run() == nil {
			return name
		}
	}
	missing(t, "no python3 with boto3 (Debian: python3-boto3)")
	return ""
}

// postClient runs the Python client with lines of questions and returns what it
// printed for each.
func (w *world) postClient(t *testing.T, interpreter string, env []string, questions ...string) []string {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, w.kms.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	var errOut strings.Builder
	cmd := exec.CommandContext(t.Context(), interpreter, "testdata/post_client.py", w.kms.URL(), strings.TrimPrefix(alias, "alias/"), region, w.parent)
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(questions, "\n")+"\n"), &errOut
	cmd.Env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey, "AWS_SESSION_TOKEN="+token,
		"AWS_CA_BUNDLE="+ca, "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true", "PYTHONUTF8=1", "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &errOut)
	}
	pieces := strings.Split(string(out), "Your Question: ")
	// The last prompt is the one that meets the end of the input.
	if len(pieces) != len(questions)+2 || pieces[0] != "Chatbot: Hello! How can I assist you?\n" || pieces[len(pieces)-1] != "" {
		t.Fatalf("printed %q", out)
	}
	printed := pieces[1 : len(pieces)-1]
	for i := range printed {
		printed[i] = strings.TrimSuffix(printed[i], "\n")
	}
	return printed
}

// The post's client, in its own language and with its own libraries.
func TestPostClient(t *testing.T) {
	interpreter := python(t)
	w := newWorld(t, roomy(nil), func(o *blog.ServiceOptions) { o.MaxTokens = 4096 })
	long := strings.Repeat("canary ", 586)[:4096]
	for i, got := range w.postClient(t, interpreter, nil, "What Is My Canary?", "\u00dcber \U0001f642", long) {
		want := []string{
			`{"Results": "You said: what is my canary?"}`,
			`{"Results": "You said: ` + "\u00fcber \U0001f642" + `"}`,
			`{"Results": "You said: ` + long[:4096-len(`{"Results": "You said: "}`)] + `"}`,
		}[i]
		if got != want {
			t.Errorf("question %d: %d bytes, %.80q; want %d", i, len(got), got, len(want))
		}
	}
	// The user may still encrypt, and KMS refuses what this image asks for.
	if err := w.kms.PutKeyPolicy(w.key, w.policy(attest.PCRs{0: attest.PCRFromDigest([48]byte{1})})); err != nil {
		t.Fatal(err)
	}
	if got := w.postClient(t, interpreter, nil, "hello", "hello again"); got[0] != "KMS Error. Decryption Failed." || got[1] != got[0] {
		t.Errorf("with another image in the key policy: %q", got)
	}
	if err := w.kms.PutKeyPolicy(w.key, w.policy(w.pcrs)); err != nil {
		t.Fatal(err)
	}
	w.stillServes("the post's client")
}

// A user with permanent keys has no token: boto3 says None, JSON null. The
// client also posts with Python's own library, where requests is missing.
func TestPostClientWithoutToken(t *testing.T) {
	interpreter := python(t)
	hide := t.TempDir()
	if err := os.WriteFile(filepath.Join(hide, "requests.py"), []byte("raise ImportError\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, roomy(nil), nil)
	if err := w.kms.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKIACANARY", SecretAccessKey: secretKey}); err != nil {
		t.Fatal(err)
	}
	got := w.postClient(t, interpreter, []string{"AWS_ACCESS_KEY_ID=AKIACANARY", "AWS_SESSION_TOKEN=", "PYTHONPATH=" + hide}, "hello")
	if got[0] != `{"Results": "You said: hello"}` {
		t.Errorf("%q", got)
	}
}
