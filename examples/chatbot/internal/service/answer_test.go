package service_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// recorder is a model that notes what it is asked.
type recorder struct {
	inference.Model
	mu   sync.Mutex
	seen []inference.Request
}

func (r *recorder) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	r.mu.Lock()
	r.seen = append(r.seen, req)
	r.mu.Unlock()
	return r.Model.Generate(ctx, req)
}

func (r *recorder) last() inference.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[len(r.seen)-1]
}

// digested is a model with a digest, as one from a file has it.
type digested struct{ inference.Model }

func (d digested) Info() inference.Info {
	i := d.Model.Info()
	i.Digest = strings.Repeat("ab", 32)
	return i
}

func echo() inference.Model { return inferencetest.New(inferencetest.Options{}) }

// A question in each form is answered, in as many chunks as the model speaks,
// and nobody else learns anything of it.
func TestAnswers(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: echo()}, takePlain: true, takeCredentials: true})
	for name, f := range map[string]form{"signed": w.signed, "with credentials": w.withCredentials, "plain": plain} {
		const text = " You said: question-canary é"
		a, err := w.ask(payload(question("question-canary é"), f))
		if err != nil || a.text != text || a.chunks != len([]rune(text))+1 {
			t.Errorf("%s: %q in %d chunks, %v", name, a.text, a.chunks, err)
			continue
		}
		if a.last.Text != "" || a.last.FinishReason != inference.FinishStop || a.last.Usage == nil ||
			a.last.Usage.PromptTokens != 17 || a.last.Usage.GeneratedTokens != a.chunks-1 || a.last.Receipt != nil {
			t.Errorf("%s: the last chunk is %+v, %+v", name, a.last.FinishReason, a.last.Usage)
		}
		if a.before == 0 || a.after != 0 || a.err != nil {
			t.Errorf("%s: the payload was not erased: %v", name, a.err)
		}
		w.silent(name)
	}
	log, steps := w.log.String(), w.steps.String()
	if n := strings.Count(log, "msg=ask"); n != 3 || strings.Count(log, `reason=""`) != 3 {
		t.Errorf("%d records: %s", n, log)
	}
	for _, s := range []string{"as the client signed it", "with the client's credentials", "session only, no KMS", "PCR0=" + w.pcrs[0].String()[:12], "28 new tokens (stop)"} {
		if !strings.Contains(steps, s) {
			t.Errorf("no step has %q: %s", s, steps)
		}
	}
}

