package session

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
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
// Leaving the loop early, or ending ctx, cancels the enclave's work.
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
		var id RequestID
		rand.Read(id[:])
		began := c.opts.Clock()
		e, err := c.Establish(ctx)
		for attempt := 0; err == nil; attempt++ {
			x := exchange{yield: yield}
			err = c.exchange(ctx, e, id, payload, &x)
			if x.left {
				return
			}
			if err == nil {
				return
			}
			if x.begun || attempt > 0 || !errors.Is(err, ErrKeyUnknown) || c.opts.Clock().Sub(began) > retryWithin {
				break
			}
			c.forget(e)
			refused := err
			before := e
			if e, err = c.Establish(ctx); err != nil {
				break
			}
			if e.Document.ModuleID != before.Document.ModuleID && !c.opts.RetryElsewhere {
				err = refused
			}
		}
		yield(nil, err)
	}
}

// exchange is one attempt at a request: whether any of its answer came, and
// whether the caller has left the loop.
type exchange struct {
	yield       func([]byte, error) bool
	begun, left bool
}

func (c *Client) exchange(ctx context.Context, e *Established, id RequestID, payload PayloadFunc, x *exchange) error {
	plaintext, err := payload(ctx, e, id)
	if err != nil {
		return err
	}
	message, export, err := sealRequest(e.Config, e.digest, id, c.opts.Clock(), plaintext, !c.opts.NoPadding)
	clear(plaintext)
	if err != nil {
		return err
	}
	a := answer{export: export, digest: requestDigest(message)}
	for segment, err := range c.opts.Transport.Ask(ctx, message) {
		if err != nil {
			return err
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
