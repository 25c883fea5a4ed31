package uitest

import (
	"context"
	"iter"
	"sync"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// piece is one step of an answer. A gate waits until the test releases it.
type piece struct {
	text string
	gate bool
	err  error
}

// receipt is what the page gets as a receipt: all byte values, so that the
// test sees whether it arrives whole.
var receipt = func() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// asker is a scripted ask.Asker.
type asker struct {
	gates     chan struct{} // a release of one gate each
	cancelled chan string   // questions whose answer was stopped

	mu          sync.Mutex
	attestation func() (*ask.Attestation, error)
	verified    int
	asked       []ask.Question
	attempts    map[string]int
}

func newAsker() *asker {
	return &asker{
		gates: make(chan struct{}), cancelled: make(chan string, 16), attempts: map[string]int{},
	}
}

// Attestation does what the state that was set last says.
func (a *asker) Attestation(context.Context) (*ask.Attestation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.verified++
	return a.attestation()
}

// Ask answers by the script of the last message.
func (a *asker) Ask(ctx context.Context, q ask.Question) iter.Seq2[ask.Chunk, error] {
	return func(yield func(ask.Chunk, error) bool) {
		question := q.Messages[len(q.Messages)-1].Content
		a.mu.Lock()
		a.asked = append(a.asked, q)
		attempt := a.attempts[question]
		a.attempts[question]++
		a.mu.Unlock()

		tokens := 0
		for _, p := range script(question, attempt) {
			if p.gate {
				select {
				case <-a.gates:
				case <-ctx.Done():
					a.cancelled <- question
					yield(ask.Chunk{}, ctx.Err())
					return
				}
			}
			if p.err != nil {
				yield(ask.Chunk{}, p.err)
				return
			}
			tokens++
			if !yield(ask.Chunk{Chunk: inference.Chunk{Text: p.text}}, nil) {
				a.cancelled <- question
				return
			}
		}
		last := ask.Chunk{Chunk: inference.Chunk{
			FinishReason: inference.FinishStop,
			Usage:        &inference.Usage{PromptTokens: 12, GeneratedTokens: tokens},
		}}
		if question == "long" {
			last.FinishReason = inference.FinishLength
		}
		if q.Receipt {
			last.Receipt = receipt
		}
		yield(last, nil)
	}
}

// hostile is what a forged or misled answer could hold.
const hostile = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>` +
	`<a href="javascript:window.hacked=1">link</a> [link](javascript:window.hacked=1) <style>body{display:none}</style> &amp; &lt;`

// script is the answer to a question, asked for the attempt-th time from 0.
func script(question string, attempt int) []piece {
	switch question {
	case "two pieces":
		return []piece{{text: " The first piece,"}, {gate: true, text: " and the second."}}
	case "forever":
		return []piece{{text: "It begins"}, {gate: true, text: " and goes on"}, {gate: true}}
	case "busy at first":
		if attempt == 0 {
			return []piece{{err: wire.ReasonOverloaded}}
		}
	case "breaks off":
		if attempt == 0 {
			return []piece{{text: "Take two of"}, {gate: true, err: wire.ReasonUnavailable}}
		}
	case "swapped":
		return []piece{{err: attest.ErrSignature}}
	case "hostile":
		return []piece{{text: hostile[:30]}, {text: hostile[30:]}, {text: "\n```html\n" + hostile + "\n```\n"}}
	case "code":
		return []piece{{text: "Two lines\nof text, and\n\na new paragraph:\n```go\nfunc f() {\n\treturn\n}\n``"}, {gate: true, text: "`\nThe end."}}
	case "silence":
		return nil
	case "long":
		pieces := []piece{{text: "A very long word: "}}
		for range 40 {
			pieces = append(pieces, piece{text: "pneumonoultramicroscopicsilicovolcanoconiosis"})
		}
		return append(pieces, piece{text: "\n```\n" + "a line of code that is wider than every screen that it will be shown on, by far, and does not wrap\n```\n"})
	case "What is my deductible?":
		return []piece{{text: " Your individual deductible is"}, {text: " $1,500 a year in network. For a family it is $3,000."}}
	case "Does it count for prescriptions, too?":
		return []piece{{text: " No. Prescriptions have copays of their own, which do not count towards the deductible."}}
	}
	return []piece{{text: "The answer to: "}, {text: question}}
}
