package llama

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/inference"
)

// plainTemplate is the name of the plain format in Options.ChatTemplate.
const plainTemplate = "plain"

// A chat puts the messages of a conversation together. It does not change
// after newChat, and is used under Model.mu.
type chat struct {
	tokenizer *tokenizer
	template  string // libllama's name of it, or its Jinja text; "" means plain
	unknown   bool   // the model has a template that libllama does not know
}

// newChat takes the template of the options, or the model's own. It needs
// m.tokenizer.
func newChat(m *Model, template string) (*chat, error) {
	c := &chat{tokenizer: m.tokenizer, template: template}
	switch template {
	case "":
		c.template = m.lib.ChatTemplate(m.model)
	case plainTemplate:
		c.template = ""
	}
	if c.template == "" {
		return c, nil
	}
	if _, ok := m.lib.ChatApply(c.template, []string{string(inference.RoleUser)}, []string{""}, true); !ok {
		if template != "" {
			return nil, errors.New("llama: ChatTemplate is not one that libllama knows")
		}
		c.unknown = true
	}
	return c, nil
}

// tokens returns the tokens of valid messages, and how many of them come from
// the first public messages alone.
//
// Contents never meet the template: it lays out placeholders, and each content
// is read by itself, as text, where its placeholder was.
func (c *chat) tokens(messages []inference.Message, public int) ([]inference.Token, int, error) {
	switch {
	case c.unknown:
		return nil, 0, cannotLayOut("libllama does not know the model's chat template; llama.Options.ChatTemplate can name another")
	case c.template == "":
		return plainTokens(c.tokenizer, messages, public)
	}
	parts, err := c.layout(messages)
	if err != nil {
		return nil, 0, err
	}
	size := 1
	for i, p := range parts {
		size += len(p.before)
		if i < len(messages) {
			size += len(messages[i].Content)
		}
	}
	// At its final length, so that no copies stay behind where it grew.
	out := make([]inference.Token, 0, size)
	defer func() { clear(out) }()
	// The template says the same between most messages, and a call of the
	// library takes long.
	type saying struct {
		text   string
		behind bool
	}
	said := make(map[saying][]inference.Token)
	publicTokens := 0
	for i, p := range parts {
		markup := saying{p.before, c.tokenizer.joins(out)}
		tokens, known := said[markup]
		if !known {
			if tokens, err = c.tokenizer.read(asMarkup, markup.behind, markup.text); err != nil {
				return nil, 0, err
			}
			said[markup] = tokens
		}
		out = append(out, tokens...)
		if bos := c.tokenizer.bos; i == 0 && bos >= 0 && (len(out) == 0 || out[0] != bos) {
			// Some templates write it themselves, others leave it to the
			// tokenizer.
			out = slices.Insert(out, 0, bos)
		}
		if i < len(messages) {
			tokens, err := c.tokenizer.read(asContent, c.tokenizer.joins(out), p.trim(messages[i].Content))
			if err != nil {
				return nil, 0, err
			}
			out = append(out, tokens...)
			clear(tokens)
		}
		if i+1 == public {
			publicTokens = len(out)
		}
	}
	return slices.Clone(out), publicTokens, nil
}

// A part is what the template writes before a content, and which ends of that
// content it trims. The last part has no content.
type part struct {
	before              string
	trimLeft, trimRight bool
}

// trim does what the template would have done to a content.
func (p *part) trim(content string) string {
	const space = " \t\n\v\f\r" // isspace of C, which libllama's templates use
	if p.trimLeft {
		content = strings.TrimLeft(content, space)
	}
	if p.trimRight {
		content = strings.TrimRight(content, space)
	}
	return content
}

// layout returns one part for each message and one for the end. It fails if
// the template leaves a message out, doubles or moves it.
func (c *chat) layout(messages []inference.Message) ([]part, error) {
	// A form feed at both ends shows whether the template trims contents:
	// none of them writes one itself.
	const edge = "\f"
	roles := make([]string, len(messages))
	places := make([]string, len(messages))
	contents := make([]string, len(messages))
	for i, m := range messages {
		roles[i] = string(m.Role)
		places[i] = rand.Text()
		contents[i] = edge + places[i] + edge
	}
	rest, ok := c.tokenizer.lib.ChatApply(c.template, roles, contents, true)
	if !ok {
		return nil, cannotLayOut("libllama does not know the model's chat template")
	}
	parts := make([]part, len(messages)+1)
	for i, place := range places {
		before, after, ok := strings.Cut(rest, place)
		if !ok || strings.Contains(after, place) {
			return nil, cannotLayOut("the model's chat template has no place for these roles in this order")
		}
		before, keptLeft := strings.CutSuffix(before, edge)
		after, keptRight := strings.CutPrefix(after, edge)
		parts[i] = part{before: before, trimLeft: !keptLeft, trimRight: !keptRight}
		rest = after
	}
	parts[len(messages)].before = rest
	for i := range parts {
		// A placeholder that came before its turn.
		for _, place := range places {
			if strings.Contains(parts[i].before, place) {
				return nil, cannotLayOut("the model's chat template has no place for these roles in this order")
			}
		}
	}
	return parts, nil
}

func cannotLayOut(reason string) error {
	return &inference.RequestError{Field: "Messages", Reason: reason, Err: inference.ErrInvalidRequest}
}
