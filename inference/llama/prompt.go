package llama

import (
	"context"

	"github.com/nitroseal/nitroseal/inference"
)

// promptTokens returns the tokens of a valid request's Prompt or Messages,
// and how many of them come from its public prefix alone. There is at least
// one token; the error is ErrClosed, ctx's, or an *inference.RequestError if
// the model cannot read the request.
func (m *Model) promptTokens(ctx context.Context, req *inference.Request) (tokens []inference.Token, public int, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, 0, inference.ErrClosed
	}
	if len(req.Messages) > 0 {
		tokens, public, err = m.chat.tokens(req.Messages, req.PublicPrefix)
		return tokens, public, inField("Messages", err)
	}
	if tokens, err = m.tokenizer.text(req.Prompt); err != nil {
		return nil, 0, err
	}
	if len(tokens) == 0 {
		// Nothing to continue: the model's token for the beginning of text.
		if !m.hasBOS() {
			return nil, 0, &inference.RequestError{Field: "Prompt", Reason: "empty, and the model has no token to begin with", Err: inference.ErrInvalidRequest}
		}
		return []inference.Token{m.bos}, 0, nil
	}
	public, err = m.tokenizer.public(tokens, req.Prompt[:req.PublicPrefix])
	if err != nil {
		return nil, 0, err
	}
	return tokens, public, nil
}

// public returns how many of the tokens follow from the text's
// beginning alone. Where a token reaches over the border it depends on what
// comes behind, so only what both have in common counts.
func (t *tokenizer) public(tokens []inference.Token, beginning ...string) (int, error) {
	size := 0
	for _, p := range beginning {
		size += len(p)
	}
	if size == 0 {
		return 0, nil
	}
	head, err := t.text(beginning...)
	if err != nil {
		return 0, err
	}
	defer clear(head)
	return common(head, tokens), nil
}
