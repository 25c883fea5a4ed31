package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
)

// parseChat reads the body of POST /v1/chat/completions.
func parseChat(body []byte, def defaults) (call, *apiError) {
	c := call{turn: true}
	f := readBody(body)
	c.common(f, def)
	c.maxTokens(f, "max_tokens")
	c.maxTokens(f, "max_completion_tokens")
	c.messages(f)
	c.responseFormat(f)

	q := &c.question
	q.LogProbs = f.flag("logprobs")
	if n, ok := f.integer("top_logprobs", 0, inference.MaxTopLogProbs); ok {
		q.TopLogProbs = int(n)
		if !q.LogProbs {
			f.fail("invalid_value", "top_logprobs", "only with logprobs")
		}
	}

	const noTools = "this model cannot call tools"
	f.only("tools", noTools, "[]")
	f.only("tool_choice", noTools, `"none"`)
	f.only("functions", noTools, "[]")
	f.only("function_call", noTools, `"none"`)
	f.only("modalities", "only text", `["text"]`)
	f.only("audio", "only text")
	f.only("store", "nothing is stored", "false")
	f.only("moderation", "not supported")
	f.only("prediction", "not supported")
	f.only("reasoning_effort", "this model does not reason apart from its answer", `"none"`)
	f.only("verbosity", "not supported", `"medium"`)
	f.only("web_search_options", "the enclave does not reach the web")
	f.ignore("metadata", "safety_identifier", "service_tier", "parallel_tool_calls",
		"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
	if err := f.done(); err != nil {
		return call{}, err
	}
	if err := c.check(); err != nil {
		return call{}, err
	}
	return c, nil
}

// messages reads the conversation.
func (c *call) messages(f *fields) {
	all, ok := f.list("messages", inference.MaxMessages)
	if len(all) == 0 {
		if ok {
			f.fail("empty_array", "messages", "at least one message is needed")
		}
		f.fail("missing_required_parameter", "messages", "messages are needed")
		return
	}
	for i, raw := range all {
		m := readFields(raw, fmt.Sprintf("messages[%d]", i))
		c.question.Messages = append(c.question.Messages, message(m))
		if f.err = m.done(); f.err != nil {
			return
		}
	}
}

// message reads one message.
func message(f *fields) inference.Message {
	var m inference.Message
	role, ok := f.text("role")
	if !ok {
		f.fail("missing_required_parameter", "role", "a role is needed")
	}
	switch role {
	case "system", "developer":
		m.Role = inference.RoleSystem
	case "user":
		m.Role = inference.RoleUser
	case "assistant":
		// The rest is in messages that clients send back as they got them.
		m.Role = inference.RoleAssistant
		f.only("refusal", "not supported")
		f.only("annotations", "not supported", "[]")
		f.only("audio", "only text")
		f.only("tool_calls", "this model cannot call tools", "[]")
		f.only("function_call", "this model cannot call tools")
	case "tool", "function":
		f.fail("unsupported_value", "role", "this model cannot call tools")
	default:
		f.fail("invalid_value", "role", "system, developer, user or assistant is needed")
	}
	f.only("name", "the model is not told names of participants: write them into the content")
	m.Content = content(f)
	return m
}

// maxParts is the most parts of a message's content.
const maxParts = 256

// content reads a string, or a list of parts, which are joined by line ends.
func content(f *fields) string {
	raw, ok := f.take("content")
	if !ok {
		f.fail("missing_required_parameter", "content", "a content is needed")
		return ""
	}
	if raw[0] == '"' {
		s, _ := f.asText(raw, "content")
		return s
	}
	all, ok := f.asList(raw, "content", maxParts)
	if ok && len(all) == 0 {
		f.fail("empty_array", "content", "at least one part is needed")
	}
	var texts []string
	for i, raw := range all {
		p := readFields(raw, fmt.Sprintf("%scontent[%d]", f.path, i))
		kind, ok := p.text("type")
		if !ok {
			p.fail("missing_required_parameter", "type", "a type is needed")
		} else if kind != "text" {
			p.fail("unsupported_value", "type", "only text: the model reads no images, sound or files")
		}
		text, ok := p.text("text")
		if !ok {
			p.fail("missing_required_parameter", "text", "a text is needed")
		}
		texts = append(texts, text)
		p.ignore("prompt_cache_breakpoint")
		if f.err = p.done(); f.err != nil {
			return ""
		}
	}
	return strings.Join(texts, "\n")
}

// responseFormat reads the form that the answer must have.
func (c *call) responseFormat(f *fields) {
	o, ok := f.object("response_format")
	if !ok {
		return
	}
	kind, _ := o.text("type")
	switch kind {
	case "text":
	case "json_object":
		c.question.JSONSchema = `{"type":"object"}`
	case "json_schema":
		if s, ok := o.object("json_schema"); ok {
			c.question.JSONSchema = schema(s)
			o.err = s.done()
		} else {
			o.fail("missing_required_parameter", "json_schema", "a schema is needed")
		}
	default:
		o.fail("invalid_value", "type", "text, json_object or json_schema is needed")
	}
	if f.err = o.done(); f.err == nil && c.question.JSONSchema != "" && c.question.Grammar != "" {
		f.fail("invalid_value", "grammar", "not beside response_format")
	}
}

// schema reads response_format.json_schema. Its name and description say what
// the answer is for; what holds the model to it is the schema alone.
func schema(f *fields) string {
	if name, ok := f.text("name"); !ok || name == "" || len(name) > maxName {
		f.fail("invalid_value", "name", fmt.Sprintf("a name of 1 to %d bytes is needed", maxName))
	}
	f.text("description")
	f.flag("strict")
	raw, ok := f.take("schema")
	if !ok {
		f.fail("missing_required_parameter", "schema", "a schema is needed")
		return ""
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil || compact.Len() > inference.MaxGrammarBytes {
		f.fail("invalid_value", "schema", fmt.Sprintf("%d bytes are the most", inference.MaxGrammarBytes))
		return ""
	}
	if _, err := grammar.FromJSONSchema(compact.Bytes()); err != nil {
		f.fail("invalid_schema", "schema", grammarReason(err))
		return ""
	}
	return compact.String()
}
