package openai

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

// refused is a member that is added to a request, and the error for it.
type refused struct{ more, code, param string }

// refusedByBoth are those of chats and completions alike.
var refusedByBoth = []refused{
	{`"n":2`, "unsupported_parameter", "n"},
	{`"n":1.0`, "unsupported_parameter", "n"},
	{`"n":"1"`, "unsupported_parameter", "n"},
	{`"logit_bias":{"50256":-100}`, "unsupported_parameter", "logit_bias"},
	{`"presence_penalty":0.5`, "unsupported_parameter", "presence_penalty"},
	{`"presence_penalty":3`, "invalid_value", "presence_penalty"},
	{`"frequency_penalty":-1`, "unsupported_parameter", "frequency_penalty"},
	{`"frequency_penalty":"0"`, "invalid_value", "frequency_penalty"},
	{`"max_tokens":0`, "invalid_value", "max_tokens"},
	{`"max_tokens":-1`, "invalid_value", "max_tokens"},
	{`"max_tokens":1.5`, "invalid_value", "max_tokens"},
	{`"max_tokens":2147483648`, "invalid_value", "max_tokens"},
	{`"max_tokens":"5"`, "invalid_value", "max_tokens"},
	{`"max_tokens":true`, "invalid_value", "max_tokens"},
	{`"temperature":2.01`, "invalid_value", "temperature"},
	{`"temperature":-0.1`, "invalid_value", "temperature"},
	{`"temperature":1e999`, "invalid_value", "temperature"},
	{`"temperature":"1"`, "invalid_value", "temperature"},
	{`"top_p":1.1`, "invalid_value", "top_p"},
	{`"min_p":-1`, "invalid_value", "min_p"},
	{`"top_k":-1`, "invalid_value", "top_k"},
	{`"repetition_penalty":0`, "invalid_value", "repetition_penalty"},
	{`"repetition_penalty":1e-60`, "invalid_value", "repetition_penalty"},
	{`"seed":-1`, "invalid_value", "seed"},
	{`"seed":4294967296`, "invalid_value", "seed"},
	{`"stop":""`, "invalid_value", "stop"},
	{`"stop":[""]`, "invalid_value", "stop"},
	{`"stop":5`, "invalid_type", "stop"},
	{`"stop":["a",5]`, "invalid_type", "stop"},
	{`"stop":["a",null]`, "invalid_type", "stop"},
	{`"stop":"` + strings.Repeat("x", inference.MaxStopBytes+1) + `"`, "invalid_value", "stop"},
	{`"stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]`, "array_above_max_length", "stop"},
	{`"stream":"true"`, "invalid_type", "stream"},
	{`"stream":1`, "invalid_type", "stream"},
	{`"stream_options":{"include_usage":true}`, "invalid_value", "stream_options"},
	{`"stream":true,"stream_options":[]`, "invalid_type", "stream_options"},
	{`"stream":true,"stream_options":{"include_usage":1}`, "invalid_type", "stream_options.include_usage"},
	{`"stream":true,"stream_options":{"include_obfuscation":true}`, "unsupported_parameter", "stream_options.include_obfuscation"},
	{`"stream":true,"stream_options":{"x":1}`, "unknown_parameter", "stream_options.x"},
	{`"grammar":""`, "invalid_value", "grammar"},
	{`"grammar":"root ::= ("`, "invalid_grammar", "grammar"},
	{`"grammar":"` + strings.Repeat(" ", inference.MaxGrammarBytes+1) + `"`, "invalid_value", "grammar"},
	{`"grammar":{}`, "invalid_type", "grammar"},
	{`"nitroseal":true`, "invalid_type", "nitroseal"},
	{`"nitroseal":{"receipt":"yes"}`, "invalid_type", "nitroseal.receipt"},
	{`"nitroseal":{"x":1}`, "unknown_parameter", "nitroseal.x"},
	{`"x":1`, "unknown_parameter", "x"},
	{`"x":null`, "unknown_parameter", "x"},
	{`"Temperature":1`, "unknown_parameter", "Temperature"},
	{`"input":"hi"`, "unknown_parameter", "input"},
	{`"user":"a","user":"b"`, "invalid_json", "user"},
	{`"model":"another"`, "invalid_json", "model"},
}

