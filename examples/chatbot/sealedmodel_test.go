package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const f16File = "../../inference/llama/testdata/larkfield-bloom-f16.gguf"

// sealFor seals a model with a cluster's KMS, as its owner.
func sealFor(t *testing.T, info local.Info, in, out string) (code int, stdout, stderr string) {
	t.Helper()
	return runArgs(t, "", "model", "seal", "-in", in, "-out", out, "-key-arn", info.SealedKeyARN, "-region", info.Region,
		"-kms-endpoint", info.KMSTLSEndpoint, "-kms-ca", info.KMSCAFile, "-credentials", info.CredentialsFile)
}

// startSealedEnclave starts an enclave in the place of the cluster's. It returns
// what the enclave says when it serves, or else why it does not.
func startSealedEnclave(t *testing.T, info local.Info, args ...string) (ready local.EnclaveReady, refusal string) {
	t.Helper()
	next := startEnclaveProcess(t, info, args...)
	return next()
}

// startEnclaveProcess starts an enclave in the place of the cluster's. The
// result returns the next line with which it says that it serves, or why it has
// ended.
func startEnclaveProcess(t *testing.T, info local.Info, args ...string) (next func() (ready local.EnclaveReady, refusal string)) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(info.KMSCAFile)
	all := append([]string{"enclave", "-supervised", "-listen", "unix://" + dir + "/enclave.sock", "-simulate-nsm", dir + "/nsm-ca.pem",
		"-region", info.Region, "-key-arn", info.SealedKeyARN, "-kms-endpoint", info.KMSTLSEndpoint, "-kms-ca", info.KMSCAFile,
		"-egress", strings.TrimPrefix(info.KMSTLSEndpoint, "https://") + "=unix://" + dir + "/kms.sock", "-threads", "1"}, args...)
	cmd := exec.CommandContext(t.Context(), path, all...)
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewReader(out)
	return func() (ready local.EnclaveReady, refusal string) {
		t.Helper()
		line, err := lines.ReadBytes('\n')
		if err == nil {
			if err := json.Unmarshal(line, &ready); err != nil {
				t.Fatal(err)
			}
			return ready, ""
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailed {
			t.Errorf("the enclave ended with %v", err)
		}
		return ready, log.String()
	}
}

