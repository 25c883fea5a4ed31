package wire

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/inference"
)

func TestClaims(t *testing.T) {
	q := fullQuestion()
	q.Request.CacheScope, q.Request.PublicPrefix = "scope", 1 // no part of what is claimed
	got, err := Claims(&q.Request, " yo", inference.FinishLength, "abcd")
	want := session.Claims{
		Request: unhex(t, "a1 01 626869"), Response: unhex(t, "82 66 6c656e677468 63 20796f"), Model: []byte("abcd"),
		Parameters: unhex(t, "ac 01 14 02 f93800 03 05 04 f93400 05 f93000 06 09 07 f93e00 08 1840 09 82 6161 626263 0a 6167 0c f5 0d 02"),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%x, %v", got, err)
	}
	talk := inference.Request{Messages: user("hi")}
	got, err = Claims(&talk, "", "", "")
	if err != nil || !bytes.Equal(got.Request, unhex(t, "a1 02 81 82 64 75736572 62 6869")) || !bytes.Equal(got.Parameters, []byte{0xa0}) {
		t.Errorf("%x, %v", got, err)
	}
}

// What the enclave claims of a question that it decoded is what the client
// claims of the one that it encoded.
func TestClaimsOfDecodedQuestion(t *testing.T) {
	for name, tt := range goldenQuestions {
		b, err := EncodeQuestion(tt.q)
		if err != nil {
			t.Fatal(err)
		}
		q, err := DecodeQuestion(b)
		if err != nil {
			t.Fatal(err)
		}
		ours, err1 := Claims(&tt.q.Request, "yo", inference.FinishStop, "abcd")
		theirs, err2 := Claims(&q.Request, "yo", inference.FinishStop, "abcd")
		if err1 != nil || err2 != nil || !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%s: they differ", name)
		}
	}
}

const goldenReceipt = `{
  "format": "nitroseal-chatbot-receipt-v2",
  "prompt": "hi",
  "answer": " y\u003co",
  "finish_reason": "length",
  "model_sha256": "abcd",
  "settings": {
    "max_tokens": 20,
    "temperature": 0.5,
    "top_k": 5,
    "top_p": 0.25,
    "min_p": 0.125,
    "seed": 9,
    "repeat_penalty": 1.5,
    "repeat_window": 64,
    "stop": [
      "a",
      "bc"
    ],
    "grammar": "g",
    "logprobs": true,
    "top_logprobs": 2
  },
  "receipt": "AQI="
}
`

const goldenReceiptOfMessages = `{
  "format": "nitroseal-chatbot-receipt-v2",
  "messages": [
    {
      "role": "system",
      "content": "be kind"
    },
    {
      "role": "user",
      "content": "hi"
    }
  ],
  "answer": "yo",
  "finish_reason": "stop",
  "model_sha256": "abcd",
  "settings": {
    "json_schema": "{}"
  },
  "receipt": "AQI="
}
`

func TestReceiptFile(t *testing.T) {
	talk := goldenQuestions["messages"].q.Request
	talk.JSONSchema = "{}"
	for want, f := range map[string]ReceiptFile{
		goldenReceipt:           {Request: fullQuestion().Request, Answer: " y<o", FinishReason: inference.FinishLength, ModelDigest: "abcd", Receipt: []byte{1, 2}},
		goldenReceiptOfMessages: {Request: talk, Answer: "yo", FinishReason: inference.FinishStop, ModelDigest: "abcd", Receipt: []byte{1, 2}},
	} {
		if got, err := f.Marshal(); err != nil || string(got) != want {
			t.Errorf("%s, %v", got, err)
		}
		if got, err := ParseReceiptFile([]byte(want)); err != nil || !reflect.DeepEqual(got, &f) {
			t.Errorf("not what it was: %v", err)
		}
	}
}