func TestRefusedInChats(t *testing.T) {
	table := append([]refused{
		{`"tools":[{"type":"function","function":{"name":"f"}}]`, "unsupported_parameter", "tools"},
		{`"tool_choice":"auto"`, "unsupported_parameter", "tool_choice"},
		{`"functions":[{"name":"f"}]`, "unsupported_parameter", "functions"},
		{`"function_call":"auto"`, "unsupported_parameter", "function_call"},
		{`"modalities":["text","audio"]`, "unsupported_parameter", "modalities"},
		{`"audio":{"voice":"x","format":"wav"}`, "unsupported_parameter", "audio"},
		{`"store":true`, "unsupported_parameter", "store"},
		{`"moderation":{"model":"x"}`, "unsupported_parameter", "moderation"},
		{`"prediction":{"type":"content","content":"x"}`, "unsupported_parameter", "prediction"},
		{`"reasoning_effort":"low"`, "unsupported_parameter", "reasoning_effort"},
		{`"verbosity":"high"`, "unsupported_parameter", "verbosity"},
		{`"web_search_options":{}`, "unsupported_parameter", "web_search_options"},
		{`"best_of":1`, "unknown_parameter", "best_of"},
		{`"prompt":"hi"`, "unknown_parameter", "prompt"},
		{`"max_tokens":5,"max_completion_tokens":6`, "invalid_value", "max_completion_tokens"},
		{`"max_completion_tokens":0`, "invalid_value", "max_completion_tokens"},
		{`"logprobs":1`, "invalid_type", "logprobs"},
		{`"top_logprobs":1`, "invalid_value", "top_logprobs"},
		{`"logprobs":true,"top_logprobs":21`, "invalid_value", "top_logprobs"},
		{`"response_format":"json"`, "invalid_type", "response_format"},
		{`"response_format":{}`, "invalid_value", "response_format.type"},
		{`"response_format":{"type":"xml"}`, "invalid_value", "response_format.type"},
		{`"response_format":{"type":"text","x":1}`, "unknown_parameter", "response_format.x"},
		{`"response_format":{"type":"json_schema"}`, "missing_required_parameter", "response_format.json_schema"},
		{`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`, "invalid_value", "response_format.json_schema.name"},
		{`"response_format":{"type":"json_schema","json_schema":{"name":"a"}}`, "missing_required_parameter", "response_format.json_schema.schema"},
		{`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"nothing"}}}`, "invalid_schema", "response_format.json_schema.schema"},
		{`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{},"x":1}}`, "unknown_parameter", "response_format.json_schema.x"},
		{`"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":1,"schema":{}}}`, "invalid_type", "response_format.json_schema.strict"},
		{`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":"` + strings.Repeat("x", inference.MaxGrammarBytes) + `"}}`, "invalid_value", "response_format.json_schema.schema"},
		{`"grammar":"root ::= \"a\"","response_format":{"type":"json_object"}`, "invalid_value", "grammar"},
	}, refusedByBoth...)
	for _, tt := range table {
		a := hello()
		w := post(a, chatPath, chatBody(","+tt.more))
		check(t, a, w.Code, tt, func() (string, string) { return refusal(t, w) })
	}
}

