package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// binary is the chatbot, built once for all tests of the pipeline.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chatbot-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "chatbot")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// startCluster runs KMS, parent and enclave as processes.
func startCluster(t *testing.T, edit func(*local.Options)) *local.Cluster {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	image, err := local.Measure(path, bytes.NewReader(model.GGUF))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := demoDir()
	if err != nil {
		t.Fatal(err)
	}
	// One thread: other tests want the cores as well.
	opts := local.Options{Binary: path, Dir: dir, Image: image, EnclaveArgs: []string{"-threads", "1"}}
	if edit != nil {
		edit(&opts)
	}
	c, err := local.Start(t.Context(), opts)
	if err != nil {
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			for _, name := range []string{"kms", "parent", "enclave"} {
				log, _ := os.ReadFile(filepath.Join(dir, name+".log"))
				t.Logf("%s:\n%s", name, log)
			}
		}
		os.RemoveAll(dir)
	})
	return c
}

func newClient(t *testing.T, c *local.Cluster) *chat.Client {
	t.Helper()
	client, err := c.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// ask asks within a deadline that only a hang would miss.
func ask(t *testing.T, c *chat.Client, question string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer, err := c.Ask(ctx, question, chat.Sampling{})
	return strings.TrimSpace(answer.Text), err
}

func mustAsk(t *testing.T, c *chat.Client, question, want string) {
	t.Helper()
	if got, err := ask(t, c, question); err != nil || got != want {
		t.Errorf("%q: %q, %v; want %q", question, got, err, want)
	}
}

// Greedy answers of the embedded model, as the reference implementation gives
// them (model/train/make_oracle.py).
const (
	deductible = "Your individual deductible is $1,500 a year for in-network care."
	joke       = "Sorry, I can only help with Larkfield benefits, pay, leave and IT questions."
	email      = "Thanks, jdoe. If you cannot get into your email, reset your password at reset.larkfield.example, then sign in again. If it still fails, call the help desk at extension 4357."
)

func TestQuestionsAreAnswered(t *testing.T) {
	c := newClient(t, startCluster(t, nil))
	mustAsk(t, c, "I can't access my email, my username is jdoe", email)
	mustAsk(t, c, "what is my deductible?", deductible)
	mustAsk(t, c, "tell me a joke", joke)
}

func TestInputsAtTheLimits(t *testing.T) {
	c := newClient(t, startCluster(t, nil))
	long := func(n int) string {
		return strings.Repeat("i looked on the intranet. ", n/26+1)[:n-22] + "what is my deductible?"
	}
	for _, tt := range []struct {
		name, question string
		want           error // nil: an answer
	}{
		{"3,900 bytes", long(3900), nil},
		{"4,097 bytes", long(4097), wire.ErrTooLong},
		{"empty", "", wire.ErrEmpty},
		{"white space", " \n", wire.ErrEmpty},
		{"not UTF-8", "what is \xff my deductible", wire.ErrNotUTF8},
		{"special tokens as text", "</s><s><pad> what is my deductible?", nil},
	} {
		answer, err := ask(t, c, tt.question)
		if !errors.Is(err, tt.want) || (tt.want == nil && answer == "") {
			t.Errorf("%s: %d bytes of answer, error %v, want %v", tt.name, len(answer), err, tt.want)
		}
	}
	mustAsk(t, c, "what is my deductible?", deductible)
}

func TestFiftyClients(t *testing.T) {
	cluster := startCluster(t, nil)
	questions := []struct{ question, answer string }{
		{"what is my deductible?", deductible},
		{"tell me a joke", joke},
		{"i can't access my email, my username is jdoe", email},
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			client, err := cluster.Client(nil)
			if err != nil {
				t.Error(err)
				return
			}
			q := questions[i%len(questions)]
			mustAsk(t, client, q.question, q.answer)
		})
	}
	wg.Wait()
}

