package openai

import "github.com/nitroseal/nitroseal/inference"

// presenter puts answers into the form of one of the two endpoints. It belongs
// to one answer. What it returns is an element of choices.
type presenter interface {
	// names returns the prefix of ids, and the object names of a whole answer
	// and of a chunk.
	names() (prefix, whole, chunk string)
	whole(text string, probs []inference.TokenLogProbs, finish string) any
	// first returns what a stream begins with, or nil.
	first() any
	piece(text string, probs []inference.TokenLogProbs) any
	last(finish string) any
}

// chatForm is that of /v1/chat/completions.
type chatForm struct{}

type chatMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  chatMessage   `json:"message"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   string        `json:"finish_reason"`
}

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatPiece struct {
	Index    int           `json:"index"`
	Delta    chatDelta     `json:"delta"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

func (chatForm) names() (prefix, whole, chunk string) {
	return "chatcmpl-", "chat.completion", "chat.completion.chunk"
}

func (chatForm) whole(text string, probs []inference.TokenLogProbs, finish string) any {
	return chatChoice{Message: chatMessage{Role: "assistant", Content: text}, LogProbs: chatProbs(probs), Finish: finish}
}

func (chatForm) first() any {
	return chatPiece{Delta: chatDelta{Role: "assistant", Content: new(string)}}
}

func (chatForm) piece(text string, probs []inference.TokenLogProbs) any {
	return chatPiece{Delta: chatDelta{Content: &text}, LogProbs: chatProbs(probs)}
}

func (chatForm) last(finish string) any { return chatPiece{Finish: &finish} }

// completionForm is that of /v1/completions.
type completionForm struct {
	logprobs bool
	offsets  offsets
}

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	LogProbs *completionLogProbs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
}

func (*completionForm) names() (prefix, whole, chunk string) {
	return "cmpl-", "text_completion", "text_completion"
}

func (f *completionForm) whole(text string, probs []inference.TokenLogProbs, finish string) any {
	return completionChoice{Text: text, LogProbs: f.probs(probs), Finish: &finish}
}

func (*completionForm) first() any { return nil }

func (f *completionForm) piece(text string, probs []inference.TokenLogProbs) any {
	return completionChoice{Text: text, LogProbs: f.probs(probs)}
}

func (*completionForm) last(finish string) any { return completionChoice{Finish: &finish} }
