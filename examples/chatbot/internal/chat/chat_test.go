package chat_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

func echo() inference.Model { return inferencetest.New(inferencetest.Options{}) }

func TestAnswers(t *testing.T) {
	w := newWorld(t)
	w.use(w.start(enclave{model: echo()}))
	c := w.client(nil)
	a, err := askAll(t, c, prompt("Canary canary é"))
	if err != nil || a.text != " You said: Canary canary é" || len(a.chunks) != len([]rune(a.text))+1 {
		t.Fatalf("%q in %d chunks, %v", a.text, len(a.chunks), err)
	}
	for i, c := range a.chunks[:len(a.chunks)-1] {
		if c.FinishReason != "" || c.Usage != nil || len([]rune(c.Text)) != 1 || c.Receipt != nil {
			t.Errorf("chunk %d: %+v", i, c)
		}
	}
	if last := a.last(); last.FinishReason != inference.FinishStop || last.Usage.PromptTokens != 15 || last.Usage.GeneratedTokens != len(a.chunks)-1 || last.Receipt != nil {
		t.Errorf("the last chunk: %s, %+v", last.FinishReason, last.Usage)
	}
	if a, err := askAll(t, c, prompt("again")); err != nil || a.text != " You said: again" {
		t.Errorf("%q, %v", a.text, err)
	}
	if n := w.requests(sessionrpc.PathAttest); n != 1 {
		t.Errorf("%d attestations for two questions", n)
	}
	w.silent()
	for _, want := range []string{
		"client   1 attest    document of ", "PCR0=" + w.pcrs[0].String()[:12], "client   2 seal      question of ",
		"under a data key of KMS, with a signed request for one Decrypt", "client   6 answer    27 segments opened",
	} {
		if !strings.Contains(w.steps.String(), want) {
			t.Errorf("no step has %q:\n%s", want, w.steps.String())
		}
	}
	if n := strings.Count(w.steps.String(), "1 attest"); n != 1 {
		t.Errorf("%d steps tell of an attestation", n)
	}
}

// gated is a model that speaks only when it is let.
func gated(release <-chan struct{}, ended chan<- error) inference.Model {
	return inferencetest.New(inferencetest.Options{Step: func(ctx context.Context) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			ended <- ctx.Err()
			return ctx.Err()
		}
	}})
}

// Chunks come while the model still speaks, in order.
func TestStreams(t *testing.T) {
	release := make(chan struct{}, 1)
	w := newWorld(t)
	w.use(w.start(enclave{model: gated(release, nil)}))
	next, stop := iter.Pull2(w.client(nil).Ask(t.Context(), prompt("x")))
	defer stop()
	for _, want := range " You said: x" {
		release <- struct{}{}
		if c, err, ok := next(); !ok || err != nil || c.Text != string(want) {
			t.Fatalf("%q came where %q was due: %v", c.Text, want, err)
		}
	}
	if c, err, ok := next(); !ok || err != nil || c.FinishReason != inference.FinishStop {
		t.Errorf("the end: %s, %v", c.FinishReason, err)
	}
}

// Who leaves, by the loop or the context, ends the model's work; the client is
// good for more.
func TestLeaving(t *testing.T) {
	release, ended := make(chan struct{}, 1), make(chan error, 1)
	w := newWorld(t)
	w.use(w.start(enclave{model: gated(release, ended)}))
	c := w.client(nil)
	for name, leave := range map[string]func(cancel func()) (stop bool){
		"context": func(cancel func()) bool { cancel(); return false },
		"loop":    func(func()) bool { return true },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		release <- struct{}{}
		var failed error
		for _, err := range c.Ask(ctx, prompt(canary)) {
			if failed = err; err == nil && leave(cancel) {
				break
			}
		}
		if name == "context" && !errors.Is(failed, context.Canceled) || name == "loop" && failed != nil {
			t.Errorf("%s: %v", name, failed)
		}
		<-ended
		cancel()
	}
	close(release)
	if a, err := askAll(t, c, prompt("x")); err != nil || a.text != " You said: x" {
		t.Errorf("afterwards: %q, %v", a.text, err)
	}
	w.silent()
}