// The receipt of the longest question can be read, too, though JSON takes six
// bytes for each of it.
func TestLongestReceiptFile(t *testing.T) {
	const c = "\x01"
	f := ReceiptFile{
		Request: inference.Request{Prompt: strings.Repeat(c, inference.MaxPromptBytes), Grammar: strings.Repeat(c, inference.MaxGrammarBytes)},
		Answer:  strings.Repeat(c, 64<<10), Receipt: make([]byte, session.MaxReceipt),
	}
	b, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseReceiptFile(b); err != nil || !reflect.DeepEqual(got, &f) {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	f = ReceiptFile{Answer: strings.Repeat(c, MaxReceiptFile/6)}
	if b, err := f.Marshal(); err == nil || b != nil {
		t.Errorf("a file that cannot be read: %d bytes", len(b))
	}
}

func TestParseReceiptFileRefuses(t *testing.T) {
	const good = `{"format":"nitroseal-chatbot-receipt-v2","prompt":"canary","answer":"a","model_sha256":"ab","settings":{},"receipt":"AQI="}`
	if _, err := ParseReceiptFile([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{
		"nothing":          "",
		"null":             "null",
		"array":            "[" + good + "]",
		"no format":        `{"prompt":"canary"}`,
		"another format":   strings.Replace(good, "-v2", "-v1", 1),
		"unknown field":    strings.Replace(good, `"prompt"`, `"extra":1,"prompt"`, 1),
		"unknown setting":  strings.Replace(good, `{}`, `{"extra":1}`, 1),
		"cut off":          good[:len(good)-1],
		"something behind": good + "{}",
		"rubbish behind":   good + "x",
		"bad base64":       strings.Replace(good, "AQI=", "%", 1),
		"bad type":         strings.Replace(good, `{}`, `{"max_tokens":"canary"}`, 1),
		"a huge seed":      strings.Replace(good, `{}`, `{"seed":4294967296}`, 1),
		"too large":        strings.Replace(good, "canary", strings.Repeat("x", MaxReceiptFile), 1),
	} {
		if f, err := ParseReceiptFile([]byte(in)); err == nil || f != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := ParseReceiptFile([]byte(good + " \n")); err != nil {
		t.Errorf("white space behind: %v", err)
	}
}

// A receipt holds for what was asked and answered, and for nothing else.
func TestReceiptFileVerify(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pcrs := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("image")))}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()
	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, KEM: session.X25519})
	if err != nil {
		t.Fatal(err)
	}
	defer enclave.Close()
	q := goldenQuestions["messages"].q
	claims, err := Claims(&q.Request, "yo", inference.FinishStop, "abcd")
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := enclave.Receipt(t.Context(), claims)
	if err != nil {
		t.Fatal(err)
	}
	file, err := (&ReceiptFile{Request: q.Request, Answer: "yo", FinishReason: inference.FinishStop, ModelDigest: "abcd", Receipt: receipt}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.Options{
		Roots:  []*x509.Certificate{ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{PCRs: pcrs}}},
	}
	read := func() *ReceiptFile {
		f, err := ParseReceiptFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if got, err := read().Verify(trust); err != nil || !got.Document.PCRs[0].Equal(pcrs[0]) {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ReceiptFile){
		"question":    func(f *ReceiptFile) { f.Request.Messages[1].Content = "ho" },
		"role":        func(f *ReceiptFile) { f.Request.Messages[0].Role = inference.RoleUser },
		"one message": func(f *ReceiptFile) { f.Request.Messages = f.Request.Messages[1:] },
		"setting":     func(f *ReceiptFile) { f.Request.Temperature = 1 },
		"answer":      func(f *ReceiptFile) { f.Answer = "no" },
		"end":         func(f *ReceiptFile) { f.FinishReason = inference.FinishLength },
		"no end":      func(f *ReceiptFile) { f.FinishReason = "" },
		"model":       func(f *ReceiptFile) { f.ModelDigest = "abce" },
		"receipt":     func(f *ReceiptFile) { f.Receipt = f.Receipt[:len(f.Receipt)-1] },
		"no receipt":  func(f *ReceiptFile) { f.Receipt = nil },
	} {
		f := read()
		change(f)
		if r, err := f.Verify(trust); err == nil || r != nil {
			t.Errorf("another %s: accepted", name)
		}
	}
	if _, err := read().Verify(attest.Options{Roots: trust.Roots}); !errors.Is(err, attest.ErrPolicy) {
		t.Errorf("without a policy: %v", err)
	}
}
