package clienttest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

func client(t *testing.T, opts ...option.RequestOption) (*enclave, openai.Client) {
	t.Helper()
	e, url := listen(t)
	opts = append([]option.RequestOption{option.WithBaseURL(url), option.WithAPIKey(token), option.WithMaxRetries(0)}, opts...)
	return e, openai.NewClient(opts...)
}

func chat(content string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model,
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage("be brief"),
			openai.UserMessage(content),
		},
	}
}

func completion(prompt string) openai.CompletionNewParams {
	return openai.CompletionNewParams{Model: model, Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(prompt)}}
}

// failed returns the library's error.
func failed(t *testing.T, err error) *openai.Error {
	t.Helper()
	var e *openai.Error
	if !errors.As(err, &e) {
		t.Fatalf("not an error of the API: %v", err)
	}
	return e
}

func TestModels(t *testing.T) {
	_, c := client(t)
	list, err := c.Models.List(t.Context())
	if err != nil || len(list.Data) != 1 || list.Data[0].ID != model {
		t.Fatalf("%+v, %v", list, err)
	}
	m, err := c.Models.Get(t.Context(), model)
	if err != nil || m.ID != model || m.Created == 0 || m.OwnedBy != "nitroseal" {
		t.Errorf("%+v, %v", m, err)
	}
	_, err = c.Models.Get(t.Context(), "gpt-4o")
	if e := failed(t, err); e.StatusCode != http.StatusNotFound || e.Code != "model_not_found" || e.Param != "model" {
		t.Errorf("%d %s", e.StatusCode, e.RawJSON())
	}
}

func TestChat(t *testing.T) {
	_, c := client(t)
	p := chat("hello")
	p.Temperature, p.TopP, p.Seed, p.MaxCompletionTokens = openai.Float(0.5), openai.Float(1), openai.Int(7), openai.Int(100)
	p.User, p.Metadata, p.Store = openai.String("u"), map[string]string{"k": "v"}, openai.Bool(false)
	res, err := c.Chat.Completions.New(t.Context(), p, option.WithJSONSet("nitroseal", map[string]any{"receipt": true}))
	if err != nil {
		t.Fatal(err)
	}
	choice := res.Choices[0]
	if choice.Message.Content != "hello" || choice.Message.Role != "assistant" || choice.FinishReason != "stop" || !strings.Contains(res.RawJSON(), `"system_fingerprint":"fp_`) {
		t.Errorf("%s", res.RawJSON())
	}
	if u := res.Usage; u.PromptTokens != 13 || u.CompletionTokens != 5 || u.TotalTokens != 18 || !u.PromptTokensDetails.JSON.CachedTokens.Valid() {
		t.Errorf("usage %s", u.RawJSON())
	}
	if raw := res.JSON.ExtraFields["nitroseal"].Raw(); raw != `{"receipt":"cHJvb2Y="}` {
		t.Errorf("receipt %q", raw)
	}
	// The answer goes back as it came, for the next turn.
	p.Messages = append(p.Messages, choice.Message.ToParam(), openai.UserMessage("again"))
	if res, err := c.Chat.Completions.New(t.Context(), p); err != nil || res.Choices[0].Message.Content != "again" {
		t.Errorf("second turn: %v", err)
	}
}

func TestStopAndLength(t *testing.T) {
	_, c := client(t)
	for _, tt := range []struct {
		set     func(*openai.ChatCompletionNewParams)
		content string
		finish  string
	}{
		{func(p *openai.ChatCompletionNewParams) { p.Stop.OfString = openai.String("lo") }, "hel", "stop"},
		{func(p *openai.ChatCompletionNewParams) { p.Stop.OfStringArray = []string{"x", "el"} }, "h", "stop"},
		{func(p *openai.ChatCompletionNewParams) { p.MaxTokens = openai.Int(2) }, "he", "length"},
	} {
		p := chat("hello")
		tt.set(&p)
		res, err := c.Chat.Completions.New(t.Context(), p)
		if err != nil || res.Choices[0].Message.Content != tt.content || res.Choices[0].FinishReason != tt.finish {
			t.Errorf("want %q: %v", tt.content, err)
		}
	}
}

