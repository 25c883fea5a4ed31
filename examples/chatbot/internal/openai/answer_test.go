package openai

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// fp is the fingerprint of the fake enclave: SHA-256 as documented, made with
// another program.
const fp = "fp_880a99d5d03a8909434aab21"

const usageJSON = `{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":3}}`

// common is what every response begins with.
func common(object string) string {
	return `{"id":0,"object":"` + object + `","created":0,"model":"` + modelID + `","system_fingerprint":"` + fp + `",`
}

func TestChat(t *testing.T) {
	w := post(hello(), chatPath, chatBody(""))
	want := common("chat.completion") + `"choices":[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":` + usageJSON + `}`
	if got := steady(w.Body.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("X-Request-Id"), "req_") {
		t.Errorf("headers %v", h)
	}
	if !strings.Contains(w.Body.String(), `{"id":"chatcmpl-`) {
		t.Errorf("id in %s", w.Body)
	}
}

func TestCompletion(t *testing.T) {
	w := post(hello(), completionPath, completionBody(""))
	want := common("text_completion") + `"choices":[{"index":0,"text":" Hello","logprobs":null,"finish_reason":"stop"}],"usage":` + usageJSON + `}`
	if got := steady(w.Body.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(w.Body.String(), `{"id":"cmpl-`) {
		t.Errorf("id in %s", w.Body)
	}
}

func TestFinishReasons(t *testing.T) {
	for reason, want := range map[inference.FinishReason]string{
		inference.FinishStop:       "stop",
		inference.FinishStopString: "stop",
		inference.FinishLength:     "length",
		"something new":            "length",
	} {
		for _, stream := range []string{"", `,"stream":true`} {
			w := post(&asker{chunks: []ask.Chunk{end(reason)}}, chatPath, chatBody(stream))
			if !strings.Contains(w.Body.String(), `"finish_reason":"`+want+`"`) {
				t.Errorf("%s: %s", reason, w.Body)
			}
		}
	}
}

// events puts the data of a stream's events together.
func events(data ...string) string {
	return "data: " + strings.Join(append(data, "[DONE]"), "\n\ndata: ") + "\n\n"
}

func TestChatStream(t *testing.T) {
	head := common("chat.completion.chunk")
	a := hello()
	// A chunk without text, such as the first half of a character, is no event.
	a.chunks = []ask.Chunk{{}, text(" Hel"), {}, text("lo\n<b>"), end(inference.FinishStopString)}
	for more, usage := range map[string]string{
		`,"stream":true`:                                          "",
		`,"stream":true,"stream_options":{}`:                      "",
		`,"stream":true,"stream_options":{"include_usage":false}`: "",
		`,"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}`: usageJSON,
	} {
		null := ""
		if usage != "" {
			null = `,"usage":null`
		}
		data := []string{
			head + `"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]` + null + `}`,
			head + `"choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}]` + null + `}`,
			head + `"choices":[{"index":0,"delta":{"content":"lo\n\u003cb\u003e"},"logprobs":null,"finish_reason":null}]` + null + `}`,
			head + `"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]` + null + `}`,
		}
		if usage != "" {
			data = append(data, head+`"choices":[],"usage":`+usage+`}`)
		}
		w := post(a, chatPath, chatBody(more))
		if got, want := steady(w.Body.String()), events(data...); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", more, got, want)
		}
		if h := w.Header(); h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || !w.Flushed {
			t.Errorf("headers %v", h)
		}
	}
}

