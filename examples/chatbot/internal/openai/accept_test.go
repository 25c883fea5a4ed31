package openai

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// TestHarmless has what clients send that asks for nothing, or for nothing that
// would change the answer.
func TestHarmless(t *testing.T) {
	both := []string{
		`"user":"u-1"`, `"n":1`, `"n":null`, `"logit_bias":{}`, `"logit_bias":null`, `"presence_penalty":0`, `"frequency_penalty":0.0`,
		`"frequency_penalty":-0`, `"stop":null`, `"stop":[]`, `"stream":false`, `"stream_options":null`, `"temperature":null`,
		`"max_tokens":null`, `"seed":null`, `"nitroseal":{}`, `"nitroseal":{"receipt":false}`, `"grammar":null`,
	}
	chats := append([]string{
		`"metadata":{"a":"b"}`, `"store":false`, `"store":null`, `"service_tier":"auto"`, `"service_tier":"flex"`, `"safety_identifier":"s"`,
		`"prompt_cache_key":"k"`, `"prompt_cache_retention":"24h"`, `"prompt_cache_options":{"ttl":"30m"}`, `"parallel_tool_calls":true`,
		`"tools":[]`, `"tools":null`, `"tool_choice":"none"`, `"functions":[ ]`, `"function_call":"none"`, `"modalities":["text"]`,
		`"modalities": [ "text" ]`, `"audio":null`, `"prediction":null`, `"moderation":null`, `"reasoning_effort":"none"`, `"verbosity":"medium"`,
		`"web_search_options":null`, `"response_format":{"type":"text"}`, `"response_format":null`, `"logprobs":false`, `"logprobs":null`,
		`"logprobs":false,"top_logprobs":null`,
	}, both...)
	completions := append([]string{`"best_of":1`, `"best_of":null`, `"echo":false`, `"suffix":null`, `"suffix":""`, `"logprobs":null`}, both...)

	want := ask.Question{Request: inference.Request{Messages: []inference.Message{{Role: inference.RoleUser, Content: "hi"}}}}
	for _, more := range chats {
		harmless(t, chatPath, chatBody(","+more), want)
	}
	want = ask.Question{Request: inference.Request{Prompt: "hi", MaxTokens: defaultCompletion}}
	for _, more := range completions {
		harmless(t, completionPath, completionBody(","+more), want)
	}
}

func harmless(t *testing.T, path, body string, want ask.Question) {
	t.Helper()
	a := hello()
	if w := post(a, path, body); w.Code != http.StatusOK {
		t.Errorf("%s: HTTP %d, %s", body, w.Code, w.Body)
		return
	}
	got := a.asked(t)
	if got.Seed = 0; !reflect.DeepEqual(got, want) { // the seed is drawn
		t.Errorf("%s changes the question", body)
	}
}

func TestSampling(t *testing.T) {
	for _, tt := range []struct {
		more string
		want inference.Request
	}{
		{`"max_tokens":5`, inference.Request{MaxTokens: 5}},
		{`"temperature":0.5,"seed":9`, inference.Request{Temperature: 0.5, Seed: 9}},
		{`"temperature":2,"seed":4294967295`, inference.Request{Temperature: 2, Seed: 4294967295}},
		{`"temperature":0`, inference.Request{}},
		{`"top_p":0.9`, inference.Request{TopP: 0.9}},
		{`"top_p":1`, inference.Request{TopP: 1}},
		// OpenAI's 0 is the likeliest token, and inference's is all.
		{`"top_p":0`, inference.Request{TopP: leastTopP}},
		{`"top_p":1e-60`, inference.Request{TopP: leastTopP}},
		{`"top_k":40,"min_p":0.05,"repetition_penalty":1.25`, inference.Request{TopK: 40, MinP: 0.05, RepeatPenalty: 1.25}},
		{`"stop":"\n"`, inference.Request{Stop: []string{"\n"}}},
		{`"stop":["a","😀"]`, inference.Request{Stop: []string{"a", "😀"}}},
		{`"stop":"\ud83d\ude00\\u"`, inference.Request{Stop: []string{`😀\u`}}},
		{`"grammar":"root ::= \"yes\" | \"no\""`, inference.Request{Grammar: `root ::= "yes" | "no"`}},
	} {
		a := hello()
		if w := post(a, chatPath, chatBody(","+tt.more)); w.Code != http.StatusOK {
			t.Errorf("%s: HTTP %d, %s", tt.more, w.Code, w.Body)
			continue
		}
		got := a.asked(t)
		if tt.want.Seed == 0 {
			got.Seed = 0
		}
		tt.want.Messages = got.Messages
		if !reflect.DeepEqual(got.Request, tt.want) {
			t.Errorf("%s: %+v", tt.more, got.Request)
		}
	}
}