// A model that knows lower case only is asked in lower case: what the user said,
// and nothing else.
func TestLowercase(t *testing.T) {
	lower := modelInfo
	lower.Lowercase = true
	say := func(role inference.Role, s string) inference.Message {
		return inference.Message{Role: role, Content: s}
	}
	for name, tt := range map[string]struct {
		info      wire.Info
		keep      bool
		ask, want inference.Request
	}{
		"prompt":        {lower, false, inference.Request{Prompt: "ÀB c"}, inference.Request{Prompt: "àb c"}},
		"markers":       {lower, false, inference.Request{Prompt: "Question: WHO?\nAnswer: Me.\nQuestion: WHY\nMORE\nAnswer:"}, inference.Request{Prompt: "Question: who?\nAnswer: Me.\nQuestion: why\nmore\nAnswer:"}},
		"marker inside": {lower, false, inference.Request{Prompt: "My Question: A"}, inference.Request{Prompt: "my question: a"}},
		"messages": {lower, false,
			inference.Request{Messages: []inference.Message{say("system", "Be Kind"), say("user", "Hi"), say("assistant", "Yes"), say("user", "BYE")}},
			inference.Request{Messages: []inference.Message{say("system", "Be Kind"), say("user", "hi"), say("assistant", "Yes"), say("user", "bye")}}},
		"settings":      {lower, false, inference.Request{Prompt: "A", Stop: []string{"B"}, Grammar: "C"}, inference.Request{Prompt: "a", Stop: []string{"B"}, Grammar: "C"}},
		"KeepCase":      {lower, true, inference.Request{Prompt: "A"}, inference.Request{Prompt: "A"}},
		"another model": {modelInfo, false, inference.Request{Prompt: "A"}, inference.Request{Prompt: "A"}},
	} {
		m := &recorder{Model: echo()}
		w := newWorld(t)
		w.use(w.start(enclave{model: m, info: tt.info}))
		asked := fmt.Sprintf("%+v", tt.ask)
		if _, err := askAll(t, w.client(func(o *chat.Options) { o.KeepCase = tt.keep }), ask.Question{Request: tt.ask}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := m.all()[0]
		got.MaxTokens, got.CacheScope = 0, ""
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
			t.Errorf("%s: the model is asked %+v", name, got)
		}
		if fmt.Sprintf("%+v", tt.ask) != asked {
			t.Errorf("%s: the caller's question was changed", name)
		}
	}
}

// The questions of one client share a scope that no other client has, whatever
// the caller says.
func TestScopes(t *testing.T) {
	m := &recorder{Model: echo()}
	lower := modelInfo
	lower.Lowercase = true // which makes the prompt below shorter than its public prefix
	w := newWorld(t)
	w.use(w.start(enclave{model: m, info: lower}))
	c := w.client(nil)
	for _, a := range []ask.Asker{c, c, w.client(nil)} {
		q := prompt("\u212a") // the Kelvin sign is three bytes, its lower case is one
		q.CacheScope, q.PublicPrefix = "mine", 3
		if _, err := askAll(t, a, q); err != nil {
			t.Fatal(err)
		}
	}
	s := m.all()
	if s[0].CacheScope == "" || s[0].CacheScope != s[1].CacheScope || s[0].CacheScope == s[2].CacheScope || s[0].CacheScope == "mine" || s[0].PublicPrefix != 0 {
		t.Errorf("%q, %q, %q", s[0].CacheScope, s[1].CacheScope, s[2].CacheScope)
	}
}

// What is wrong with a question is said before anything is sent.
func TestBadQuestion(t *testing.T) {
	w := newWorld(t)
	info := modelInfo
	info.Lowercase = true // which mends nothing
	w.use(w.start(enclave{model: echo(), info: info}))
	c := w.client(nil)
	for want, q := range map[error]ask.Question{
		wire.ErrEmpty: prompt(" "), wire.ErrNotUTF8: prompt("A\xff"), inference.ErrInvalidRequest: {Request: inference.Request{Prompt: canary, TopK: -1}},
		wire.ErrTooLong: prompt(strings.Repeat("x", inference.MaxPromptBytes+1)),
	} {
		if _, err := askAll(t, c, q); !errors.Is(err, want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%v: %v", want, err)
		}
	}
	if n := w.requests(sessionrpc.PathAsk); n != 0 {
		t.Errorf("%d questions were sent", n)
	}
}

// Other forms than the signed one.
func TestForms(t *testing.T) {
	withoutKMS := func(o *chat.Options) { o.KMS = nil }
	withCredentials := func(o *chat.Options) { o.SendCredentials = creds() }
	w := newWorld(t)
	open, strict := w.start(enclave{model: echo(), takePlain: true, takeCredentials: true}), w.start(enclave{model: echo()})
	for name, edit := range map[string]func(*chat.Options){"without KMS": withoutKMS, "with credentials": withCredentials} {
		w.use(open)
		c := w.client(edit)
		if a, err := askAll(t, c, prompt(canary)); err != nil || a.text != " You said: canary" {
			t.Errorf("%s: %q, %v", name, a.text, err)
		}
		if !strings.Contains(w.steps.String(), name) {
			t.Errorf("%s: not in the steps", name)
		}
		w.use(strict)
		if _, err := askAll(t, w.client(edit), prompt(canary)); !isReason(err, wire.ReasonForm) {
			t.Errorf("%s, which the enclave does not take: %v", name, err)
		}
	}
	w.silent()
	sent := w.requests(sessionrpc.PathAsk)
	broken := errors.New("no credentials")
	c := w.client(func(o *chat.Options) {
		o.SendCredentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, broken })
	})
	if _, err := askAll(t, c, prompt(canary)); !errors.Is(err, broken) || w.requests(sessionrpc.PathAsk) != sent {
		t.Errorf("without credentials: %v", err)
	}
}