// Chunks leave while the model still speaks: it says no more than was heard.
func TestStreams(t *testing.T) {
	turn := make(chan struct{})
	m := inferencetest.New(inferencetest.Options{
		Answer: func(string) string { return "abc" },
		Step: func(ctx context.Context) error {
			select {
			case <-turn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	w := newWorld(t, options{Options: service.Options{Model: m}})
	next, stop := iter.Pull2(w.chunks(t.Context(), payload(question("go"), w.signed)))
	defer stop()
	for _, want := range []string{"a", "b", "c"} {
		released := make(chan struct{})
		go func() {
			defer close(released)
			turn <- struct{}{}
		}()
		c, err, ok := next()
		<-released
		if !ok || err != nil || c.Text != want {
			t.Fatalf("%q came where %q was due: %v", c.Text, want, err)
		}
	}
	if c, err, ok := next(); !ok || err != nil || c.FinishReason != inference.FinishStop {
		t.Errorf("the end: %v, %v", c.FinishReason, err)
	}
	if _, _, ok := next(); ok {
		t.Error("something behind the end")
	}
	<-w.ended
}

// Conversations and settings reach the model as they were asked.
func TestRequestReachesModel(t *testing.T) {
	m := &recorder{Model: echo()}
	w := newWorld(t, options{Options: service.Options{Model: m}})
	asked := inference.Request{
		Messages:  []inference.Message{{Role: inference.RoleSystem, Content: "be kind"}, {Role: inference.RoleUser, Content: "hi"}},
		MaxTokens: 30, Temperature: 0.5, TopK: 5, TopP: 0.25, MinP: 0.125, Seed: 9, RepeatPenalty: 1.5, RepeatWindow: 32,
		Stop: []string{"zz"}, JSONSchema: "{}", LogProbs: true, TopLogProbs: 2,
	}
	a, err := w.ask(payload(wire.Question{Request: asked}, w.signed))
	if err != nil || a.text != " You said: hi" {
		t.Fatalf("%q, %v", a.text, err)
	}
	if got := m.last(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", asked) {
		t.Errorf("the model is asked %+v", got)
	}
	next, stop := iter.Pull2(w.chunks(t.Context(), payload(wire.Question{Request: asked}, w.signed)))
	defer stop()
	if c, err, _ := next(); err != nil || len(c.LogProbs) != 1 || len(c.LogProbs[0].Top) != 1 || string(c.LogProbs[0].Bytes) != " " {
		t.Errorf("log-probabilities %+v, %v", c.LogProbs, err)
	}
}

// Questions with the same scope may share work, others not, and without one
// nothing is kept.
func TestCacheScope(t *testing.T) {
	m := &recorder{Model: echo()}
	w := newWorld(t, options{Options: service.Options{Model: m}})
	scopeFor := func(secret byte) string {
		q := question("hi")
		if secret != 0 {
			q.Scope = bytes.Repeat([]byte{secret}, wire.ScopeSize)
		}
		if _, err := w.ask(payload(q, w.signed)); err != nil {
			t.Fatal(err)
		}
		if n := m.last().PublicPrefix; n != 0 {
			t.Errorf("a public prefix of %d bytes", n)
		}
		return m.last().CacheScope
	}
	a, b, again, none := scopeFor(1), scopeFor(2), scopeFor(1), scopeFor(0)
	if a == "" || a != again || a == b || b == "" || none != "" {
		t.Errorf("scopes %q, %q, %q, %q", a, b, again, none)
	}
	if len(a) > inference.MaxCacheScopeBytes {
		t.Errorf("a scope of %d bytes", len(a))
	}
}

// An answer has as many tokens as were asked for, but no more than the enclave
// gives.
func TestMaxTokens(t *testing.T) {
	for _, tt := range []struct{ limit, asked, want int }{
		{0, 0, service.DefaultMaxTokens}, {0, 1 << 20, service.DefaultMaxTokens}, {0, 5, 5}, {10, 0, 10}, {10, 5, 5}, {10, 11, 10},
	} {
		m := &recorder{Model: inferencetest.New(inferencetest.Options{Answer: func(string) string { return strings.Repeat("é", 1000) }})}
		w := newWorld(t, options{Options: service.Options{Model: m, MaxTokens: tt.limit}})
		q := question("hi")
		q.Request.MaxTokens = tt.asked
		a, err := w.ask(payload(q, w.signed))
		if err != nil || len([]rune(a.text)) != tt.want || a.last.FinishReason != inference.FinishLength || m.last().MaxTokens != tt.want {
			t.Errorf("%+v: %d characters, %s, %v", tt, len([]rune(a.text)), a.last.FinishReason, err)
		}
	}
}

// A receipt is about the question as it was asked, and the answer as it was
// given, whatever the enclave made of the settings.
func TestReceipt(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: digested{echo()}, MaxTokens: 20}})
	q := question("hi")
	q.Receipt, q.Request.MaxTokens, q.Scope = true, 1000, make([]byte, wire.ScopeSize)
	a, err := w.ask(payload(q, w.signed))
	if err != nil || a.text != " You said: hi" || a.last.Receipt == nil {
		t.Fatalf("%q, %v", a.text, err)
	}
	f := wire.ReceiptFile{Request: q.Request, Answer: a.text, FinishReason: inference.FinishStop, ModelDigest: strings.Repeat("ab", 32), Receipt: a.last.Receipt}
	if _, err := f.Verify(w.trust()); err != nil {
		t.Error(err)
	}
	f.FinishReason = inference.FinishLength
	if _, err := f.Verify(w.trust()); err == nil {
		t.Error("it is about an answer that was cut, too")
	}
	f.FinishReason, f.Request.MaxTokens = inference.FinishStop, 20
	if _, err := f.Verify(w.trust()); err == nil {
		t.Error("it is about what the enclave made of the question")
	}
	q.Request.MaxTokens = 3
	if a, err = w.ask(payload(q, w.signed)); err != nil || a.last.FinishReason != inference.FinishLength {
		t.Fatalf("%s, %v", a.last.FinishReason, err)
	}
	f = wire.ReceiptFile{Request: q.Request, Answer: a.text, FinishReason: inference.FinishLength, ModelDigest: f.ModelDigest, Receipt: a.last.Receipt}
	if _, err := f.Verify(w.trust()); err != nil {
		t.Errorf("cut at the limit: %v", err)
	}
	f.FinishReason = inference.FinishStop
	if _, err := f.Verify(w.trust()); err == nil {
		t.Error("an answer that was cut passes for a whole one")
	}
	q.Receipt = false
	if a, err := w.ask(payload(q, w.signed)); err != nil || a.last.Receipt != nil {
		t.Errorf("a receipt that nobody asked for: %v", err)
	}
}

// Many at a time get their own answers.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: echo()}, takePlain: true})
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			f := plain
			if i%4 == 0 {
				f = w.signed
			}
			prompt, text := fmt.Sprintf("question %d", i), ""
			for c, err := range w.chunks(t.Context(), payload(question(prompt), f)) {
				if err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
				text += c.Text
			}
			if text != " You said: "+prompt {
				t.Errorf("%d: %q", i, text)
			}
		})
	}
	all.Wait()
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]service.Options{
		"no model": {}, "negative MaxTokens": {Model: echo(), MaxTokens: -1},
	} {
		if s, err := service.New(o); err == nil || s != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// Without a logger, steps, and any form of data it refuses quietly.
	s, err := service.New(service.Options{Model: echo()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := session.Data{Plain: []byte(canary)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "no form", s.Answer(t.Context(), &session.Request{Payload: data}, nil), wire.ReasonForm)
}