func TestCompletionStream(t *testing.T) {
	head := common("text_completion")
	w := post(hello(), completionPath, completionBody(`,"stream":true`))
	want := events(
		head+`"choices":[{"index":0,"text":" Hel","logprobs":null,"finish_reason":null}]}`,
		head+`"choices":[{"index":0,"text":"lo","logprobs":null,"finish_reason":null}]}`,
		head+`"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}]}`,
	)
	if got := steady(w.Body.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Text that was held back can come with the last chunk.
func TestLastChunkHasText(t *testing.T) {
	last := end(inference.FinishLength)
	last.Text = "!"
	w := post(&asker{chunks: []ask.Chunk{last}}, chatPath, chatBody(""))
	if !strings.Contains(w.Body.String(), `"content":"!"`) {
		t.Error(w.Body)
	}
	w = post(&asker{chunks: []ask.Chunk{last}}, completionPath, completionBody(`,"stream":true`))
	if !strings.Contains(w.Body.String(), `"text":"!","logprobs":null,"finish_reason":null`) || !strings.Contains(w.Body.String(), `"finish_reason":"length"`) {
		t.Error(w.Body)
	}
}

func TestReceipt(t *testing.T) {
	last := end(inference.FinishStop)
	last.Receipt = []byte{0xfb, 0xff, 1}
	a := &asker{chunks: []ask.Chunk{text("a"), last}}
	const seal = `,"nitroseal":{"receipt":"+/8B"}}`
	w := post(a, chatPath, chatBody(`,"nitroseal":{"receipt":true}`))
	if !strings.HasSuffix(w.Body.String(), `"usage":`+usageJSON+seal) {
		t.Errorf("whole: %s", w.Body)
	}
	if !a.asked(t).Receipt {
		t.Error("did not ask for a receipt")
	}
	w = post(a, completionPath, completionBody(`,"stream":true,"stream_options":{"include_usage":true},"nitroseal":{"receipt":true}`))
	chunks := strings.Split(w.Body.String(), "\n\n")
	for i, c := range chunks {
		if strings.Contains(c, "nitroseal") != strings.Contains(c, `"finish_reason":"stop"`) {
			t.Errorf("event %d: %s", i, c)
		}
	}
	if !strings.HasSuffix(chunks[1], `"usage":null`+seal) {
		t.Errorf("stream: %s", w.Body)
	}
}

func TestModels(t *testing.T) {
	const one = `{"id":"` + modelID + `","object":"model","created":0,"owned_by":"nitroseal","nitroseal":{"model_sha256":"` +
		"abababababababababababababababababababababababababababababababab" + `","max_tokens":2048,"simulated":true}}`
	w := serve(Options{Asker: hello()}, request(http.MethodGet, "/v1/models", ""))
	if got := strings.Replace(w.Body.String(), "1790000000", "0", 1); w.Code != http.StatusOK || got != `{"object":"list","data":[`+one+`]}` {
		t.Errorf("HTTP %d, %s", w.Code, got)
	}
	w = serve(Options{Asker: hello()}, request(http.MethodGet, "/v1/models/"+modelID, ""))
	if got := strings.Replace(w.Body.String(), "1790000000", "0", 1); w.Code != http.StatusOK || got != one {
		t.Errorf("HTTP %d, %s", w.Code, got)
	}
	w = serve(Options{Asker: hello()}, request(http.MethodGet, "/v1/models/gpt-4o", ""))
	if code, param := refusal(t, w); w.Code != http.StatusNotFound || code != "model_not_found" || param != "model" {
		t.Errorf("HTTP %d, %s", w.Code, code)
	}
	for _, path := range []string{"/v1/models/org/name", "/v1/models/org%2Fname"} {
		if w := serve(Options{Asker: hello(), ModelID: "org/name"}, request(http.MethodGet, path, "")); w.Code != http.StatusOK {
			t.Errorf("%s: HTTP %d", path, w.Code)
		}
	}
	a := hello()
	w = post(a, chatPath, strings.Replace(chatBody(""), modelID, "gpt-4o", 1))
	if code, param := refusal(t, w); w.Code != http.StatusNotFound || code != "model_not_found" || param != "model" || len(a.questions) > 0 {
		t.Errorf("HTTP %d, %s", w.Code, code)
	}
}

func TestSafeName(t *testing.T) {
	for _, tt := range []struct{ name, digest, want string }{
		{"BLOOM 560m", "", "BLOOM-560m"},
		{"  ../../etc/passwd\x00", "", "etc-passwd"},
		{"a<script>", "", "a-script"},
		{"модель", "0123456789abcdef", "model-0123456789ab"},
		{"", "", "model"},
		{"--", "short", "model"},
		{strings.Repeat("x", 100), "", strings.Repeat("x", maxName)},
		{strings.Repeat("x", maxName-1) + " y", "", strings.Repeat("x", maxName-1)},
	} {
		if got := safeName(ask.Model{Name: tt.name, Digest: tt.digest}); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The fingerprint follows the image and the model, and nothing else.
func TestFingerprint(t *testing.T) {
	att, err := hello().Attestation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fingerprint(att); got != fp {
		t.Errorf("fingerprint %s, want %s", got, fp)
	}
	att.Model.Name, att.Parent = "renamed", "https://elsewhere.example"
	if fingerprint(att) != fp {
		t.Error("another parent changes it")
	}
	att.Model.Digest = strings.Repeat("cd", 32)
	other := fingerprint(att)
	att.Document.PCRs[0] = att.Document.PCRs[0].Extend(nil)
	if other == fp || fingerprint(att) == fp || fingerprint(att) == other {
		t.Error("another model or image does not change it")
	}
}

func TestLogProbs(t *testing.T) {
	lp := func(b string, p float32) inference.LogProb { return inference.LogProb{Bytes: []byte(b), LogProb: p} }
	first := text("a")
	first.LogProbs = []inference.TokenLogProbs{{LogProb: lp("a", -0.5), Top: []inference.LogProb{lp("a", -0.5), lp("\xc3", -2)}}}
	second := ask.Chunk{} // half of a character: no text yet
	second.LogProbs = []inference.TokenLogProbs{{LogProb: lp("\xc3", -0.25), Top: []inference.LogProb{lp("x", -9), lp("x", -1e30)}}}
	third := text("é!")
	third.LogProbs = []inference.TokenLogProbs{{LogProb: lp("\xa9!", 0.001)}, {LogProb: lp("", float32(math.Inf(-1)))}}
	a := &asker{chunks: []ask.Chunk{first, second, third, end(inference.FinishStop)}}

	const (
		chat1 = `{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]},{"token":"\\xc3","logprob":-2,"bytes":[195]}]}`
		chat2 = `{"token":"\\xc3","logprob":-0.25,"bytes":[195],"top_logprobs":[{"token":"x","logprob":-9,"bytes":[120]},{"token":"x","logprob":-9999,"bytes":[120]}]}`
		chat3 = `{"token":"\\xa9\\x21","logprob":0,"bytes":[169,33],"top_logprobs":[]},{"token":"","logprob":-9999,"bytes":[],"top_logprobs":[]}`
	)
	w := post(a, chatPath, chatBody(`,"logprobs":true,"top_logprobs":2`))
	if !strings.Contains(w.Body.String(), `"logprobs":{"content":[`+chat1+","+chat2+","+chat3+`],"refusal":null}`) {
		t.Errorf("chat: %s", w.Body)
	}
	w = post(a, chatPath, chatBody(`,"logprobs":true,"top_logprobs":2,"stream":true`))
	if !strings.Contains(w.Body.String(), `"delta":{"content":""},"logprobs":{"content":[`+chat2+`],"refusal":null}`) {
		t.Errorf("chat, streamed: %s", w.Body)
	}

	w = post(a, completionPath, completionBody(`,"logprobs":2`))
	want := `"logprobs":{"tokens":["a","bytes:\\xc3","bytes:\\xa9\\x21",""],"token_logprobs":[-0.5,-0.25,0,-9999],` +
		`"top_logprobs":[{"a":-0.5,"bytes:\\xc3":-2},{"bytes:\\xc3":-0.25,"x":-9},{"bytes:\\xa9\\x21":0},{"":-9999}],"text_offset":[0,1,1,3]}`
	if !strings.Contains(w.Body.String(), want) {
		t.Errorf("completion: %s\nwant %s", w.Body, want)
	}
	// Offsets go on from chunk to chunk.
	w = post(a, completionPath, completionBody(`,"logprobs":2,"stream":true`))
	if !strings.Contains(w.Body.String(), `"text_offset":[0]`) || !strings.Contains(w.Body.String(), `"text_offset":[1]`) || !strings.Contains(w.Body.String(), `"text_offset":[1,3]`) {
		t.Errorf("completion, streamed: %s", w.Body)
	}
	if !json.Valid(post(a, completionPath, completionBody(`,"logprobs":0`)).Body.Bytes()) {
		t.Error("not JSON")
	}
}