// A key policy with another PCR must make KMS refuse, the client say so, and
// the same enclave answer the next question that is allowed.
func TestWrongPCRIsRefused(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprintf("PCR%d", i), func(t *testing.T) {
			var image attest.PCRs
			cluster := startCluster(t, func(o *local.Options) {
				image = o.Image
				o.ExpectPCRs = maps.Clone(o.Image)
				o.ExpectPCRs[i] = slices.Clone(o.Image[i])
				o.ExpectPCRs[i][47] ^= 0x80
			})
			c := newClient(t, cluster)
			if _, err := ask(t, c, "what is my deductible?"); !errors.Is(err, wire.ReasonKMSDenied) {
				t.Fatalf("got %v, want a refusal by KMS", err)
			}
			if err := cluster.SetKeyPolicy(t.Context(), image); err != nil {
				t.Fatal(err)
			}
			mustAsk(t, c, "what is my deductible?", deductible)
		})
	}
}

func TestKilledEnclave(t *testing.T) {
	cluster := startCluster(t, nil)
	c := newClient(t, cluster)
	mustAsk(t, c, "tell me a joke", joke)
	cluster.KillEnclave()
	if _, err := ask(t, c, "tell me a joke"); !errors.Is(err, wire.ReasonUnavailable) {
		t.Fatalf("with the enclave killed: %v", err)
	}
	if err := cluster.StartEnclave(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c, "what is my deductible?", deductible)
}

// runDemoProcess runs chatbot demo as a user does.
func runDemoProcess(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, append([]string{"demo"}, args...)...)
	cmd.Stdout, cmd.Stderr = &o, &e
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestDemoCommand(t *testing.T) {
	code, out, log := runDemoProcess(t, "-v", "-q", "tell me a joke")
	if code != exitOK || strings.TrimSpace(out) != joke {
		t.Errorf("exit status %d, standard output %q", code, out)
	}
	for n := 1; n <= 7; n++ {
		if !strings.Contains(log, fmt.Sprintf(" %d ", n)) {
			t.Errorf("step %d is not told", n)
		}
	}
	for _, secret := range []string{"joke", "Larkfield benefits"} {
		if strings.Contains(log, secret) {
			t.Errorf("the steps tell %q", secret)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}

func TestBreakPCR(t *testing.T) {
	code, out, log := runDemoProcess(t, "-break-pcr", "-q", "what is my deductible?")
	if code != exitOK || !strings.Contains(log, "AccessDeniedException") || strings.TrimSpace(out) != deductible {
		t.Errorf("exit status %d, output %q, log\n%s", code, out, log)
	}
}

// The client command by itself, against a running pipeline.
func TestClientCommand(t *testing.T) {
	cluster := startCluster(t, nil)
	info, err := cluster.Info()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"client", "-parent", info.ParentURL, "-region", info.Region, "-key-arn", info.KeyARN,
		"-kms-endpoint", info.KMSEndpoint, "-kms-ca", info.KMSCAFile,
		"-credentials", info.CredentialsFile, "-delegate", info.DelegateFile, "-q", "what is my deductible?", "-json"}
	var out, log bytes.Buffer
	if code := run(t.Context(), args, streams{strings.NewReader(""), &out, &log}); code != exitOK {
		t.Fatalf("exit status %d: %s", code, &log)
	}
	var reply struct {
		Answer       string `json:"answer"`
		FinishReason string `json:"finish_reason"`
	}
	if err := json.Unmarshal(out.Bytes(), &reply); err != nil || reply.Answer != deductible || reply.FinishReason != "stop" {
		t.Errorf("%q, %v", &out, err)
	}
}

// demo -keep tells how to reach everything, and cleans up when interrupted.
func TestKeep(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "demo", "-keep")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var info local.Info
	if err := json.NewDecoder(out).Decode(&info); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{info.ParentURL, info.KMSEndpoint, info.KeyARN, info.KeyAlias, info.Region, info.AccessKeyID, info.SecretAccessKey, info.SessionToken} {
		if field == "" {
			t.Errorf("a field is empty: %+v", info.PIDs)
		}
	}
	if code, answer, errOut := runArgs(t, "", "client", "-parent", info.ParentURL, "-key-arn", info.KeyARN, "-kms-endpoint", info.KMSEndpoint, "-kms-ca", info.KMSCAFile,
		"-credentials", info.CredentialsFile, "-delegate", info.DelegateFile, "-q", "tell me a joke"); code != exitOK || answer != joke+"\n" {
		t.Errorf("exit status %d, %q, %q", code, answer, errOut)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(info.KMSCAFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of sockets and keys is left: %v", err)
	}
}
