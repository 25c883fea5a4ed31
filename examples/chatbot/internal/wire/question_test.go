package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

func user(contents ...string) []inference.Message {
	var list []inference.Message
	for _, c := range contents {
		list = append(list, inference.Message{Role: inference.RoleUser, Content: c})
	}
	return list
}

// What is wrong with a question is found before anybody is asked, and is named
// without the question's text.
func TestQuestionErrors(t *testing.T) {
	const canary = "canary"
	prompt := func(edit func(*inference.Request)) Question {
		r := inference.Request{Prompt: canary}
		edit(&r)
		return Question{Request: r}
	}
	for name, tt := range map[string]struct {
		q    Question
		want error // nil: any error
	}{
		"empty":               {Question{}, ErrEmpty},
		"white space":         {Question{Request: inference.Request{Prompt: " \n\t\u00a0"}}, ErrEmpty},
		"blank message":       {Question{Request: inference.Request{Messages: user("")}}, ErrEmpty},
		"blank last message":  {Question{Request: inference.Request{Messages: user(canary, " \n")}}, ErrEmpty},
		"prompt not UTF-8":    {Question{Request: inference.Request{Prompt: canary + "\xff"}}, ErrNotUTF8},
		"message not UTF-8":   {Question{Request: inference.Request{Messages: user(canary+"\xc3", canary)}}, ErrNotUTF8},
		"long prompt":         {Question{Request: inference.Request{Prompt: strings.Repeat("x", inference.MaxPromptBytes+1)}}, ErrTooLong},
		"long prompt, too":    {Question{Request: inference.Request{Prompt: strings.Repeat("x", inference.MaxPromptBytes+1)}}, inference.ErrPromptTooLong},
		"long messages":       {Question{Request: inference.Request{Messages: user(strings.Repeat("x", inference.MaxPromptBytes), canary)}}, ErrTooLong},
		"too many messages":   {Question{Request: inference.Request{Messages: user(strings.Split(strings.Repeat("x,", inference.MaxMessages)+canary, ",")...)}}, inference.ErrInvalidRequest},
		"unknown role":        {Question{Request: inference.Request{Messages: []inference.Message{{Role: "root", Content: canary}}}}, inference.ErrInvalidRequest},
		"the model's turn":    {Question{Request: inference.Request{Messages: []inference.Message{{Role: inference.RoleAssistant, Content: canary}}}}, inference.ErrInvalidRequest},
		"prompt and messages": {Question{Request: inference.Request{Prompt: canary, Messages: user(canary)}}, inference.ErrInvalidRequest},
		"negative length":     {prompt(func(r *inference.Request) { r.MaxTokens = -1 }), inference.ErrInvalidRequest},
		"not a temperature":   {prompt(func(r *inference.Request) { r.Temperature = float32(math.NaN()) }), inference.ErrInvalidRequest},
		"infinite":            {prompt(func(r *inference.Request) { r.Temperature = float32(math.Inf(1)) }), inference.ErrInvalidRequest},
		"top-p over 1":        {prompt(func(r *inference.Request) { r.TopP = 1.5 }), inference.ErrInvalidRequest},
		"long grammar":        {prompt(func(r *inference.Request) { r.Grammar = strings.Repeat("x", inference.MaxGrammarBytes+1) }), inference.ErrInvalidRequest},
		"empty stop string":   {prompt(func(r *inference.Request) { r.Stop = []string{""} }), inference.ErrInvalidRequest},
		"many stop strings":   {prompt(func(r *inference.Request) { r.Stop = make([]string, inference.MaxStopStrings+1) }), inference.ErrInvalidRequest},
		"alternatives alone":  {prompt(func(r *inference.Request) { r.TopLogProbs = 1 }), inference.ErrInvalidRequest},
		"short scope":         {Question{Request: inference.Request{Prompt: canary}, Scope: make([]byte, ScopeSize-1)}, nil},
		"long scope":          {Question{Request: inference.Request{Prompt: canary}, Scope: make([]byte, ScopeSize+1)}, nil},
	} {
		b, err := EncodeQuestion(tt.q)
		switch {
		case err == nil || b != nil || tt.want != nil && !errors.Is(err, tt.want):
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		case strings.Contains(err.Error(), canary):
			t.Errorf("%s: the error has content: %v", name, err)
		}
	}
}