// The way of a sealed model: its owner seals it, the parent passes it on, the
// enclave opens it by attestation and answers with it. Whatever is wrong keeps
// the enclave from starting, and it says what.
func TestSealedModel(t *testing.T) {
	cluster := startCluster(t, nil)
	info := cluster.Info()
	dir := filepath.Dir(info.KMSCAFile) // short, for sockets
	sealed := filepath.Join(dir, "model.sealed")
	code, out, errOut := sealFor(t, info, f16File, sealed)
	digest, _, _ := strings.Cut(out, " ")
	if code != exitOK || out != digest+"  "+sealed+"\n" || !isSHA256(digest) || !strings.Contains(errOut, "-model-digest "+digest) {
		t.Fatalf("exit status %d, %q, %q", code, out, errOut)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	image, err := local.Measure(path, strings.NewReader(digest))
	if err != nil {
		t.Fatal(err)
	}
	cluster.KillEnclave(0)
	args := func(model string) []string {
		return []string{"-sealed-model", model, "-sealed-model-credentials", info.CredentialsFile, "-model-digest", digest}
	}

	// The key policy names the image with the embedded model until now.
	_, refusal := startSealedEnclave(t, info, args(sealed)...)
	for _, want := range []string{"KMS does not release the key of this model to this enclave", "AccessDenied", image[0].String()} {
		if !strings.Contains(refusal, want) {
			t.Errorf("a wrong PCR0: %q does not tell %q", refusal, want)
		}
	}
	if err := cluster.SetKeyPolicy(t.Context(), image); err != nil {
		t.Fatal(err)
	}

	whole, err := os.ReadFile(sealed)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	none := strings.Repeat("0", 64)
	credentials := func(file string) []string {
		return []string{"-sealed-model", sealed, "-sealed-model-credentials", file, "-model-digest", digest}
	}
	for name, tt := range map[string]struct {
		content []byte // of the sealed model's file, unless nil
		args    []string
		want    string
	}{
		"flipped bit":     {flipped, args(dir + "/bad"), "not authentic"},
		"cut short":       {whole[:len(whole)-1], args(dir + "/bad"), "not authentic"},
		"plain model":     {[]byte("GGUF no sealed stream at all"), args(dir + "/bad"), "no sealed stream"},
		"no such file":    {nil, args(dir + "/none"), "no such file"},
		"nobody there":    {nil, args("unix://" + dir + "/none"), "sealed model: "},
		"another digest":  {nil, []string{"-sealed-model", sealed, "-sealed-model-credentials", info.CredentialsFile, "-model-digest", none}, "it is not the model of -model-digest"},
		"no credentials":  {nil, credentials(dir + "/none"), "credentials for the sealed model"},
		"bad credentials": {nil, credentials(sealed), "is no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.content != nil {
				if err := os.WriteFile(dir+"/bad", tt.content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, refusal := startSealedEnclave(t, info, tt.args...); !strings.Contains(refusal, tt.want) || strings.Contains(refusal, info.SecretAccessKey) {
				t.Errorf("%q does not tell %q", refusal, tt.want)
			}
		})
	}

	// The parent has the file, the enclave only what it receives.
	startParent(t, "-offer", "unix://"+dir+"/model.sock="+sealed, "-offer", "unix://"+dir+"/creds.sock="+info.CredentialsFile)
	ready, refusal := startSealedEnclave(t, info, "-sealed-model", "unix://"+dir+"/model.sock", "-sealed-model-credentials", "unix://"+dir+"/creds.sock",
		"-model-digest", strings.ToUpper(digest))
	if refusal != "" {
		t.Fatal(refusal)
	}
	if got := ready.PCRs[2].String(); got != image[2].String() {
		t.Errorf("PCR2 %s, want %v", got, image[2])
	}
	c, err := cluster.Client(nil, func(o *chat.Options) {
		o.Enclave.Policy.Measurements = []attest.Measurement{{PCRs: image}}
		o.ModelDigest = digest
	})
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c, "what is my deductible?", deductible)
	mustAsk(t, c, "tell me a joke", joke)
}

