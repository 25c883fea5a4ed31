package terminal

import (
	"errors"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// A turn is a question and its answer.
type turn struct{ question, answer string }

// A conversation is what was said so far. It estimates how many tokens that
// has, so as to leave the oldest turns out before the enclave has to refuse.
type conversation struct {
	system string
	turns  []turn
	// rate is how many tokens a byte has, as the last answer told; 0 means
	// that none did.
	rate float64
}

const (
	// firstRate is guessed while nothing is known: English has about 4 bytes
	// a token.
	firstRate = 1.0 / 3
	// perMessage is guessed for what a chat template adds to each message.
	perMessage = 8
)

// messages puts a conversation and a new question together.
func messages(system string, turns []turn, question string) []inference.Message {
	var all []inference.Message
	if system != "" {
		all = append(all, inference.Message{Role: inference.RoleSystem, Content: system})
	}
	for _, t := range turns {
		all = append(all,
			inference.Message{Role: inference.RoleUser, Content: t.question},
			inference.Message{Role: inference.RoleAssistant, Content: t.answer})
	}
	return append(all, inference.Message{Role: inference.RoleUser, Content: question})
}

// ask returns the messages for a question that is not part of the conversation
// yet.
func (c *conversation) ask(question string) []inference.Message {
	return messages(c.system, c.turns, question)
}

// fit drops the oldest turns until what is left, question and an answer of
// answer tokens are likely to fit into a model's context of space tokens, and
// into a request whatever the model. 0 means that the space is not known. It
// returns how many turns it dropped.
func (c *conversation) fit(question string, space, answer int) (dropped int) {
	// An answer may be allowed more than it ever takes: keep it from pushing
	// the whole conversation out.
	answer = min(answer, space/2)
	for len(c.turns) > 0 {
		all := c.ask(question)
		n := size(all)
		if len(all) <= inference.MaxMessages && n <= inference.MaxPromptBytes &&
			(space <= 0 || c.estimate(n, len(all))+answer <= space) {
			break
		}
		dropped += c.drop(1)
	}
	return dropped
}

// halve drops the older half of the turns, at least one if there is one, and
// returns how many it dropped.
func (c *conversation) halve() int { return c.drop((len(c.turns) + 1) / 2) }

func (c *conversation) drop(n int) int {
	clear(c.turns[:n])
	c.turns = c.turns[n:]
	return n
}

func (c *conversation) estimate(bytes, messages int) int {
	rate := c.rate
	if rate == 0 {
		rate = firstRate
	}
	return int(float64(bytes)*rate) + perMessage*messages
}

// learn takes the rate from what a request with these messages really had.
func (c *conversation) learn(sent []inference.Message, tokens int) {
	if bytes := size(sent); tokens > 0 && bytes > 0 {
		// The template is part of the rate, so that short questions are
		// rather overestimated.
		c.rate = min(max(float64(tokens)/float64(bytes), 1.0/16), 2)
	}
}

func size(all []inference.Message) (bytes int) {
	for _, m := range all {
		bytes += len(m.Content)
	}
	return bytes
}

// tooLong reports whether a shorter conversation could have succeeded.
func tooLong(err error) bool {
	return errors.Is(err, wire.ReasonPromptTooLong) || errors.Is(err, wire.ReasonTooLarge) ||
		errors.Is(err, wire.ErrTooLong) || errors.Is(err, inference.ErrPromptTooLong)
}

// validate reports, before it is sent, that a request can never succeed.
func validate(r *inference.Request) error {
	for _, m := range r.Messages {
		if !utf8.ValidString(m.Content) {
			return wire.ErrNotUTF8
		}
	}
	return r.Validate()
}