func TestDefaults(t *testing.T) {
	a := hello()
	opts := Options{Asker: a, Temperature: 0.75}
	seeds := map[uint32]bool{}
	for range 4 {
		serve(opts, request(http.MethodPost, chatPath, chatBody("")))
	}
	for _, q := range a.questions {
		if seeds[q.Seed] = true; q.Temperature != 0.75 {
			t.Errorf("temperature %g", q.Temperature)
		}
	}
	if len(a.questions) != 4 || len(seeds) < 2 {
		t.Errorf("%d questions, %d seeds", len(a.questions), len(seeds))
	}
}

func TestMessages(t *testing.T) {
	a := hello()
	w := post(a, chatPath, `{"model":"`+modelID+`","max_completion_tokens":9,"max_tokens":9,"logprobs":true,"top_logprobs":2,"nitroseal":{"receipt":true},"messages":[
		{"role":"system","content":"be brief"},
		{"role":"developer","content":[{"type":"text","text":"be"},{"type":"text","text":"kind","prompt_cache_breakpoint":{"mode":"explicit"}}]},
		{"role":"user","content":"<|im_end|> é","name":null},
		{"content":"Hello","role":"assistant","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null},
		{"role":"user","content":""}]}`)
	if w.Code != http.StatusOK {
		t.Fatalf("HTTP %d, %s", w.Code, w.Body)
	}
	got := a.asked(t)
	got.Seed = 0
	want := ask.Question{Receipt: true, Request: inference.Request{
		MaxTokens: 9, LogProbs: true, TopLogProbs: 2,
		Messages: []inference.Message{
			{Role: inference.RoleSystem, Content: "be brief"},
			{Role: inference.RoleSystem, Content: "be\nkind"},
			{Role: inference.RoleUser, Content: "<|im_end|> é"},
			{Role: inference.RoleAssistant, Content: "Hello"},
			{Role: inference.RoleUser, Content: ""},
		},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("asked %+v", got)
	}
}

func TestResponseFormat(t *testing.T) {
	for more, want := range map[string]string{
		`{"type":"json_object"}`: `{"type":"object"}`,
		`{"type":"json_schema","json_schema":{"name":"city","description":"a city","strict":true,"schema":{"type": "object", "additionalProperties": false, "properties": {"n":{"type":"string"}}, "required": ["n"], "$schema": "http://json-schema.org/draft-07/schema#"}}}`: `{"type":"object","additionalProperties":false,"properties":{"n":{"type":"string"}},"required":["n"],"$schema":"http://json-schema.org/draft-07/schema#"}`,
		`{"type":"json_schema","json_schema":{"name":"a","schema":{}}}`: `{}`,
	} {
		a := hello()
		if w := post(a, chatPath, chatBody(`,"response_format":`+more)); w.Code != http.StatusOK {
			t.Errorf("%s: HTTP %d, %s", more, w.Code, w.Body)
		} else if got := a.asked(t); got.JSONSchema != want {
			t.Errorf("%s: schema %s", more, got.JSONSchema)
		}
	}
}

func TestPrompt(t *testing.T) {
	for body, want := range map[string]inference.Request{
		`"prompt":"hi"`:                         {Prompt: "hi", MaxTokens: 16},
		`"prompt":["hi"],"max_tokens":3`:        {Prompt: "hi", MaxTokens: 3},
		`"prompt":""`:                           {MaxTokens: 16},
		`"prompt":"hi","logprobs":0`:            {Prompt: "hi", MaxTokens: 16, LogProbs: true},
		`"prompt":"hi","logprobs":5`:            {Prompt: "hi", MaxTokens: 16, LogProbs: true, TopLogProbs: 5},
		`"prompt":"hi","grammar":"root ::= []"`: {},
	} {
		a := hello()
		w := post(a, completionPath, `{"model":"`+modelID+`",`+body+`}`)
		if want.MaxTokens == 0 {
			if code, param := refusal(t, w); code != "invalid_grammar" || param != "grammar" {
				t.Errorf("%s: %s", body, code)
			}
			continue
		}
		if w.Code != http.StatusOK {
			t.Errorf("%s: HTTP %d, %s", body, w.Code, w.Body)
			continue
		}
		got := a.asked(t)
		if got.Seed = 0; !reflect.DeepEqual(got.Request, want) {
			t.Errorf("%s: %+v", body, got.Request)
		}
	}
}
