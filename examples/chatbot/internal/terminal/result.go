package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// result is the line of JSON for an answer.
type result struct {
	Answer           string                 `json:"answer"`
	FinishReason     inference.FinishReason `json:"finish_reason"`
	PromptTokens     int                    `json:"prompt_tokens"`
	CompletionTokens int                    `json:"completion_tokens"`
	CachedTokens     int                    `json:"cached_tokens"`
	Model            string                 `json:"model"`
	ModelDigest      string                 `json:"model_digest"` // SHA-256 of the model file
	PCR0             string                 `json:"pcr0"`
	Simulated        bool                   `json:"simulated"`
	Receipt          string                 `json:"receipt,omitempty"` // the file it is in
}

// failure is the line of JSON for a question without an answer.
type failure struct {
	Error failureBody `json:"error"`
}

type failureBody struct {
	// Code is a wire.Reason, or empty for failures that have none.
	Code     wire.Reason `json:"code,omitempty"`
	Message  string      `json:"message"`
	ExitCode int         `json:"exit_code"`
}

func newResult(a answer, att *ask.Attestation, receipt string) result {
	return result{
		Answer: strings.TrimSpace(a.text), FinishReason: a.reason,
		PromptTokens: a.usage.PromptTokens, CompletionTokens: a.usage.GeneratedTokens, CachedTokens: a.usage.CachedTokens,
		Model: att.Model.Name, ModelDigest: att.Model.Digest, PCR0: pcr0(att), Simulated: att.Simulated,
		Receipt: receipt,
	}
}

func newFailure(err error) failure {
	what, _ := explain(err)
	return failure{failureBody{Code: reason(err), Message: what, ExitCode: ExitCode(err)}}
}

// writeJSON writes v as one line, in which what a terminal would obey is
// escaped.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var line strings.Builder
	for _, r := range b.String() {
		if obeyed(r) {
			fmt.Fprintf(&line, `\u%04x`, r) // all of them are below U+10000
		} else {
			line.WriteRune(r)
		}
	}
	_, err := io.WriteString(w, line.String())
	return err
}

// finished says why an answer is not a whole one, or nothing.
func finished(a answer, maxTokens int) string {
	if maxTokens == 0 {
		maxTokens = inference.DefaultMaxTokens
	}
	switch {
	case a.reason == inference.FinishLength && a.usage.GeneratedTokens < maxTokens:
		return fmt.Sprintf("(the answer was cut here, after %d tokens: there is no more space. A shorter question or conversation leaves more)", a.usage.GeneratedTokens)
	case a.reason == inference.FinishLength:
		return fmt.Sprintf("(the answer was cut here, at the limit of %d tokens: -max-tokens sets another)", a.usage.GeneratedTokens)
	}
	return ""
}

// tokens counts for those who want to know.
func tokens(u inference.Usage) string {
	return fmt.Sprintf("(%d tokens of prompt, %d of them known from before; %d of answer)", u.PromptTokens, u.CachedTokens, u.GeneratedTokens)
}
