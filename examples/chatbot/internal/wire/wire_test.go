package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func TestQuestionRoundTrip(t *testing.T) {
	q := Question{Prompt: "Question: où?\nAnswer:", MaxTokens: 7, Temperature: 0.5, TopK: 5, Seed: 9}
	b, err := EncodeQuestion(q)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeQuestion(b)
	if err != nil || got != q {
		t.Fatalf("got %+v, %v", got.Prompt, err)
	}
}

// The encoding is part of the protocol: these bytes must not change.
func TestGoldenEncodings(t *testing.T) {
	q, err := EncodeQuestion(Question{Prompt: "hi", MaxTokens: 20})
	if err != nil || hex.EncodeToString(q) != "a2016268690214" {
		t.Errorf("question %x, %v", q, err)
	}
	a, err := EncodeAnswer(Answer{Text: " yo", FinishReason: "stop", PromptTokens: 3, CompletionTokens: 1})
	if err != nil || hex.EncodeToString(a) != "a40163"+"20796f"+"0264"+"73746f70"+"0303"+"0401" {
		t.Errorf("answer %x, %v", a, err)
	}
}

func TestQuestionErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		q    Question
		want error // nil: any error
	}{
		{"empty", Question{}, ErrEmpty},
		{"white space", Question{Prompt: " \n\t"}, ErrEmpty},
		{"not UTF-8", Question{Prompt: "a\xffb"}, ErrNotUTF8},
		{"too long", Question{Prompt: strings.Repeat("x", MaxPlaintext)}, ErrTooLong},
		{"negative length", Question{Prompt: "x", MaxTokens: -1}, nil},
		{"absurd length", Question{Prompt: "x", MaxTokens: MaxNewTokens + 1}, nil},
		{"temperature NaN", Question{Prompt: "x", Temperature: float32(math.NaN())}, nil},
		{"temperature infinite", Question{Prompt: "x", Temperature: float32(math.Inf(1))}, nil},
		{"negative top-k", Question{Prompt: "x", TopK: -1}, nil},
	} {
		b, err := EncodeQuestion(tt.q)
		if err == nil || b != nil || (tt.want != nil && !errors.Is(err, tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestLongestQuestionAndAnswer(t *testing.T) {
	// Four bytes of framing beside the text: map head, key, three-byte head.
	q := Question{Prompt: strings.Repeat("x", MaxPlaintext-5)}
	if b, err := EncodeQuestion(q); err != nil || len(b) != MaxPlaintext {
		t.Errorf("longest question: %d bytes, %v", len(b), err)
	}
	a := Answer{Text: strings.Repeat("x", MaxAnswerText), FinishReason: FinishSize, PromptTokens: math.MaxInt32, CompletionTokens: math.MaxInt32}
	if _, err := EncodeAnswer(a); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":        "",
		"another type":   "83010203",
		"trailing bytes": "a20162686902" + "14" + "00",
		"duplicate key":  "a2016268690162" + "6869",
		"unknown key":    "a201626869" + "1863" + "01",
		"indefinite map": "bf01626869ff",
		"bad UTF-8":      "a10162ff" + "ff",
		"negative":       "a20162686902" + "20",
		"truncated":      "a2016268",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := DecodeQuestion(b); err == nil || q != (Question{}) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	good := `{"request_id":"` + strings.Repeat("0a", 16) + `","access_key_id":"a","secret_access_key":"s","region":"r","ciphertext":"AAEC"}`
	var r AskRequest
	if err := DecodeJSON([]byte(good), &r); err != nil || r.Check() != nil || !bytes.Equal(r.Ciphertext, []byte{0, 1, 2}) {
		t.Fatalf("%v, %v", err, r.Check())
	}
	for name, in := range map[string]string{
		"empty":         "",
		"trailing":      good + "{}",
		"unknown field": `{"extra":1}`,
		"bad base64":    `{"ciphertext":"%%"}`,
		"too large":     `{"region":"` + strings.Repeat("x", MaxMessage) + `"}`,
	} {
		var r AskRequest
		if DecodeJSON([]byte(in), &r) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, edit := range map[string]func(*AskRequest){
		"id length":     func(r *AskRequest) { r.RequestID = "00" },
		"id case":       func(r *AskRequest) { r.RequestID = strings.Repeat("0A", 16) },
		"no key":        func(r *AskRequest) { r.AccessKeyID = "" },
		"no secret":     func(r *AskRequest) { r.SecretAccessKey = "" },
		"no region":     func(r *AskRequest) { r.Region = "" },
		"no ciphertext": func(r *AskRequest) { r.Ciphertext = nil },
	} {
		bad := r
		edit(&bad)
		if bad.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whatever prints a message by mistake must not print what it holds.
func TestFormatHidesContent(t *testing.T) {
	const canary = "canary-7f3a"
	for _, v := range []any{
		AskRequest{AccessKeyID: canary, SecretAccessKey: canary, SessionToken: canary, Ciphertext: []byte(canary)},
		&AskRequest{SecretAccessKey: canary},
		Question{Prompt: canary}, &Question{Prompt: canary},
		Answer{Text: canary}, []Answer{{Text: canary}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, canary) || strings.Contains(out, hex.EncodeToString([]byte(canary))) {
				t.Errorf("%s of %T prints %q", verb, v, out)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	for r := range reasons {
		if r.Error() == "" || r.HTTPStatus() < 400 || ParseReason(string(r)) != r {
			t.Errorf("%s: incomplete", r)
		}
		var e *vsockrpc.Error
		if !errors.As(r.RPC(), &e) || e.Message != string(r) {
			t.Errorf("%s: RPC error %v", r, r.RPC())
		}
	}
	if ParseReason("text from a peer") != ReasonInternal {
		t.Error("an unknown reason is passed on")
	}
}

func TestContextsDiffer(t *testing.T) {
	id := NewRequestID()
	if a, b := RequestContext(id), ResponseContext(id); a["direction"] == b["direction"] || a["request"] != id || b["request"] != id {
		t.Errorf("%v, %v", a, b)
	}
}

func FuzzDecodeQuestion(f *testing.F) {
	for _, in := range []string{"a2016268690214", "bf01626869ff", "a10162ffff"} {
		b, _ := hex.DecodeString(in)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		q, err := DecodeQuestion(in)
		if err != nil {
			return
		}
		again, err := EncodeQuestion(q)
		if err != nil {
			t.Fatalf("accepted, but cannot be encoded: %v", err)
		}
		if back, err := DecodeQuestion(again); err != nil || back != q {
			t.Fatal("does not survive a round trip")
		}
	})
}
