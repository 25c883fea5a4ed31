package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/inference"
)

// MaxReceiptFile bounds a receipt file, in bytes: JSON can take six for one of
// the longest question, and the answer comes on top.
const MaxReceiptFile = 16 << 20

// receiptFormat names the form of a receipt file.
const receiptFormat = "nitroseal-chatbot-receipt-v2"

// ReceiptFile is a receipt with all that it is about, so that it can be
// verified by itself. It holds question and answer in clear.
type ReceiptFile struct {
	// Request is what was asked, without its CacheScope and PublicPrefix.
	Request inference.Request
	// Answer is the whole text of the answer.
	Answer string
	// FinishReason says why the answer ended: whether the model ended it or it
	// was cut at the limit of its length.
	FinishReason inference.FinishReason
	// ModelDigest is the SHA-256 of the model file in hexadecimal.
	ModelDigest string
	// Receipt is the enclave's.
	Receipt []byte
}

// Format prints sizes only, whatever the verb.
func (f ReceiptFile) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "receipt of %d bytes", len(f.Receipt))
}

// LogValue shows sizes only.
func (f ReceiptFile) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(f)) }

// Claims are what the enclave attests of one answer: conversation and settings
// as they are encoded in a Question, why the answer ended and its text, and the
// model's digest in hexadecimal.
func Claims(r *inference.Request, answer string, finish inference.FinishReason, modelDigest string) (session.Claims, error) {
	conversation, err := encode("conversation", conversationOf(r))
	if err != nil {
		return session.Claims{}, err
	}
	settings, err := encode("settings", settingsOf(r))
	if err != nil {
		return session.Claims{}, err
	}
	response, err := encode("answer", wireResponse{Finish: string(finish), Text: answer})
	if err != nil {
		return session.Claims{}, err
	}
	return session.Claims{Request: conversation, Response: response, Model: []byte(modelDigest), Parameters: settings}, nil
}

// wireResponse is the claim about the answer: a CBOR array of both.
type wireResponse struct {
	_      struct{} `cbor:",toarray"`
	Finish string
	Text   string
}

// Verify verifies that an enclave that opts trusts gave this answer to this
// request, with this model, and that it ended for this reason. Errors are those of session.VerifyReceipt.
func (f *ReceiptFile) Verify(opts attest.Options) (*session.Receipt, error) {
	claims, err := Claims(&f.Request, f.Answer, f.FinishReason, f.ModelDigest)
	if err != nil {
		return nil, err
	}
	return session.VerifyReceipt(f.Receipt, opts, claims)
}

// receiptJSON is a ReceiptFile as it is written.
type receiptJSON struct {
	Format      string          `json:"format"`
	Prompt      string          `json:"prompt,omitempty"`
	Messages    []receiptTurn   `json:"messages,omitempty"`
	Answer      string          `json:"answer"`
	Finish      string          `json:"finish_reason"`
	ModelSHA256 string          `json:"model_sha256"`
	Settings    receiptSettings `json:"settings"`
	Receipt     []byte          `json:"receipt"`
}

type receiptTurn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type receiptSettings struct {
	MaxTokens     int      `json:"max_tokens,omitempty"`
	Temperature   float32  `json:"temperature,omitempty"`
	TopK          int      `json:"top_k,omitempty"`
	TopP          float32  `json:"top_p,omitempty"`
	MinP          float32  `json:"min_p,omitempty"`
	Seed          uint32   `json:"seed,omitempty"`
	RepeatPenalty float32  `json:"repeat_penalty,omitempty"`
	RepeatWindow  int      `json:"repeat_window,omitempty"`
	Stop          []string `json:"stop,omitempty"`
	Grammar       string   `json:"grammar,omitempty"`
	JSONSchema    string   `json:"json_schema,omitempty"`
	LogProbs      bool     `json:"logprobs,omitempty"`
	TopLogProbs   int      `json:"top_logprobs,omitempty"`
}

// Marshal returns the file.
func (f *ReceiptFile) Marshal() ([]byte, error) {
	j := receiptJSON{
		Format: receiptFormat, Prompt: f.Request.Prompt, Answer: f.Answer, Finish: string(f.FinishReason), ModelSHA256: f.ModelDigest,
		Settings: receiptSettings(settingsOf(&f.Request)), Receipt: f.Receipt,
	}
	for _, m := range f.Request.Messages {
		j.Messages = append(j.Messages, receiptTurn{string(m.Role), m.Content})
	}
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil || len(b) >= MaxReceiptFile {
		return nil, errors.New("wire: cannot encode the receipt")
	}
	return append(b, '\n'), nil
}

// ParseReceiptFile reads a receipt file. It verifies nothing.
func ParseReceiptFile(data []byte) (*ReceiptFile, error) {
	var j receiptJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if len(data) > MaxReceiptFile || d.Decode(&j) != nil || j.Format != receiptFormat {
		return nil, errors.New("wire: this is no receipt file of the chatbot")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("wire: data after the receipt")
	}
	w := wireQuestion{Conversation: wireConversation{Prompt: j.Prompt}, Settings: wireSettings(j.Settings)}
	for _, m := range j.Messages {
		w.Conversation.Messages = append(w.Conversation.Messages, wireMessage{Role: m.Role, Content: m.Content})
	}
	return &ReceiptFile{w.request(), j.Answer, inference.FinishReason(j.Finish), j.ModelSHA256, j.Receipt}, nil
}
