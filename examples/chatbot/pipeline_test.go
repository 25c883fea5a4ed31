package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference"
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
			for _, name := range []string{"kms", "parent", "enclave", "enclave2"} {
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
	client, err := c.Client(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// asked is a question as a user types it.
func asked(question string) ask.Question {
	return ask.Question{Request: inference.Request{Messages: []inference.Message{{Role: inference.RoleUser, Content: question}}}}
}

// answerOf asks within a deadline that only a hang would miss.
func answerOf(t *testing.T, c *chat.Client, question string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var text strings.Builder
	for chunk, err := range c.Ask(ctx, asked(question)) {
		if err != nil {
			return "", err
		}
		text.WriteString(chunk.Text)
	}
	return strings.TrimSpace(text.String()), nil
}

func mustAsk(t *testing.T, c *chat.Client, question, want string) {
	t.Helper()
	if got, err := answerOf(t, c, question); err != nil || got != want {
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
		// KMS encrypts 4,096 bytes at a time: that is no limit here.
		{"4,097 bytes", long(4097), nil},
		{"6,000 bytes", long(6000), nil},
		{"more than the model's context", long(100_000), wire.ReasonPromptTooLong},
		{"more than is taken at all", long(2 << 20), wire.ErrTooLong},
		{"empty", "", wire.ErrEmpty},
		{"white space", " \n", wire.ErrEmpty},
		{"not UTF-8", "what is \xff my deductible", wire.ErrNotUTF8},
		{"special tokens as text", "</s><s><pad> what is my deductible?", nil},
	} {
		answer, err := answerOf(t, c, tt.question)
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
			client, err := cluster.Client(nil, nil)
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
				o.ExpectPCRs = otherPCR(o.Image, i)
			})
			c := newClient(t, cluster)
			if _, err := answerOf(t, c, "what is my deductible?"); !errors.Is(err, wire.ReasonKMSDenied) {
				t.Fatalf("got %v, want a refusal by KMS", err)
			}
			if err := cluster.SetKeyPolicy(t.Context(), image); err != nil {
				t.Fatal(err)
			}
			mustAsk(t, c, "what is my deductible?", deductible)
		})
	}
}

// otherPCR is pcrs with one bit of one register changed.
func otherPCR(pcrs attest.PCRs, i int) attest.PCRs {
	other := maps.Clone(pcrs)
	other[i] = slices.Clone(pcrs[i])
	other[i][47] ^= 0x80
	return other
}

