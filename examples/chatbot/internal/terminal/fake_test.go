package terminal

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// A fake is a scripted Asker.
type fake struct {
	mu    sync.Mutex
	asked []ask.Question
	// answer is called for each question; the zero fake repeats it.
	answer func(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool)
	// attest is called for each attestation; nil means one that is good.
	attest func() (*ask.Attestation, error)
}

func (f *fake) Ask(ctx context.Context, q ask.Question) iter.Seq2[ask.Chunk, error] {
	return func(yield func(ask.Chunk, error) bool) {
		f.mu.Lock()
		q.Messages = slices.Clone(q.Messages)
		f.asked = append(f.asked, q)
		f.mu.Unlock()
		if f.answer != nil {
			f.answer(ctx, q, yield)
			return
		}
		say("echo: ", q.Messages[len(q.Messages)-1].Content)(ctx, q, yield)
	}
}

func (f *fake) Attestation(context.Context) (*ask.Attestation, error) {
	if f.attest != nil {
		return f.attest()
	}
	return attestation(), nil
}

// questions are the contents of the messages of each question.
func (f *fake) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, q := range f.asked {
		var one []string
		for _, m := range q.Messages {
			one = append(one, string(m.Role)+"="+m.Content)
		}
		all = append(all, strings.Join(one, "|"))
	}
	return all
}

// say answers with these chunks.
func say(chunks ...string) func(context.Context, ask.Question, func(ask.Chunk, error) bool) {
	return func(_ context.Context, q ask.Question, yield func(ask.Chunk, error) bool) {
		for _, c := range chunks {
			if !yield(ask.Chunk{Chunk: inference.Chunk{Text: c}}, nil) {
				return
			}
		}
		last := ask.Chunk{Chunk: inference.Chunk{
			FinishReason: inference.FinishStop,
			Usage:        &inference.Usage{PromptTokens: 12, CachedTokens: 8, GeneratedTokens: 3},
		}}
		if q.Receipt {
			last.Receipt = []byte("a receipt")
		}
		yield(last, nil)
	}
}

// fail fails after these chunks.
func fail(err error, chunks ...string) func(context.Context, ask.Question, func(ask.Chunk, error) bool) {
	return func(_ context.Context, _ ask.Question, yield func(ask.Chunk, error) bool) {
		for _, c := range chunks {
			if !yield(ask.Chunk{Chunk: inference.Chunk{Text: c}}, nil) {
				return
			}
		}
		yield(ask.Chunk{}, err)
	}
}

// hang says one thing and then nothing until it is cancelled.
func hang(said chan<- struct{}) func(context.Context, ask.Question, func(ask.Chunk, error) bool) {
	return func(ctx context.Context, _ ask.Question, yield func(ask.Chunk, error) bool) {
		if !yield(ask.Chunk{Chunk: inference.Chunk{Text: "well, "}}, nil) {
			return
		}
		if said != nil {
			said <- struct{}{}
		}
		<-ctx.Done()
		yield(ask.Chunk{}, ctx.Err())
	}
}

var day = time.Date(2026, 3, 4, 13, 0, 0, 0, time.UTC)

// attestation is that of an enclave of AWS that meets its policy.
func attestation() *ask.Attestation {
	pcrs := attest.PCRs{
		0: attest.PCR(bytes.Repeat([]byte{0x44}, 48)), 1: attest.PCR(bytes.Repeat([]byte{0x11}, 48)),
		2: attest.PCR(bytes.Repeat([]byte{0x22}, 48)), 5: attest.ZeroPCR(), 16: attest.PCR(bytes.Repeat([]byte{0x16}, 48)),
	}
	return &ask.Attestation{
		Document:    &attest.Document{ModuleID: "i-0-enc0", Timestamp: day, PCRs: pcrs},
		Raw:         make([]byte, 4500),
		Policy:      attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: pcrs[0]}}}},
		Measurement: "v1",
		VerifiedAt:  day,
		Key:         ask.Key{ID: "k1", Suite: "a suite", NotAfter: day.Add(65 * time.Minute)},
		Model:       ask.Model{Name: "larkfield", Digest: strings.Repeat("12", 32), Parameters: 3, MaxTokens: 2048, Engine: "an engine"},
		KMSKey:      "arn:aws:kms:us-east-1:111122223333:key/k",
		Parent:      "http://127.0.0.1:5001",
	}
}

func simulated() *ask.Attestation {
	a := attestation()
	a.Simulated = true
	return a
}

// A run is an Options with buffers, and what came of it.
type run struct {
	Options
	out, err strings.Builder
}

func newRun(f *fake, input string) *run {
	r := &run{}
	r.Options = Options{Asker: f, In: strings.NewReader(input), Out: &r.out, Err: &r.err}
	return r
}

var errTest = errors.New("an error that is in no table")

// A firstWrite tells of the first write.
type firstWrite struct {
	strings.Builder
	once sync.Once
	done chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	defer w.once.Do(func() { close(w.done) })
	return w.Builder.Write(p)
}

// interrupts is a channel with n interrupts in it.
func interrupts(n int) chan os.Signal {
	c := make(chan os.Signal, n)
	for range n {
		c <- os.Interrupt
	}
	return c
}
