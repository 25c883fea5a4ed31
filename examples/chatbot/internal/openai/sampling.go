package openai

import (
	"encoding/json"
	"errors"
	"math"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
)

// call is a parsed request.
type call struct {
	model        string
	question     ask.Question
	stream       bool
	includeUsage bool
	// turn means that the answer is a turn of a conversation, not the
	// continuation of a text: its first space belongs to the prompt's form.
	turn bool
}

// defaults are what a request has that does not say.
type defaults struct {
	temperature float32
	seed        uint32
}

// leastTopP stands for a top_p of 0, which takes the likeliest token alone. In
// inference.Request 0 means all.
const leastTopP = 1e-6

// common reads what chats and completions have both.
func (c *call) common(f *fields, def defaults) {
	q := &c.question
	var ok bool
	if c.model, ok = f.text("model"); !ok {
		f.fail("missing_required_parameter", "model", "a model is needed: see /v1/models")
	}
	c.stream = f.flag("stream")
	if o, ok := f.object("stream_options"); ok {
		c.includeUsage = o.flag("include_usage")
		o.only("include_obfuscation", "there is no padding on the way to this server, which is on the same machine", "false")
		f.err = o.done()
		if !c.stream {
			f.fail("invalid_value", "stream_options", "only with stream")
		}
	}

	q.Temperature, q.Seed = def.temperature, def.seed
	if n, ok := f.number("temperature", 0, 2); ok {
		q.Temperature = float32(n)
	}
	if n, ok := f.number("top_p", 0, 1); ok {
		q.TopP = max(float32(n), leastTopP)
	}
	if n, ok := f.number("min_p", 0, 1); ok {
		q.MinP = float32(n)
	}
	if n, ok := f.integer("top_k", 0, math.MaxInt32); ok {
		q.TopK = int(n)
	}
	if n, ok := f.integer("seed", 0, math.MaxUint32); ok {
		q.Seed = uint32(n)
	}
	if n, ok := f.number("repetition_penalty", 0.01, 10); ok {
		q.RepeatPenalty = float32(n)
	}
	for _, name := range []string{"presence_penalty", "frequency_penalty"} {
		if n, ok := f.number(name, -2, 2); ok && n != 0 {
			f.fail("unsupported_parameter", name, "only 0: see repetition_penalty")
		}
	}
	c.stop(f)
	if text, ok := f.text("grammar"); ok {
		q.Grammar = text
		if text == "" {
			f.fail("invalid_value", "grammar", "empty")
		} else if len(text) <= inference.MaxGrammarBytes { // Validate refuses longer ones
			if _, err := grammar.Parse(text); err != nil {
				f.fail("invalid_grammar", "grammar", grammarReason(err))
			}
		}
	}
	if o, ok := f.object("nitroseal"); ok {
		q.Receipt = o.flag("receipt")
		f.err = o.done()
	}
	f.only("n", "only one answer at a time", "1")
	f.only("logit_bias", "not supported", "{}")
	f.ignore("user")
}

// stop reads the strings that end an answer.
func (c *call) stop(f *fields) {
	raw, ok := f.take("stop")
	if !ok {
		return
	}
	all := []json.RawMessage{raw}
	if raw[0] == '[' {
		all, _ = f.asList(raw, "stop", inference.MaxStopStrings)
	}
	for _, raw := range all {
		s, ok := f.asText(raw, "stop")
		if ok {
			c.question.Stop = append(c.question.Stop, s)
		}
	}
}

// maxTokens reads a limit on the answer. 0 is no limit in inference.Request, so
// it is none here either.
func (c *call) maxTokens(f *fields, name string) {
	n, ok := f.integer(name, 1, math.MaxInt32)
	if !ok {
		return
	}
	if c.question.MaxTokens != 0 && c.question.MaxTokens != int(n) {
		f.fail("invalid_value", name, "max_tokens says another number")
	}
	c.question.MaxTokens = int(n)
}

// params are the names of the fields of inference.Request in this API.
var params = map[string]string{
	"Prompt": "prompt", "Messages": "messages", "MaxTokens": "max_tokens",
	"Stop": "stop", "Grammar": "grammar", "JSONSchema": "response_format",
}

// check is the last step of parsing: what holds for every request to a model.
func (c *call) check() *apiError {
	err := c.question.Validate()
	if err == nil {
		return nil
	}
	var re *inference.RequestError
	if !errors.As(err, &re) {
		return badRequest("invalid_value", "", "the request is not valid")
	}
	code := "invalid_value"
	if errors.Is(err, inference.ErrPromptTooLong) {
		code = "context_length_exceeded"
	}
	param := params[re.Field]
	return badRequest(code, param, param+": "+re.Reason)
}

// grammarReason is what may be told of an error of package grammar: that
// package's own types, which hold no text of the grammar.
func grammarReason(err error) string {
	var syntax *grammar.SyntaxError
	var schema *grammar.SchemaError
	switch {
	case errors.As(err, &syntax):
		return syntax.Error()
	case errors.As(err, &schema):
		return schema.Error()
	}
	return "not valid"
}