// A client sends nothing to an enclave that does not meet its own policy,
// whatever the key policy says.
func TestClientRefusesEnclave(t *testing.T) {
	cluster := startCluster(t, nil)
	for name, tt := range map[string]struct {
		edit func(*chat.Options)
		want error
	}{
		"another image": {func(o *chat.Options) {
			o.Enclave.Policy.Measurements = []attest.Measurement{{PCRs: otherPCR(o.Enclave.Policy.Measurements[0].PCRs, 0)}}
		}, attest.ErrPolicy},
		"no policy":       {func(o *chat.Options) { o.Enclave.Policy = attest.Policy{} }, attest.ErrPolicy},
		"AWS's root":      {func(o *chat.Options) { o.Enclave.Roots = nil }, attest.ErrUntrusted},
		"another model":   {func(o *chat.Options) { o.ModelDigest = strings.Repeat("0", 64) }, chat.ErrModel},
		"another KMS key": {func(o *chat.Options) { o.Sign.KeyID += "0" }, chat.ErrKey},
		"another model in PCR16": {func(o *chat.Options) {
			pcrs := maps.Clone(o.Enclave.Policy.Measurements[0].PCRs).Extended(modelPCR, []byte("another"))
			o.Enclave.Policy.Measurements = []attest.Measurement{{PCRs: pcrs}}
		}, attest.ErrPolicy},
	} {
		c, err := cluster.Client(nil, tt.edit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answerOf(t, c, "what is my deductible?"); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	// PCR16 holds the model, so a policy can name it.
	digest, err := hex.DecodeString(model.Digest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Client(nil, func(o *chat.Options) {
		pcrs := maps.Clone(o.Enclave.Policy.Measurements[0].PCRs).Extended(modelPCR, digest)
		o.Enclave.Policy.Measurements = []attest.Measurement{{PCRs: pcrs}}
		o.ModelDigest = model.Digest
	})
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c, "tell me a joke", joke)
}

// Credentials and questions without KMS are taken only by enclaves that were
// told to.
func TestOtherForms(t *testing.T) {
	forms := map[string]func(*chat.Options){
		"credentials": func(o *chat.Options) { o.SendCredentials = o.Sign.Credentials },
		"without KMS": func(o *chat.Options) { o.KMS = nil },
	}
	cluster := startCluster(t, nil)
	for name, form := range forms {
		c, err := cluster.Client(nil, form)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answerOf(t, c, "tell me a joke"); !errors.Is(err, wire.ReasonForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cluster = startCluster(t, func(o *local.Options) {
		o.EnclaveArgs = append(o.EnclaveArgs, "-take-credentials", "-without-kms")
	})
	for _, form := range forms {
		c, err := cluster.Client(nil, form)
		if err != nil {
			t.Fatal(err)
		}
		mustAsk(t, c, "tell me a joke", joke)
	}
}

func TestKilledEnclave(t *testing.T) {
	cluster := startCluster(t, nil)
	c := newClient(t, cluster)
	mustAsk(t, c, "tell me a joke", joke)
	cluster.KillEnclave(0)
	if _, err := answerOf(t, c, "tell me a joke"); !errors.Is(err, wire.ReasonUnavailable) {
		t.Fatalf("with the enclave killed: %v", err)
	}
	if err := cluster.StartEnclave(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c, "what is my deductible?", deductible)
	// One that is replaced between two questions has another key.
	cluster.KillEnclave(0)
	if err := cluster.StartEnclave(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := cluster.Client(nil, func(o *chat.Options) { o.RetryElsewhere = true })
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, elsewhere, "what is my deductible?", deductible)
}

// With two enclaves each client's questions go to the one that has its key,
// and to the other when that is gone.
func TestTwoEnclaves(t *testing.T) {
	cluster := startCluster(t, func(o *local.Options) { o.Enclaves = 2 })
	// The parent finds the second enclave when it looks for it again.
	modules := map[string]bool{}
	for range 1000 {
		if len(modules) == 2 {
			break
		}
		c := newClient(t, cluster)
		mustAsk(t, c, "tell me a joke", joke)
		a, err := c.Attestation(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		modules[a.Document.ModuleID] = true
	}
	if len(modules) != 2 {
		t.Errorf("%d enclaves answered", len(modules))
	}
	c := newClient(t, cluster)
	mustAsk(t, c, "tell me a joke", joke)
	cluster.KillEnclave(0)
	// The first question may have been sealed to the one that is gone.
	if _, err := answerOf(t, c, "tell me a joke"); err != nil && !errors.Is(err, wire.ReasonUnavailable) && !errors.Is(err, wire.ReasonKeyUnknown) {
		t.Errorf("with one enclave killed: %v", err)
	}
	mustAsk(t, c, "what is my deductible?", deductible)
}

func TestReceiptOfAnAnswer(t *testing.T) {
	c := newClient(t, startCluster(t, nil))
	q := asked("what is my deductible?")
	q.Receipt = true
	var file []byte
	for chunk, err := range c.Ask(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		file = chunk.Receipt
	}
	r, err := wire.ParseReceiptFile(file)
	if err != nil || strings.TrimSpace(r.Answer) != deductible || r.ModelDigest != model.Digest {
		t.Errorf("%v, %v", r, err)
	}
}

// An enclave that is told to stop finishes the answers under way, and takes no
// more.
func TestEnclaveDrains(t *testing.T) {
	cluster := startCluster(t, nil)
	const askers = 24
	var started, answered, refused atomic.Int32
	half := make(chan struct{})
	var wg sync.WaitGroup
	for range askers {
		c := newClient(t, cluster)
		wg.Go(func() {
			var text strings.Builder
			for chunk, err := range c.Ask(t.Context(), asked("i can't access my email, my username is jdoe")) {
				if err != nil {
					if text.Len() > 0 {
						t.Errorf("an answer was cut after %q: %v", &text, err)
					}
					refused.Add(1)
					return
				}
				if text.Len() == 0 && started.Add(1) == askers/4 {
					close(half)
				}
				text.WriteString(chunk.Text)
			}
			if got := strings.TrimSpace(text.String()); got != email {
				t.Errorf("%q", got)
			}
			answered.Add(1)
		})
	}
	<-half
	cluster.StopEnclave(0)
	wg.Wait()
	t.Logf("%d answered, %d refused", answered.Load(), refused.Load())
	if answered.Load() < askers/4 {
		t.Errorf("%d answers, though %d had begun", answered.Load(), askers/4)
	}
}