func TestChatStream(t *testing.T) {
	_, c := client(t)
	p := chat("héllo 😀")
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	s := c.Chat.Completions.NewStreaming(t.Context(), p)
	acc := openai.ChatCompletionAccumulator{}
	pieces := 0
	for s.Next() {
		if pieces++; !acc.AddChunk(s.Current()) {
			t.Fatalf("the library cannot add chunk %d: %s", pieces, s.Current().RawJSON())
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if got := acc.Choices[0]; got.Message.Content != "héllo 😀" || got.FinishReason != "stop" || acc.Usage.CompletionTokens != 7 || pieces != 10 {
		t.Errorf("%d pieces, %s", pieces, acc.RawJSON())
	}
}

func TestLogProbs(t *testing.T) {
	_, c := client(t)
	p := chat("né")
	p.Logprobs, p.TopLogprobs = openai.Bool(true), openai.Int(1)
	res, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if l := res.Choices[0].Logprobs.Content; len(l) != 2 || l[1].Token != "é" || l[1].Bytes[0] != 0xc3 || l[1].TopLogprobs[0].Token != "é" {
		t.Errorf("%s", res.RawJSON())
	}
	q := completion("né")
	q.Logprobs = openai.Int(1)
	legacy, err := c.Completions.New(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if l := legacy.Choices[0].Logprobs; strings.Join(l.Tokens, "|") != "n|é" || l.TextOffset[1] != 1 || len(l.TopLogprobs) != 2 {
		t.Errorf("%s", legacy.RawJSON())
	}
}

func TestCompletions(t *testing.T) {
	_, c := client(t)
	res, err := c.Completions.New(t.Context(), completion("a prompt longer than sixteen"))
	if err != nil || res.Choices[0].Text != "a prompt longer " || res.Choices[0].FinishReason != "length" || res.Usage.CompletionTokens != 16 {
		t.Fatalf("%v", err)
	}
	s := c.Completions.NewStreaming(t.Context(), completion("stream"))
	text, finish := "", openai.CompletionChoiceFinishReason("")
	for s.Next() {
		text += s.Current().Choices[0].Text
		finish = s.Current().Choices[0].FinishReason
	}
	if s.Err() != nil || text != "stream" || finish != "stop" {
		t.Errorf("%q, %v", text, s.Err())
	}
}

func TestResponseFormat(t *testing.T) {
	_, c := client(t)
	p := chat(`{}`)
	p.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{
		Name: "city", Strict: openai.Bool(true), Schema: map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"type": "string"}}},
	}}
	if _, err := c.Chat.Completions.New(t.Context(), p); err != nil {
		t.Error(err)
	}
	p.ResponseFormat.OfJSONSchema.JSONSchema.Schema = map[string]any{"type": "nothing"}
	_, err := c.Chat.Completions.New(t.Context(), p)
	if e := failed(t, err); e.StatusCode != http.StatusBadRequest || e.Param != "response_format.json_schema.schema" {
		t.Errorf("%d %s", e.StatusCode, e.RawJSON())
	}
}

func TestErrors(t *testing.T) {
	e, c := client(t)
	for reason, want := range map[string]struct {
		status     int
		kind, code string
	}{
		"overloaded":          {429, "rate_limit_error", "overloaded"},
		"prompt_too_long":     {400, "invalid_request_error", "context_length_exceeded"},
		"kms_access_denied":   {403, "permission_error", "kms_access_denied"},
		"enclave_unavailable": {503, "server_error", "enclave_unavailable"},
		"untrusted":           {502, "enclave_untrusted", "attestation_policy"},
	} {
		_, err := c.Chat.Completions.New(t.Context(), chat("fail "+reason))
		if e := failed(t, err); e.StatusCode != want.status || e.Type != want.kind || e.Code != want.code || e.Message == "" {
			t.Errorf("%s: %d %s", reason, e.StatusCode, e.RawJSON())
		} else if reason == "overloaded" && e.Response.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		s := c.Chat.Completions.NewStreaming(t.Context(), chat("fail "+reason))
		if s.Next() {
			t.Errorf("%s: a stream with a chunk", reason)
		}
		if e := failed(t, s.Err()); e.StatusCode != want.status {
			t.Errorf("%s, streamed: %d", reason, e.StatusCode)
		}
	}
	p := chat("hello")
	p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "f"})}
	before := e.asked.Load()
	_, err := c.Chat.Completions.New(t.Context(), p)
	if e := failed(t, err); e.StatusCode != http.StatusBadRequest || e.Param != "tools" || e.Code != "unsupported_parameter" {
		t.Errorf("%d %s", e.StatusCode, e.RawJSON())
	}
	if e.asked.Load() != before {
		t.Error("what was refused was asked")
	}
}

func TestWrongToken(t *testing.T) {
	_, c := client(t, option.WithAPIKey("sk-wrong"))
	_, err := c.Models.List(t.Context())
	if e := failed(t, err); e.StatusCode != http.StatusUnauthorized || e.Code != "invalid_api_key" {
		t.Errorf("%d %s", e.StatusCode, e.RawJSON())
	}
}

// The library tries again by itself after a 502, but not with an enclave that
// is not to be trusted.
func TestUntrustedIsNotRetried(t *testing.T) {
	e, c := client(t, option.WithMaxRetries(2))
	_, err := c.Chat.Completions.New(t.Context(), chat("fail untrusted"))
	if failed(t, err); e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

func TestBrokenStream(t *testing.T) {
	_, c := client(t)
	s := c.Chat.Completions.NewStreaming(t.Context(), chat("break overloaded"))
	text := ""
	for s.Next() {
		text += s.Current().Choices[0].Delta.Content
	}
	var broken *ssestream.StreamError
	if !errors.As(s.Err(), &broken) || broken.Event.Type != "error" || !strings.Contains(string(broken.Event.Data), `"code":"overloaded"`) || text != "bre" {
		t.Errorf("%q, then %v", text, s.Err())
	}
}

func TestAbort(t *testing.T) {
	e, c := client(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := c.Chat.Completions.NewStreaming(ctx, chat("hold"))
	third(t, s)
	cancel()
	for s.Next() {
		t.Error("a chunk after the end")
	}
	if !errors.Is(s.Err(), context.Canceled) {
		t.Errorf("the client got %v", s.Err())
	}
	e.gone(t)

	// Closing a stream is the other way to leave it.
	s = c.Chat.Completions.NewStreaming(t.Context(), chat("hold"))
	third(t, s)
	s.Close()
	e.gone(t)
}

// third reads up to the third piece of "hold", after which the enclave waits.
func third(t *testing.T, s *ssestream.Stream[openai.ChatCompletionChunk]) {
	t.Helper()
	for s.Next() {
		if s.Current().Choices[0].Delta.Content == "l" {
			return
		}
	}
	t.Fatal(s.Err())
}