func TestRefusedInCompletions(t *testing.T) {
	table := append([]refused{
		{`"best_of":2`, "unsupported_parameter", "best_of"},
		{`"echo":true`, "unsupported_parameter", "echo"},
		{`"suffix":"x"`, "unsupported_parameter", "suffix"},
		{`"logprobs":21`, "invalid_value", "logprobs"},
		{`"logprobs":true`, "invalid_value", "logprobs"},
		{`"messages":[]`, "unknown_parameter", "messages"},
		{`"max_completion_tokens":5`, "unknown_parameter", "max_completion_tokens"},
		{`"response_format":{"type":"json_object"}`, "unknown_parameter", "response_format"},
		{`"tools":[]`, "unknown_parameter", "tools"},
		{`"store":false`, "unknown_parameter", "store"},
	}, refusedByBoth...)
	for _, tt := range table {
		a := hello()
		w := post(a, completionPath, completionBody(","+tt.more))
		check(t, a, w.Code, tt, func() (string, string) { return refusal(t, w) })
	}
	for body, want := range map[string]refused{
		`{"model":"m"}`:                           {"", "missing_required_parameter", "prompt"},
		`{"model":"m","prompt":null}`:             {"", "missing_required_parameter", "prompt"},
		`{"prompt":"hi"}`:                         {"", "missing_required_parameter", "model"},
		`{"model":"m","prompt":[]}`:               {"", "unsupported_value", "prompt"},
		`{"model":"m","prompt":["a","b"]}`:        {"", "unsupported_value", "prompt"},
		`{"model":"m","prompt":["a","b","c"]}`:    {"", "unsupported_value", "prompt"},
		`{"model":"m","prompt":[1,2]}`:            {"", "unsupported_value", "prompt"},
		`{"model":"m","prompt":[[1,2]]}`:          {"", "unsupported_value", "prompt"},
		`{"model":"m","prompt":{}}`:               {"", "invalid_type", "prompt"},
		`{"model":"m","prompt":"\ud83d"}`:         {"", "invalid_value", "prompt"},
		`{"model":"m","prompt":"a","best_of":{}}`: {"", "unsupported_parameter", "best_of"},
		`{"model":"m","prompt":"` + strings.Repeat("x", inference.MaxPromptBytes+1) + `"}`: {"", "context_length_exceeded", "prompt"},
	} {
		a := hello()
		w := post(a, completionPath, body)
		want.more = body[:min(len(body), 60)]
		check(t, a, w.Code, want, func() (string, string) { return refusal(t, w) })
	}
}

func check(t *testing.T, a *asker, status int, want refused, got func() (string, string)) {
	t.Helper()
	if status != http.StatusBadRequest {
		t.Errorf("%s: HTTP %d", want.more, status)
		return
	}
	if code, param := got(); code != want.code || param != want.param {
		t.Errorf("%s: %s for %q, want %s for %q", want.more, code, param, want.code, want.param)
	}
	if len(a.questions) > 0 {
		t.Errorf("%s: asked nevertheless", want.more)
	}
}

