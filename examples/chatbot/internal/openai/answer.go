package openai

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// errIncomplete is an Asker's breach of its contract, taken as a failure.
var errIncomplete = errors.New("openai: the answer ended without a reason")

// response is both a whole answer and a chunk of a stream.
type response struct {
	ID          string   `json:"id"`
	Object      string   `json:"object"`
	Created     int64    `json:"created"`
	Model       string   `json:"model"`
	Fingerprint string   `json:"system_fingerprint"`
	Choices     []any    `json:"choices"`
	Usage       any      `json:"usage,omitempty"` // *usage, or json null in the chunks before the one with it
	Seal        *sealing `json:"nitroseal,omitempty"`
}

// sealing is the extension of a response.
type sealing struct {
	Receipt []byte `json:"receipt"`
}

type usage struct {
	PromptTokens     int           `json:"prompt_tokens"`
	CompletionTokens int           `json:"completion_tokens"`
	TotalTokens      int           `json:"total_tokens"`
	PromptDetails    promptDetails `json:"prompt_tokens_details"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

// ending is the last chunk of an answer, in this API's terms.
type ending struct {
	finish string
	usage  *usage
	seal   *sealing
}

// endingOf expects a chunk with a FinishReason.
func endingOf(c ask.Chunk) (ending, error) {
	if c.Usage == nil {
		return ending{}, errIncomplete
	}
	e := ending{finish: "length", usage: &usage{
		PromptTokens:     c.Usage.PromptTokens,
		CompletionTokens: c.Usage.GeneratedTokens,
		TotalTokens:      c.Usage.PromptTokens + c.Usage.GeneratedTokens,
		PromptDetails:    promptDetails{CachedTokens: c.Usage.CachedTokens},
	}}
	// Any other reason means that there could have been more.
	if c.FinishReason == inference.FinishStop || c.FinishReason == inference.FinishStopString {
		e.finish = "stop"
	}
	if len(c.Receipt) > 0 {
		e.seal = &sealing{Receipt: c.Receipt}
	}
	return e, nil
}

// answer asks, and writes the answer. An error was not yet told to the client.
func (h *handler) answer(ctx context.Context, x *exchange, c *call, form presenter) error {
	att, err := h.opts.Asker.Attestation(ctx)
	if err != nil {
		return err
	}
	id := h.modelID(att)
	if c.model != id {
		x.fail(modelNotFound())
		return nil
	}
	prefix, whole, chunk := form.names()
	r := response{ID: newID(prefix), Object: whole, Created: time.Now().Unix(), Model: id, Fingerprint: fingerprint(att)}
	if c.stream {
		r.Object = chunk
		return h.stream(ctx, x, c, form, r)
	}
	return h.whole(ctx, x, c, form, r)
}

// ask asks. Models begin a turn with a space, or a line, that nobody has written.
func (h *handler) ask(ctx context.Context, c *call) iter.Seq2[ask.Chunk, error] {
	answer := h.opts.Asker.Ask(ctx, c.question)
	if !c.turn {
		return answer
	}
	return func(yield func(ask.Chunk, error) bool) {
		begun := false
		for chunk, err := range answer {
			if !begun {
				chunk.Text = strings.TrimLeft(chunk.Text, " \n")
				begun = chunk.Text != ""
			}
			if !yield(chunk, err) {
				return
			}
		}
	}
}

// whole answers with one response. A chunk after the last one does not belong
// to the answer, and an error after it means that the answer is not to be used.
func (h *handler) whole(ctx context.Context, x *exchange, c *call, form presenter, r response) error {
	var text strings.Builder
	var probs []inference.TokenLogProbs
	var end *ending
	for chunk, err := range h.ask(ctx, c) {
		if err != nil {
			return err
		}
		if end != nil {
			return errIncomplete
		}
		text.WriteString(chunk.Text)
		probs = append(probs, chunk.LogProbs...)
		if chunk.FinishReason != "" {
			e, err := endingOf(chunk)
			if err != nil {
				return err
			}
			end = &e
		}
	}
	if end == nil {
		return errIncomplete
	}
	x.counts = end.usage
	r.Choices, r.Usage, r.Seal = []any{form.whole(text.String(), probs, end.finish)}, end.usage, end.seal
	return x.json(r)
}

// stream answers with one event for each piece of the answer. Nothing is sent
// before the first piece, so that an error until then has its own status.
func (h *handler) stream(ctx context.Context, x *exchange, c *call, form presenter, r response) error {
	x.stream = sse{w: x.w, timeout: h.opts.WriteTimeout}
	if c.includeUsage {
		r.Usage = json.RawMessage("null")
	}
	send := func(choice any) error {
		if choice == nil {
			return nil
		}
		r.Choices = []any{choice}
		return x.stream.send(r)
	}
	var end *ending
	for chunk, err := range h.ask(ctx, c) {
		if err != nil {
			return err
		}
		if end != nil {
			return errIncomplete
		}
		if !x.started {
			x.started = true
			x.stream.begin()
			if err := send(form.first()); err != nil {
				return err
			}
		}
		if chunk.Text != "" || len(chunk.LogProbs) > 0 {
			if err := send(form.piece(chunk.Text, chunk.LogProbs)); err != nil {
				return err
			}
		}
		if chunk.FinishReason != "" {
			e, err := endingOf(chunk)
			if err != nil {
				return err
			}
			end = &e
		}
	}
	if end == nil {
		return errIncomplete
	}
	x.counts = end.usage
	r.Seal = end.seal
	if err := send(form.last(end.finish)); err != nil {
		return err
	}
	if c.includeUsage {
		r.Choices, r.Usage, r.Seal = []any{}, end.usage, nil
		if err := x.stream.send(r); err != nil {
			return err
		}
	}
	return x.stream.done()
}

// json sends v as the whole response.
func (x *exchange) json(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	x.w.Header().Set("Content-Type", "application/json")
	if _, err := x.w.Write(body); err != nil {
		return errClientGone
	}
	return nil
}

func modelNotFound() *apiError {
	return &apiError{status: http.StatusNotFound, kind: typeRequest, code: "model_not_found", param: "model", message: "there is no such model: see /v1/models"}
}