func TestAttestation(t *testing.T) {
	info := modelInfo
	info.Lowercase = true
	w := newWorld(t)
	w.use(w.start(enclave{model: echo(), info: info}))
	c := w.client(func(o *chat.Options) { o.Simulated = true })
	a, err := c.Attestation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	model := ask.Model{Name: "tiny", Digest: info.ModelDigest, Parameters: 7, MaxTokens: 4096, Engine: "none", Lowercase: true}
	if a.Measurement != "this year's" || !a.Simulated || a.Parent != w.front.URL || a.KMSKey != w.key || a.Model != model || len(a.Policy.Measurements) != 2 {
		t.Errorf("%+v", a)
	}
	if len(a.Key.ID) != 16 || a.Key.Suite != session.X25519.String() || !a.Key.NotAfter.After(a.VerifiedAt) || a.VerifiedAt.IsZero() {
		t.Errorf("%+v, %v", a.Key, a.VerifiedAt)
	}
	if !a.Document.PCRs[0].Equal(w.pcrs[0]) || len(a.Raw) == 0 {
		t.Error("no document")
	}
	if _, err := attest.Verify(a.Raw, w.trust()); err != nil {
		t.Errorf("the document that is shown: %v", err)
	}
	if again, err := c.Attestation(t.Context()); err != nil || again.Key.ID != a.Key.ID || w.requests(sessionrpc.PathAttest) != 1 {
		t.Errorf("asked for again: %v", err)
	}
	b, err := w.client(func(o *chat.Options) {
		o.KMS = nil
		o.Enclave.Policy = attest.Policy{Measurements: []attest.Measurement{{PCRs: w.pcrs}}}
	}).Attestation(t.Context())
	if err != nil || b.KMSKey != "" || b.Measurement != "" || b.Simulated {
		t.Errorf("%+v, %v", b, err)
	}
	if w.requests(sessionrpc.PathAsk) != 0 {
		t.Error("a question was sent")
	}
}

// Nothing is sent to an enclave that is not the one, or not with the model.
func TestUntrusted(t *testing.T) {
	w := newWorld(t)
	w.use(w.start(enclave{model: echo()}))
	for name, tt := range map[string]struct {
		edit func(*chat.Options)
		want error
	}{
		"no policy":        {func(o *chat.Options) { o.Enclave.Policy = attest.Policy{} }, attest.ErrPolicy},
		"AWS's root":       {func(o *chat.Options) { o.Enclave.Roots = nil }, attest.ErrUntrusted},
		"another build":    {func(o *chat.Options) { o.Enclave.Policy.Measurements = o.Enclave.Policy.Measurements[:1] }, attest.ErrPolicy},
		"another model":    {func(o *chat.Options) { o.ModelDigest = strings.Repeat("ac", 32) }, chat.ErrModel},
		"part of a digest": {func(o *chat.Options) { o.ModelDigest = strings.Repeat("ab", 31) }, chat.ErrModel},
	} {
		c := w.client(tt.edit)
		if _, err := askAll(t, c, prompt(canary)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if a, err := c.Attestation(t.Context()); a != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.requests(sessionrpc.PathAsk); n != 0 {
		t.Errorf("%d questions were sent", n)
	}
	c := w.client(func(o *chat.Options) { o.ModelDigest = strings.Repeat("AB", 32) })
	if _, err := askAll(t, c, prompt("x")); err != nil {
		t.Errorf("the right model: %v", err)
	}
}

// Many askers share a client, and each gets its own answer.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	w.use(w.start(enclave{model: echo(), takePlain: true}))
	c := w.client(func(o *chat.Options) { o.KMS = nil })
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			s, text := fmt.Sprintf("canary %d", i), ""
			for chunk, err := range c.Ask(t.Context(), prompt(s)) {
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
				text += chunk.Text
			}
			if text != " You said: "+s {
				t.Errorf("%d: %q", i, text)
			}
			if _, err := c.Attestation(t.Context()); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := w.requests(sessionrpc.PathAttest); n != 1 {
		t.Errorf("%d attestations", n)
	}
	w.silent()
}

func TestBadOptions(t *testing.T) {
	for _, u := range []string{"", "localhost:5001", "ftp://x", "http://", "https://secret-canary@x", "http://x?y", "http://x#y", "\x00"} {
		if c, err := chat.New(chat.Options{ParentURL: u}); err == nil || c != nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", u, err)
		}
	}
	for _, u := range []string{"https://parent.example", "http://127.0.0.1:5001", "http://[::1]:5001/base"} {
		if _, err := chat.New(chat.Options{ParentURL: u}); err != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
}