func TestRefusedMessages(t *testing.T) {
	for messages, want := range map[string]refused{
		`null`:                               {"", "missing_required_parameter", "messages"},
		`[]`:                                 {"", "empty_array", "messages"},
		`"hi"`:                               {"", "invalid_type", "messages"},
		`["hi"]`:                             {"", "invalid_type", "messages[0]"},
		`[{"content":"hi"}]`:                 {"", "missing_required_parameter", "messages[0].role"},
		`[{"role":"user"}]`:                  {"", "missing_required_parameter", "messages[0].content"},
		`[{"role":"user","content":null}]`:   {"", "missing_required_parameter", "messages[0].content"},
		`[{"role":"user","content":5}]`:      {"", "invalid_type", "messages[0].content"},
		`[{"role":"user","content":[]}]`:     {"", "empty_array", "messages[0].content"},
		`[{"role":"user","content":["hi"]}]`: {"", "invalid_type", "messages[0].content[0]"},
		`[{"role":"user","content":[{"text":"hi"}]}]`:                                                                              {"", "missing_required_parameter", "messages[0].content[0].type"},
		`[{"role":"user","content":[{"type":"text"}]}]`:                                                                            {"", "missing_required_parameter", "messages[0].content[0].text"},
		`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]}]`:                    {"", "unsupported_value", "messages[0].content[1].type"},
		`[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]`:                                                    {"", "unsupported_value", "messages[0].content[0].type"},
		`[{"role":"user","content":[{"type":"file","file":{}}]}]`:                                                                  {"", "unsupported_value", "messages[0].content[0].type"},
		`[{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]`:                                                     {"", "unsupported_value", "messages[0].content[0].type"},
		`[{"role":"user","content":[{"type":"text","text":"a","x":1}]}]`:                                                           {"", "unknown_parameter", "messages[0].content[0].x"},
		`[{"role":"user","content":"a","name":"bob"}]`:                                                                             {"", "unsupported_parameter", "messages[0].name"},
		`[{"role":"user","content":"a","x":1}]`:                                                                                    {"", "unknown_parameter", "messages[0].x"},
		`[{"role":"user","content":"a","tool_calls":[]}]`:                                                                          {"", "unknown_parameter", "messages[0].tool_calls"},
		`[{"role":"user","content":"a","content":"b"}]`:                                                                            {"", "invalid_json", "messages[0].content"},
		`[{"role":"user","content":"a \udc00 b"}]`:                                                                                 {"", "invalid_value", "messages[0].content"},
		`[{"role":"tool","content":"a","tool_call_id":"1"}]`:                                                                       {"", "unsupported_value", "messages[0].role"},
		`[{"role":"function","content":"a","name":"f"}]`:                                                                           {"", "unsupported_value", "messages[0].role"},
		`[{"role":"boss","content":"a"}]`:                                                                                          {"", "invalid_value", "messages[0].role"},
		`[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]`:                                                          {"", "unsupported_parameter", "messages[0].tool_calls"},
		`[{"role":"assistant","content":"a","refusal":"no"}]`:                                                                      {"", "unsupported_parameter", "messages[0].refusal"},
		`[{"role":"assistant","content":"a","audio":{"id":"1"}}]`:                                                                  {"", "unsupported_parameter", "messages[0].audio"},
		`[{"role":"assistant","content":"a","annotations":[{}]}]`:                                                                  {"", "unsupported_parameter", "messages[0].annotations"},
		`[{"role":"assistant","content":"a","function_call":{"name":"f"}}]`:                                                        {"", "unsupported_parameter", "messages[0].function_call"},
		`[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]`:                                                       {"", "invalid_value", "messages"},
		`[{"role":"user","content":"a"},{"role":"system","content":"b"},{"role":"user","content":"c"}]`:                            {"", "invalid_value", "messages"},
		`[` + strings.Repeat(`{"role":"user","content":"a"},`, inference.MaxMessages) + `{"role":"user","content":"a"}]`:           {"", "array_above_max_length", "messages"},
		`[{"role":"user","content":[` + strings.Repeat(`{"type":"text","text":"a"},`, maxParts) + `{"type":"text","text":"a"}]}]`:  {"", "array_above_max_length", "messages[0].content"},
		`[{"role":"user","content":"` + strings.Repeat("x", inference.MaxPromptBytes) + `"},{"role":"user","content":"one more"}]`: {"", "context_length_exceeded", "messages"},
	} {
		a := hello()
		w := post(a, chatPath, `{"model":"`+modelID+`","messages":`+messages+`}`)
		want.more = messages[:min(len(messages), 80)]
		check(t, a, w.Code, want, func() (string, string) { return refusal(t, w) })
	}
}

func TestRefusedBodies(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":           "",
		"not JSON":          "{",
		"another type":      `["model"]`,
		"null":              "null",
		"two values":        chatBody("") + "{}",
		"bad UTF-8":         chatBody(",\"user\":\"\xff\""),
		"a comma too much":  chatBody(","),
		"NaN":               chatBody(`,"temperature":NaN`),
		"absurdly deep":     chatBody(`,"metadata":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)),
		"a byte order mark": "\ufeff" + chatBody(""),
	} {
		a := hello()
		w := post(a, chatPath, body)
		if code, _ := refusal(t, w); w.Code != http.StatusBadRequest || code != "invalid_json" && code != "invalid_type" || len(a.questions) > 0 {
			t.Errorf("%s: HTTP %d, %s", name, w.Code, code)
		}
	}
}

// An error may name what the client sent, but not all of a long name.
func TestLongNameIsCut(t *testing.T) {
	w := post(hello(), chatPath, chatBody(`,"`+strings.Repeat("é", 1000)+`":1`))
	if code, param := refusal(t, w); code != "unknown_parameter" || len([]rune(param)) != maxName+1 {
		t.Errorf("%s for %d characters", code, len([]rune(param)))
	}
}
