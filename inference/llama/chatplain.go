package llama

import (
	"strings"

	"github.com/nitroseal/nitroseal/inference"
)

// The plain format, for models without a template of their own:
//
//	<content of the system>
//	Question: <content of the user>
//	Answer: <content of the assistant>
//	Question: <content of the user>
//	Answer:
const (
	plainUser      = "Question:"
	plainAssistant = "Answer:"
)

// plainTokens returns the tokens of messages in the plain format, and how many
// of them come from the first public messages alone.
func plainTokens(t *tokenizer, messages []inference.Message, public int) ([]inference.Token, int, error) {
	pieces, end := plainText(messages, public)
	tokens, err := t.text(pieces...)
	if err != nil {
		return nil, 0, err
	}
	n, err := t.public(tokens, pieces[:end]...)
	if err != nil {
		return nil, 0, err
	}
	return tokens, n, nil
}

// plainText returns the pieces of the text of messages, and how many of them
// belong to the first public ones.
func plainText(messages []inference.Message, public int) (pieces []string, end int) {
	for i, m := range messages {
		switch m.Role {
		case inference.RoleSystem:
			pieces = appendLines(pieces, m.Content, true)
		case inference.RoleUser:
			pieces = appendLines(append(pieces, plainUser+" "), m.Content, false)
		default:
			// Models answer with a space first; whether the caller has kept
			// it should make no difference.
			pieces = appendLines(append(pieces, plainAssistant+" "), strings.TrimSpace(m.Content), false)
		}
		if i < public {
			end = len(pieces)
		}
		pieces = append(pieces, "\n")
	}
	return append(pieces, plainAssistant), end
}

// appendLines appends text with a space before each line that begins like a
// turn, so that no content has a line like those of the format. atStart says
// whether text begins a line.
func appendLines(pieces []string, text string, atStart bool) []string {
	from := 0
	for i, r := range text {
		if atStart && (hasPrefixFold(text[i:], plainUser) || hasPrefixFold(text[i:], plainAssistant)) {
			pieces = append(pieces, text[from:i], " ")
			from = i
		}
		switch r {
		case '\n', '\r', '\v', '\f', '\u0085', '\u2028', '\u2029':
			atStart = true
		default:
			atStart = false
		}
	}
	return append(pieces, text[from:])
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
