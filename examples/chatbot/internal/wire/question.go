package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/inference"
)

// MaxQuestion bounds an encoded Question, in bytes: the longest conversation,
// a grammar, and what they are wrapped in.
const MaxQuestion = inference.MaxPromptBytes + inference.MaxGrammarBytes + 64<<10

// ScopeSize is the length of Question.Scope, in bytes.
const ScopeSize = 32

// Errors that a user's own input can cause.
var (
	// ErrEmpty: the question holds nothing but white space.
	ErrEmpty = errors.New("the question is empty")
	// ErrNotUTF8: the question is not valid UTF-8 text.
	ErrNotUTF8 = errors.New("the question is not valid UTF-8 text")
	// ErrTooLong: the question is over MaxQuestion.
	ErrTooLong = errors.New("the question is too long")
)

// Question is what the client asks.
type Question struct {
	// Request is what to generate. CacheScope and PublicPrefix do not travel.
	Request inference.Request
	// Scope is a random secret of the client: questions with the same scope
	// may reuse each other's work. Empty, or ScopeSize bytes.
	Scope []byte
	// Receipt asks for a receipt.
	Receipt bool
}

// Format prints sizes only, whatever the verb.
func (q Question) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "question of %d bytes in %d messages", len(q.Request.Prompt)+contentSize(q.Request.Messages), len(q.Request.Messages))
}

// LogValue shows sizes only.
func (q Question) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(q)) }

func contentSize(messages []inference.Message) (n int) {
	for _, m := range messages {
		n += len(m.Content)
	}
	return n
}

type wireMessage struct {
	_       struct{} `cbor:",toarray"`
	Role    string
	Content string
}

// wireConversation is what is asked, and wireSettings how.
type wireConversation struct {
	Prompt   string        `cbor:"1,keyasint,omitempty"`
	Messages []wireMessage `cbor:"2,keyasint,omitempty"`
}

type wireSettings struct {
	MaxTokens     int      `cbor:"1,keyasint,omitempty"`
	Temperature   float32  `cbor:"2,keyasint,omitempty"`
	TopK          int      `cbor:"3,keyasint,omitempty"`
	TopP          float32  `cbor:"4,keyasint,omitempty"`
	MinP          float32  `cbor:"5,keyasint,omitempty"`
	Seed          uint32   `cbor:"6,keyasint,omitempty"`
	RepeatPenalty float32  `cbor:"7,keyasint,omitempty"`
	RepeatWindow  int      `cbor:"8,keyasint,omitempty"`
	Stop          []string `cbor:"9,keyasint,omitempty"`
	Grammar       string   `cbor:"10,keyasint,omitempty"`
	JSONSchema    string   `cbor:"11,keyasint,omitempty"`
	LogProbs      bool     `cbor:"12,keyasint,omitempty"`
	TopLogProbs   int      `cbor:"13,keyasint,omitempty"`
}

type wireQuestion struct {
	Conversation wireConversation `cbor:"1,keyasint"`
	Settings     wireSettings     `cbor:"2,keyasint"`
	Scope        []byte           `cbor:"3,keyasint,omitempty"`
	Receipt      bool             `cbor:"4,keyasint,omitempty"`
}

func conversationOf(r *inference.Request) wireConversation {
	c := wireConversation{Prompt: r.Prompt}
	for _, m := range r.Messages {
		c.Messages = append(c.Messages, wireMessage{Role: string(m.Role), Content: m.Content})
	}
	return c
}

func settingsOf(r *inference.Request) wireSettings {
	return wireSettings{
		r.MaxTokens, r.Temperature, r.TopK, r.TopP, r.MinP, r.Seed, r.RepeatPenalty, r.RepeatWindow,
		r.Stop, r.Grammar, r.JSONSchema, r.LogProbs, r.TopLogProbs,
	}
}

func (w *wireQuestion) request() inference.Request {
	s := &w.Settings
	r := inference.Request{
		Prompt: w.Conversation.Prompt, MaxTokens: s.MaxTokens, Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP,
		MinP: s.MinP, Seed: s.Seed, RepeatPenalty: s.RepeatPenalty, RepeatWindow: s.RepeatWindow, Stop: s.Stop,
		Grammar: s.Grammar, JSONSchema: s.JSONSchema, LogProbs: s.LogProbs, TopLogProbs: s.TopLogProbs,
	}
	for _, m := range w.Conversation.Messages {
		r.Messages = append(r.Messages, inference.Message{Role: inference.Role(m.Role), Content: m.Content})
	}
	return r
}

// EncodeQuestion checks q and encodes it. The errors are ErrEmpty, ErrNotUTF8,
// ErrTooLong and inference.ErrInvalidRequest, possibly wrapped.
func EncodeQuestion(q Question) ([]byte, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	b, err := encode("question", wireQuestion{conversationOf(&q.Request), settingsOf(&q.Request), q.Scope, q.Receipt})
	if err != nil {
		return nil, err
	}
	if len(b) > MaxQuestion {
		clear(b)
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(b), MaxQuestion)
	}
	return b, nil
}

// DecodeQuestion is the inverse of EncodeQuestion, as strict about what is
// asked.
func DecodeQuestion(b []byte) (Question, error) {
	var w wireQuestion
	if len(b) > MaxQuestion {
		return Question{}, ErrTooLong
	}
	if err := decode("question", b, &w); err != nil {
		return Question{}, err
	}
	q := Question{w.request(), w.Scope, w.Receipt}
	if err := q.check(); err != nil {
		return Question{}, err
	}
	return q, nil
}

func (q *Question) check() error {
	r := &q.Request
	texts := []string{r.Prompt}
	for _, m := range r.Messages {
		texts = append(texts, m.Content)
	}
	blank := true
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return ErrNotUTF8
		}
		blank = blank && strings.TrimSpace(t) == ""
	}
	if n := len(r.Messages); n > 0 {
		blank = strings.TrimSpace(r.Messages[n-1].Content) == ""
	}
	if blank {
		return ErrEmpty
	}
	if len(q.Scope) != 0 && len(q.Scope) != ScopeSize {
		return fmt.Errorf("wire: a scope has %d bytes", ScopeSize)
	}
	if err := r.Validate(); err != nil {
		if errors.Is(err, inference.ErrPromptTooLong) {
			return fmt.Errorf("%w (%w)", ErrTooLong, err)
		}
		return err
	}
	return nil
}
