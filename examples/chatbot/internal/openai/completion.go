package openai

import (
	"github.com/nitroseal/nitroseal/inference"
)

// defaultCompletion is how many tokens a completion gets that names no number,
// as in OpenAI's API.
const defaultCompletion = 16

// parseCompletion reads the body of POST /v1/completions.
func parseCompletion(body []byte, def defaults) (call, *apiError) {
	var c call
	f := readBody(body)
	c.common(f, def)
	c.maxTokens(f, "max_tokens")
	q := &c.question
	if q.MaxTokens == 0 {
		q.MaxTokens = defaultCompletion
	}
	c.prompt(f)
	if n, ok := f.integer("logprobs", 0, inference.MaxTopLogProbs); ok {
		q.LogProbs, q.TopLogProbs = true, int(n)
	}
	f.only("best_of", "only one answer at a time", "1")
	f.only("echo", "the prompt is not repeated", "false")
	f.only("suffix", "text cannot be inserted before other text", `""`)
	if err := f.done(); err != nil {
		return call{}, err
	}
	if err := c.check(); err != nil {
		return call{}, err
	}
	return c, nil
}

// prompt reads a string, or a list of one string.
func (c *call) prompt(f *fields) {
	raw, ok := f.take("prompt")
	if !ok {
		f.fail("missing_required_parameter", "prompt", "a prompt is needed")
		return
	}
	if raw[0] == '[' {
		all, ok := f.asList(raw, "prompt", 2)
		if !ok || len(all) != 1 || all[0][0] != '"' {
			f.err = nil
			f.fail("unsupported_value", "prompt", "only one prompt of text, neither several nor tokens")
			return
		}
		raw = all[0]
	}
	c.question.Prompt, _ = f.asText(raw, "prompt")
}
