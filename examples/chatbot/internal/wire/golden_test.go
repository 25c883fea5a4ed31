package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

// unhex reads hexadecimal digits with spaces between.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fullQuestion has every setting that can be set at once.
func fullQuestion() Question {
	return Question{
		Request: inference.Request{
			Prompt: "hi", MaxTokens: 20, Temperature: 0.5, TopK: 5, TopP: 0.25, MinP: 0.125, Seed: 9,
			RepeatPenalty: 1.5, RepeatWindow: 64, Stop: []string{"a", "bc"}, Grammar: "g", LogProbs: true, TopLogProbs: 2,
		},
		Scope: bytes.Repeat([]byte{0xaa}, ScopeSize), Receipt: true,
	}
}

// fullChunk has every field.
func fullChunk() Chunk {
	p := inference.LogProb{Token: 5, Bytes: []byte{0xc3}, LogProb: -0.5}
	return Chunk{
		Chunk: inference.Chunk{
			Text: "é", Tokens: []inference.Token{5, 300},
			LogProbs: []inference.TokenLogProbs{
				{LogProb: p, Top: []inference.LogProb{p, {Token: 7, LogProb: -2}}},
				{LogProb: inference.LogProb{Token: 300}},
			},
			FinishReason: inference.FinishStop,
			Usage:        &inference.Usage{PromptTokens: 3, CachedTokens: 2, GeneratedTokens: 1},
		},
		Receipt: []byte{1, 2},
	}
}

func fullInfo() Info {
	return Info{
		ModelName: "m", ModelDigest: "abcd", Parameters: 560_000_000, MaxTokens: 4352, Engine: "e", Lowercase: true, KeyARN: "arn",
	}
}

// The encodings are the protocol: these bytes must not change.
var (
	goldenQuestions = map[string]struct {
		q   Question
		hex string
	}{
		"prompt": {
			Question{Request: inference.Request{Prompt: "hi", MaxTokens: 20}},
			"a2 01 a1 01 626869 02 a1 01 14",
		},
		"messages": {
			Question{Request: inference.Request{Messages: []inference.Message{
				{Role: inference.RoleSystem, Content: "be kind"}, {Role: inference.RoleUser, Content: "hi"},
			}}},
			"a2 01 a1 02 82 82 66 73797374656d 67 6265206b696e64 82 64 75736572 62 6869 02 a0",
		},
		"every setting": {
			fullQuestion(),
			"a4 01 a1 01 626869" +
				"02 ac 01 14 02 f93800 03 05 04 f93400 05 f93000 06 09 07 f93e00 08 1840 09 82 6161 626263 0a 6167 0c f5 0d 02" +
				"03 5820" + strings.Repeat("aa", ScopeSize) + "04 f5",
		},
		"JSON Schema": {
			Question{Request: inference.Request{Prompt: "hi", JSONSchema: "{}", Temperature: 0.1}},
			"a2 01 a1 01 626869 02 a2 02 fa3dcccccd 0b 627b7d",
		},
	}
	goldenChunks = map[string]struct {
		c   Chunk
		hex string
	}{
		"text":  {Chunk{Chunk: inference.Chunk{Text: " yo", Tokens: []inference.Token{4}}}, "a2 01 63 20796f 02 81 04"},
		"empty": {Chunk{}, "a0"},
		"last":  {Chunk{Chunk: inference.Chunk{FinishReason: inference.FinishLength, Usage: &inference.Usage{}}}, "a2 04 66 6c656e677468 05 83 00 00 00"},
		"every field": {
			fullChunk(),
			"a6 01 62 c3a9 02 82 05 19012c" +
				"03 82 82 83 05 41c3 f9b800 82 83 05 41c3 f9b800 83 07 f6 f9c000 82 83 19012c f6 f90000 f6" +
				"04 64 73746f70 05 83 03 02 01 06 42 0102",
		},
	}
)

const goldenInfo = "a7 01 616d 02 64 61626364 03 1a2160ec00 04 191100 05 6165 06 f5 07 63 61726e"

func TestGoldenQuestions(t *testing.T) {
	for name, tt := range goldenQuestions {
		want := unhex(t, tt.hex)
		if got, err := EncodeQuestion(tt.q); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, want)
		}
		if got, err := DecodeQuestion(want); err != nil || !reflect.DeepEqual(got, tt.q) {
			t.Errorf("%s: not what it was: %v", name, err)
		}
	}
}

func TestGoldenChunks(t *testing.T) {
	for name, tt := range goldenChunks {
		want := unhex(t, tt.hex)
		if got, err := EncodeChunk(tt.c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, want)
		}
		if got, err := DecodeChunk(want); err != nil || !reflect.DeepEqual(got, tt.c) {
			t.Errorf("%s: not what it was: %v", name, err)
		}
	}
}

func TestGoldenInfo(t *testing.T) {
	want := unhex(t, goldenInfo)
	if got, err := EncodeInfo(fullInfo()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
	if got, err := DecodeInfo(want); err != nil || got != fullInfo() {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every field of a request that is to travel does: one that is added to
// inference.Request must be thought of here.
func TestEveryFieldTravels(t *testing.T) {
	stays := map[string]bool{"CacheScope": true, "PublicPrefix": true}
	elsewhere := map[string]bool{"Messages": true, "JSONSchema": true} // not beside Prompt and Grammar
	sent := reflect.ValueOf(fullQuestion().Request)
	for i := range sent.NumField() {
		name := sent.Type().Field(i).Name
		if set := !sent.Field(i).IsZero(); set == (stays[name] || elsewhere[name]) {
			t.Errorf("%s: set is %v", name, set)
		}
	}
	q := Question{Request: inference.Request{Prompt: "hi", CacheScope: "canary", PublicPrefix: 1}}
	b, err := EncodeQuestion(q)
	if err != nil || bytes.Contains(b, []byte("canary")) {
		t.Errorf("%x, %v", b, err)
	}
	if got, err := DecodeQuestion(b); err != nil || !reflect.DeepEqual(got, Question{Request: inference.Request{Prompt: "hi"}}) {
		t.Errorf("%v, %v", got, err)
	}
}