// A model's owner releases it to one verified enclave, which gets no
// credentials at all.
func TestReleasedModel(t *testing.T) {
	cluster := startCluster(t, nil)
	info := cluster.Info()
	dir := filepath.Dir(info.KMSCAFile)
	sealed := filepath.Join(dir, "model.sealed")
	code, out, errOut := sealFor(t, info, f16File, sealed)
	digest, _, _ := strings.Cut(out, " ")
	if code != exitOK {
		t.Fatal(errOut)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	image, err := local.Measure(path, strings.NewReader(digest))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := json.Marshal(attest.Policy{Measurements: []attest.Measurement{{Name: "owner's", PCRs: image}}})
	if err != nil {
		t.Fatal(err)
	}
	policyFile := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policyFile, policy, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cluster.SetKeyPolicy(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	cluster.KillEnclave(0)
	next := startEnclaveProcess(t, info, "-sealed-model", sealed, "-model-digest", digest, "-await-release")
	if ready, refusal := next(); refusal != "" || !ready.AwaitsRelease || ready.Model != "" {
		t.Fatalf("%+v, %s", ready, refusal)
	}
	release := func(policy, credentials string) (int, string) {
		code, _, errOut := runArgs(t, "", "model", "release", "-sealed", sealed, "-parent", info.ParentURL, "-policy", policy,
			"-simulated-roots", info.RootsFile, "-kms-endpoint", info.KMSTLSEndpoint, "-credentials", credentials)
		return code, errOut
	}
	trusting := func(o *chat.Options) {
		o.Enclave.Policy.Measurements = []attest.Measurement{{PCRs: image}}
	}
	early, err := cluster.Client(nil, trusting)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := answerOf(t, early, "tell me a joke"); !errors.Is(err, wire.ReasonNotReady) {
		t.Errorf("a question before the release: %v", err)
	}
	// The demo's own policy is for the embedded model, and the administrator
	// may not have anything decrypted.
	if code, errOut := release(info.PolicyFile, info.CredentialsFile); code == exitOK || !strings.Contains(errOut, "PCR") {
		t.Errorf("another policy: exit status %d, %q", code, errOut)
	}
	if code, errOut := release(policyFile, info.AdminCredentialsFile); code == exitOK || !strings.Contains(errOut, "AccessDenied") {
		t.Errorf("other credentials: exit status %d, %q", code, errOut)
	}
	if code, errOut := release(policyFile, info.CredentialsFile); code != exitOK || !strings.Contains(errOut, digest) {
		t.Fatalf("exit status %d, %q", code, errOut)
	}
	if ready, refusal := next(); refusal != "" || ready.AwaitsRelease || ready.ModelDigest != digest {
		t.Fatalf("%+v, %s", ready, refusal)
	}
	c, err := cluster.Client(nil, func(o *chat.Options) {
		trusting(o)
		o.ModelDigest = digest
	})
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c, "what is my deductible?", deductible)
}

// What cannot be sealed leaves no file.
func TestModelSealFailures(t *testing.T) {
	cluster := startCluster(t, nil)
	info := cluster.Info()
	dir := t.TempDir()
	noModel := filepath.Join(dir, "text")
	if err := os.WriteFile(noModel, []byte("no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := info
	admin.CredentialsFile = info.AdminCredentialsFile
	out := filepath.Join(dir, "out")
	for name, tt := range map[string]struct {
		info     local.Info
		in, want string
	}{
		"no file":                        {info, filepath.Join(dir, "none"), "no such file"},
		"no model":                       {info, noModel, "gguf"},
		"credentials that may not do it": {admin, f16File, "AccessDenied"},
	} {
		code, stdout, stderr := sealFor(t, tt.info, tt.in, out)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit status %d, %q, %q", name, code, stdout, stderr)
		}
	}
	if left, err := filepath.Glob(out + "*"); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

func TestSealedModelUsage(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1"
	sum := strings.Repeat("a", 64)
	for _, args := range [][]string{
		{"model", "seal"},
		{"model", "seal", "-in", "x", "-out", "y"},
		{"model", "seal", "-in", "x", "-key-arn", arn},
		{"enclave", "-key-arn", arn, "-sealed-model", "x"},
		{"enclave", "-key-arn", arn, "-sealed-model", "x", "-model-digest", "12"},
		{"enclave", "-key-arn", arn, "-sealed-model", "x", "-model-digest", sum + sum[:32]},
		{"enclave", "-key-arn", arn, "-sealed-model", "x", "-model-digest", sum, "-model", "y"},
		{"enclave", "-key-arn", arn, "-sealed-model-credentials", "x"},
		{"enclave", "-key-arn", arn, "-await-release"},
		{"enclave", "-key-arn", arn, "-sealed-model", "x", "-model-digest", sum, "-await-release", "-sealed-model-credentials", "x"},
		{"model", "release"}, {"model", "release", "-sealed", "x"},
		{"enclave", "-key-arn", arn, "-sealed-model-key-arn", arn},
		{"parent", "-offer", "nonsense"},
	} {
		if code, out, errOut := runArgs(t, "", args...); code != exitUsage || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
	if code, out, _ := runArgs(t, "", "model", "seal", "-h"); code != exitOK || !strings.HasPrefix(out, "NAME\n    chatbot model seal - ") {
		t.Errorf("help: exit status %d, %q", code, out)
	}
	if code, _, errOut := runArgs(t, "", "parent", "-listen", "127.0.0.1:0", "-offer", "unix://"+t.TempDir()+"/s=/no/such/file"); code != exitFailed || !strings.Contains(errOut, "no such file") {
		t.Errorf("an offer without a file: exit status %d, %q", code, errOut)
	}
}
