package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

const (
	// defaultMaxAge is how long one attestation is relied on.
	defaultMaxAge = 4 * time.Minute
	// expiryMargin is how long before its NotAfter a key is no longer used, for
	// clocks that differ.
	expiryMargin = time.Minute
	// retryWithin is how long after its first attempt a request is sealed
	// again. What an enclave remembers depends on it (keyring.expire).
	retryWithin = 30 * time.Second
)

// Transport carries messages between a client and an enclave, through a parent
// that neither trusts. Package sessionrpc has transports. It is safe for
// concurrent use.
type Transport interface {
	// Attest sends an attestation request and returns the answer.
	Attest(ctx context.Context, request []byte) ([]byte, error)
	// Ask sends a sealed request and yields the segments of the answer. A
	// slice is valid until the next is asked for. An error is the last thing
	// yielded; one that says why the enclave did not open the request is, or
	// wraps, ErrKeyUnknown or another of that group. Leaving the loop cancels
	// the enclave's work.
	Ask(ctx context.Context, request []byte) iter.Seq2[[]byte, error]
}

// ClientOptions configures NewClient.
type ClientOptions struct {
	// Transport leads to the enclave. Required.
	Transport Transport
	// Enclave says which enclave is trusted: its zero Policy refuses every
	// document. Policy.Nonce and Policy.UserData are set by the client.
	Enclave attest.Options
	// MaxAge is how long one attestation is relied on. KMS requests that are
	// signed for a document need it to be young. 0 means 4 minutes.
	MaxAge time.Duration
	// NoPadding sends requests in their own length, and not rounded up.
	NoPadding bool
	// RetryElsewhere sends a request again when another enclave has taken the
	// place of the one that it was sealed to. That an enclave did not open a
	// request is the parent's word: with RetryElsewhere a parent can have a
	// question opened by two enclaves of the policy, once by each. Without it
	// such a request fails with ErrKeyUnknown. A request is always sent again
	// to the same enclave, which opens it once.
	RetryElsewhere bool
	// Clock tells the time. nil means time.Now.
	Clock func() time.Time
}

// Client asks an enclave that it has verified. It is safe for concurrent use.
type Client struct {
	opts ClientOptions

	mu      sync.Mutex
	current *Established
	pending *establishing
}

// establishing is one verification under way. Its results are set before done
// is closed.
type establishing struct {
	done chan struct{}
	e    *Established
	err  error
	// hurried says that the context of the one who led had ended.
	hurried bool
}

// Established is an enclave that was verified, with its key.
type Established struct {
	// Document is the verified attestation document, and Raw its bytes. Raw is
	// what KMS requests for this enclave are signed with.
	Document *attest.Document
	Raw      []byte
	// Config is the enclave's key, and KeyID its name.
	Config *KeyConfig
	KeyID  KeyID
	// VerifiedAt is when the client asked for the document.
	VerifiedAt time.Time

	digest [48]byte
}

// NewClient checks opts and returns a Client. It does not connect yet.
func NewClient(opts ClientOptions) (*Client, error) {
	if opts.Transport == nil {
		return nil, errors.New("session: a Client needs a Transport")
	}
	if opts.MaxAge < 0 {
		return nil, errors.New("session: MaxAge is negative")
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = defaultMaxAge
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	return &Client{opts: opts}, nil
}

// Establish returns an enclave that was verified at most MaxAge ago, and
// verifies one if need be. Calls at the same time share one verification.
//
// Errors: attest's for the document, ErrConfig, ErrConfigExpired, ErrMalformed,
// ctx's and the transport's.
func (c *Client) Establish(ctx context.Context) (*Established, error) {
	for {
		c.mu.Lock()
		if e := c.current; e != nil && c.usable(e) {
			c.mu.Unlock()
			return e, nil
		}
		p := c.pending
		if p == nil {
			p = &establishing{done: make(chan struct{})}
			c.pending = p
			c.mu.Unlock()
			return c.lead(ctx, p)
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.done:
			if p.err == nil {
				return p.e, nil
			}
			// The one who led may have been in more of a hurry.
			if !p.hurried {
				return nil, p.err
			}
		}
	}
}

// lead verifies for everybody who waits for p.
func (c *Client) lead(ctx context.Context, p *establishing) (*Established, error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.e == nil && p.err == nil { // the transport panicked
			p.err = errors.New("session: establishing failed")
		}
		if p.err == nil {
			c.current = p.e
		}
		c.pending = nil
		close(p.done)
	}()
	p.e, p.err = c.verify(ctx)
	p.hurried = p.err != nil && ctx.Err() != nil
	return p.e, p.err
}

func (c *Client) usable(e *Established) bool {
	now := c.opts.Clock()
	age := now.Sub(e.VerifiedAt)
	return age >= 0 && age < c.opts.MaxAge && now.Before(e.Config.NotAfter.Add(-expiryMargin))
}

// forget makes the next Establish verify anew, unless that has happened.
func (c *Client) forget(e *Established) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == e {
		c.current = nil
	}
}

// verify asks the enclave for its key and believes it only if a document that
// meets the policy attests it, over a nonce of now.
func (c *Client) verify(ctx context.Context) (*Established, error) {
	var nonce [NonceSize]byte
	rand.Read(nonce[:])
	asked := c.opts.Clock()
	answer, err := c.opts.Transport.Attest(ctx, marshalAttestRequest(nonce))
	if err != nil {
		return nil, fmt.Errorf("session: asking for an attestation: %w", err)
	}
	return c.believe(nonce, asked, answer)
}

// believe verifies the answer to a nonce.
func (c *Client) believe(nonce [NonceSize]byte, asked time.Time, answer []byte) (*Established, error) {
	rawConfig, rawDocument, err := parseAttestAnswer(answer)
	if err != nil {
		return nil, err
	}
	trusted := c.opts.Enclave
	trusted.Policy.Nonce, trusted.Policy.UserData = nonce[:], nil
	document, err := attest.Verify(rawDocument, trusted)
	if err != nil {
		return nil, err
	}
	digest := digestOf(labelConfig, rawConfig)
	if subtle.ConstantTimeCompare(document.UserData, digest[:]) != 1 {
		return nil, ErrConfig
	}
	config, err := parseConfig(rawConfig)
	if err != nil {
		return nil, err
	}
	if !asked.Before(config.NotAfter) {
		return nil, fmt.Errorf("%w at %v", ErrConfigExpired, config.NotAfter)
	}
	return &Established{document, rawDocument, config, keyIDOf(digest), asked, digest}, nil
}
