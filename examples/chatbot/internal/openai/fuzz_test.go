package openai

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds the parsers to what they promise: no panic, no result beside
// an error, an error of OpenAI's form, and nothing accepted that a model would
// refuse.
func FuzzParse(f *testing.F) {
	for _, more := range refusedByBoth {
		f.Add([]byte(chatBody("," + more.more)))
	}
	for _, seed := range []string{
		chatBody(`,"stream":true,"stream_options":{"include_usage":true},"stop":["a"],"logprobs":true,"top_logprobs":2`),
		chatBody(`,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"string"}}}`),
		chatBody(`,"grammar":"root ::= [a-z]+","top_p":0,"seed":4294967295,"nitroseal":{"receipt":true}`),
		completionBody(`,"logprobs":5,"echo":false,"max_tokens":1`),
		`{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"\ud83d\ude00"}]},{"role":"user","content":"\\u"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, parse := range map[string]func([]byte, defaults) (call, *apiError){"chat": parseChat, "completion": parseCompletion} {
			c, bad := parse(body, defaults{temperature: 0.5, seed: 3})
			if bad != nil {
				checkRefusal(t, name, c, bad)
				continue
			}
			if !json.Valid(body) || !utf8.Valid(body) || c.model == "" && !strings.Contains(string(body), `""`) {
				t.Fatalf("%s: accepted what it should not", name)
			}
			q := c.question
			if err := q.Validate(); err != nil {
				t.Fatalf("%s: accepted, but %v", name, err)
			}
			if q.MaxTokens < 0 || name == "completion" && q.MaxTokens == 0 || q.Temperature > 2 || q.CacheScope != "" || q.PublicPrefix != 0 {
				t.Fatalf("%s: accepted %+v", name, q)
			}
			if again, bad := parse(body, defaults{temperature: 0.5, seed: 3}); bad != nil || !reflect.DeepEqual(c, again) {
				t.Fatalf("%s: the same body gives another question", name)
			}
		}
	})
}

func checkRefusal(t *testing.T, name string, c call, bad *apiError) {
	t.Helper()
	if !reflect.DeepEqual(c, call{}) {
		t.Fatalf("%s: a result beside an error", name)
	}
	text, err := json.Marshal(bad)
	if err != nil || bad.status != 400 || bad.code == "" || bad.message == "" || len([]rune(bad.param)) > maxName+1 || len(text) > 4096 {
		t.Fatalf("%s: refused with %s, %v", name, text, err)
	}
}
