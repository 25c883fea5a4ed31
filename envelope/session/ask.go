package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"
)

// PayloadFunc makes the payload of one request to the enclave that was
// verified: it may sign KMS requests for that enclave's document, under an
// encryption context with the request's id. It is called again if the request
// is sent again. The payload is erased once it is sealed.
type PayloadFunc func(ctx context.Context, e *Established, id RequestID) ([]byte, error)

// Ask seals a request to a verified enclave and yields the messages of its
// answer, each as soon as it has come and was found authentic. The caller owns
// them. An error is the last thing yielded: what came before is authentic, but
// not the whole answer. An answer whose loop ends without an error is whole.
// Leaving the loop early, or ending ctx, cancels the enclave's work. What comes
// behind the last segment is not looked at.
//
// The request is sent when the sequence is ranged over, and is another one each
// time.
//
// Errors: those of Establish and of payload; ErrTooLarge; what the parent says
// that the enclave said (ErrKeyUnknown and its group); ErrTruncated, ErrSegment
// and ErrOrder for an answer that was tampered with; a *RemoteError from the
// enclave's application; ctx's and the transport's.
func (c *Client) Ask(ctx context.Context, payload PayloadFunc) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if payload == nil {
			yield(nil, errors.New("session: Ask needs a payload"))
			return
		}
		x := exchange{yield: yield, payload: payload, began: c.opts.Clock()}
		rand.Read(x.id[:])
		first, err := c.Establish(ctx)
		if err == nil {
			err = c.exchange(ctx, first, &x)
		}
		for n := 1; n < maxAttempts && errors.Is(err, ErrKeyUnknown) && !x.begun; n++ {
			err = c.again(ctx, first, &x, err)
		}
		if err != nil && !x.left {
			yield(nil, err)
		}
	}
}

// maxAttempts is how often a request is sent. Keys can be used up by others
// before it comes.
const maxAttempts = 3

// again sends a request once more, after the parent said that the enclave does
// not have the key that it was sealed to.
func (c *Client) again(ctx context.Context, first *Established, x *exchange, refused error) error {
	c.forget(x.sealedTo)
	e, err := c.Establish(ctx)
	if err != nil {
		return err
	}
	if e.Document.ModuleID != first.Document.ModuleID && !c.opts.RetryElsewhere {
		return refused
	}
	x.refused = refused
	return c.exchange(ctx, e, x)
}

// exchange is one request, whatever keys it is sealed to.
type exchange struct {
	yield   func([]byte, error) bool
	payload PayloadFunc
	id      RequestID
	began   time.Time
	refused error // why the attempt before failed; nil at the first
	// sealedTo is the enclave of the last attempt.
	sealedTo *Established
	// Whether any of the answer came, and whether the caller left the loop.
	begun, left bool
}

// exchange is one attempt at a request.
func (c *Client) exchange(ctx context.Context, e *Established, x *exchange) error {
	x.sealedTo = e
	plaintext, err := x.payload(ctx, e, x.id)
	if err != nil {
		return err
	}
	defer clear(plaintext)
	// Looked at as late as can be: the parent can hold up the attestation.
	now := c.opts.Clock()
	if x.refused != nil && now.Sub(x.began) > retryWithin {
		return x.refused
	}
	message, export, err := sealRequest(e.Config, e.digest, x.id, now, plaintext, !c.opts.NoPadding)
	clear(plaintext)
	if err != nil {
		return err
	}
	a := answer{export: export, digest: requestDigest(message)}
	for segment, err := range c.opts.Transport.Ask(ctx, message) {
		if err != nil {
			if !x.begun && !errors.Is(err, ErrBusy) {
				// The enclave may be gone: whoever asks next finds out.
				c.forget(e)
			}
			return broken(ctx, err, x.begun)
		}
		x.begun = true
		kind, content, last, err := a.open(segment)
		switch {
		case err != nil:
			return err
		case kind == kindError:
			remote, err := parseError(content)
			if err != nil {
				return err
			}
			return remote
		case kind == kindMessage && !x.yield(content, nil):
			x.left = true
			return nil
		}
		if last {
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrTruncated
}

// broken is what an error of the transport means for an answer that is not
// whole.
func broken(ctx context.Context, err error, begun bool) error {
	if begun && ctx.Err() == nil && !errors.Is(err, ErrTruncated) {
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return err
}