// The longest question that the model takes fits, settings and all.
func TestLongestQuestion(t *testing.T) {
	q := fullQuestion()
	q.Request.Prompt = strings.Repeat("x", inference.MaxPromptBytes)
	q.Request.Grammar = strings.Repeat("x", inference.MaxGrammarBytes)
	q.Request.Stop = nil
	for range inference.MaxStopStrings {
		q.Request.Stop = append(q.Request.Stop, strings.Repeat("x", inference.MaxStopBytes))
	}
	talk := q
	talk.Request.Prompt = ""
	talk.Request.Messages = user(strings.Split(strings.Repeat("x,", inference.MaxMessages-1)+"x", ",")...)
	talk.Request.Messages[0].Content = strings.Repeat("x", inference.MaxPromptBytes-inference.MaxMessages+1)
	for name, q := range map[string]Question{"prompt": q, "messages": talk} {
		b, err := EncodeQuestion(q)
		if err != nil || len(b) > MaxQuestion {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		if _, err := DecodeQuestion(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeQuestion(make([]byte, MaxQuestion+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("over the limit: %v", err)
	}
}

// There is one encoding of each question, and nothing else is taken.
func TestDecodeQuestionRefuses(t *testing.T) {
	scope := "5820" + strings.Repeat("aa", ScopeSize)
	for name, in := range map[string]string{
		"nothing":               "",
		"another type":          "83 01 02 03",
		"null":                  "f6",
		"trailing bytes":        "a2 01 a1 01 626869 02 a0 00",
		"cut off":               "a2 01 a1 01 626869 02",
		"unknown key":           "a3 01 a1 01 626869 02 a0 05 00",
		"unknown conversation":  "a2 01 a2 01 626869 03 00 02 a0",
		"unknown setting":       "a2 01 a1 01 626869 02 a1 0e 00",
		"text key":              "a3 01 a1 01 626869 02 a0 6131 00",
		"key twice":             "a3 01 a1 01 626869 01 a1 01 626869 02 a0",
		"setting twice":         "a2 01 a1 01 626869 02 a2 01 14 01 14",
		"keys in disorder":      "a2 02 a0 01 a1 01 626869",
		"indefinite map":        "bf 01 a1 01 626869 02 a0 ff",
		"indefinite text":       "a2 01 a1 01 7f 626869 ff 02 a0",
		"indefinite messages":   "a2 01 a1 02 9f 82 64 75736572 62 6869 ff 02 a0",
		"tagged":                "c0 a2 01 a1 01 626869 02 a0",
		"tagged prompt":         "a2 01 a1 01 c0 626869 02 a0",
		"longer than need be":   "a2 01 a1 01 7802 6869 02 a0",
		"longer number":         "a2 01 a1 01 626869 02 a1 01 1814",
		"longer float":          "a2 01 a1 01 626869 02 a1 02 fa3f000000",
		"integer for a float":   "a2 01 a1 01 626869 02 a1 02 01",
		"float for an integer":  "a2 01 a1 01 626869 02 a1 01 f94d00",
		"zero said":             "a2 01 a1 01 626869 02 a1 01 00",
		"false said":            "a3 01 a1 01 626869 02 a0 04 f4",
		"no settings":           "a1 01 a1 01 626869",
		"settings null":         "a2 01 a1 01 626869 02 f6",
		"no conversation":       "a1 02 a0",
		"prompt as bytes":       "a2 01 a1 01 426869 02 a0",
		"prompt as number":      "a2 01 a1 01 01 02 a0",
		"prompt not UTF-8":      "a2 01 a1 01 6268ff 02 a0",
		"role not UTF-8":        "a2 01 a1 02 81 82 61ff 62 6869 02 a0",
		"message of one":        "a2 01 a1 02 81 81 64 75736572 02 a0",
		"message of three":      "a2 01 a1 02 81 83 64 75736572 62 6869 00 02 a0",
		"message as map":        "a2 01 a1 02 81 a2 01 64 75736572 02 62 6869 02 a0",
		"unknown role":          "a2 01 a1 02 81 82 64 726f6f74 62 6869 02 a0",
		"negative length":       "a2 01 a1 01 626869 02 a1 01 20",
		"length over 2^63":      "a2 01 a1 01 626869 02 a1 01 1bffffffffffffffff",
		"seed over 2^32":        "a2 01 a1 01 626869 02 a1 06 1b0000000100000000",
		"temperature NaN":       "a2 01 a1 01 626869 02 a1 02 f97e00",
		"stop as text":          "a2 01 a1 01 626869 02 a1 09 6161",
		"scope of 31":           "a3 01 a1 01 626869 02 a0 03 581f" + strings.Repeat("aa", ScopeSize-1),
		"scope as text":         "a3 01 a1 01 626869 02 a0 03 7820" + strings.Repeat("61", ScopeSize),
		"scope as array":        "a3 01 a1 01 626869 02 a0 03 9820" + strings.Repeat("01", ScopeSize),
		"scope empty":           "a3 01 a1 01 626869 02 a0 03 40",
		"receipt as number":     "a4 01 a1 01 626869 02 a0 03" + scope + "04 01",
		"blank":                 "a2 01 a1 01 6120 02 a0",
		"deep":                  "a2 01 " + strings.Repeat("81", 100) + "00",
		"many stop strings":     "a2 01 a1 01 626869 02 a1 09 9a ffffffff",
		"a prompt of 2^40 byte": "a2 01 a1 01 7b 0000010000000000",
	} {
		q, err := DecodeQuestion(unhex(t, in))
		if err == nil || q.Request.Prompt != "" || q.Request.Messages != nil || q.Scope != nil {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
}

// The error of a question that cannot be read does not repeat it.
func TestDecodeErrorHasNoContent(t *testing.T) {
	good, err := EncodeQuestion(Question{Request: inference.Request{Prompt: "canary", Stop: []string{"canary"}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x80
		if _, err := DecodeQuestion(bad); err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}
