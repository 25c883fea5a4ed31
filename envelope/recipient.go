package envelope

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/internal/secret"
)

// Ages at which a Recipient renews what it holds.
const (
	// renewAge is when another attestation document is asked for, in the
	// background.
	renewAge = 3 * time.Minute
	// maxDocumentAge is when a document is no longer used. KMS states no
	// limit; four minutes is this package's own choice, and kmstest refuses
	// documents of over five.
	maxDocumentAge = 4 * time.Minute
	// renewTimeout bounds one renewal in the background.
	renewTimeout = 30 * time.Second
	// defaultKeyAge is when a new key is made.
	defaultKeyAge = 24 * time.Hour
)

// RecipientOptions configures NewRecipient.
type RecipientOptions struct {
	// Attester makes the attestation documents. Required; *attest.NSM is one.
	// It must stay open as long as the Recipient is used.
	Attester attest.Attester
	// Entropy is mixed into the kernel's random number generator before each
	// key is made: 64 bytes are read from it and written to /dev/random.
	// *attest.NSM is such a source, and an enclave has few others. nil mixes
	// nothing in.
	Entropy io.Reader
	// KeyBits is the size of the RSA key: 2048, 3072 or 4096. 0 means 2048,
	// the size that AWS documents for KMS.
	KeyBits int
	// KeyAge is when a new key takes the old one's place. Messages for the
	// old one that are still under way are opened with it. 0 means 24 hours.
	KeyAge time.Duration
	// Clock tells the time. nil means time.Now, whose monotonic reading does
	// not follow a clock that the parent sets.
	Clock func() time.Time
}

// Recipient is an enclave's RSA key for messages from KMS, with the
// attestation document that vouches for it. The private key never leaves the
// process. One that was replaced is erased from memory in programs built with
// GOEXPERIMENT=runtimesecret; in others Go has no means to. A Recipient is safe
// for concurrent use and meant to be shared: one an enclave is enough.
//
// The document is renewed when it is used at an age of three minutes or more.
// While one renewal is under way, calls go on with the document at hand; only
// when that is four minutes old do they wait, each until its own context ends.
//
// The key comes from the kernel's generator: since Go 1.26 rsa.GenerateKey
// ignores any other source. RecipientOptions.Entropy therefore goes to the
// kernel and not to the key.
type Recipient struct {
	opts RecipientOptions

	mu      sync.Mutex // never held while a key or a document is made
	current recipientKey
	former  *rsa.PrivateKey // the key before, for messages that are still under way
	renewal *renewal        // under way; nil if none is
}

// recipientKey is a key and its document at one time. It is never changed, so
// a call under way keeps the one that it began with.
type recipientKey struct {
	private  *rsa.PrivateKey
	public   []byte // SubjectPublicKeyInfo, DER
	made     time.Time
	document []byte
	attested time.Time
}

// renewal is one attempt to renew. Its err is set before done is closed.
type renewal struct {
	done chan struct{}
	err  error
}

// NewRecipient makes a key and has it attested, which takes a good part of a
// second for 2048 bits, and some seconds for 4096.
func NewRecipient(ctx context.Context, opts RecipientOptions) (*Recipient, error) {
	if opts.Attester == nil {
		return nil, errors.New("envelope: a Recipient needs an Attester")
	}
	switch opts.KeyBits {
	case 0:
		opts.KeyBits = 2048
	case 2048, 3072, 4096:
	default:
		return nil, fmt.Errorf("envelope: RSA keys of %d bits are not for KMS; 2048, 3072 or 4096 are", opts.KeyBits)
	}
	if opts.KeyAge <= 0 {
		opts.KeyAge = defaultKeyAge
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	r := &Recipient{opts: opts}
	k, err := r.renew(ctx, recipientKey{})
	if err != nil {
		return nil, err
	}
	r.current = k
	return r, nil
}

// key returns a key with a document that is fresh enough for one call.
func (r *Recipient) key(ctx context.Context) (recipientKey, error) {
	for {
		k, pending := r.poll()
		if pending == nil {
			return k, nil
		}
		select {
		case <-ctx.Done():
			return recipientKey{}, fmt.Errorf("envelope: waiting for an attestation document: %w", ctx.Err())
		case <-pending.done:
			if pending.err != nil {
				return recipientKey{}, pending.err
			}
		}
	}
}

// poll returns the key at hand if it can be used, else a renewal to wait for.
// It starts the renewal if one is due and none is under way.
func (r *Recipient) poll() (recipientKey, *renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Clock()
	k := r.current
	age := now.Sub(k.attested)
	if (age >= renewAge || age < 0 || r.keyIsOld(k, now)) && r.renewal == nil {
		r.renewal = &renewal{done: make(chan struct{})}
		go r.background(r.renewal, k)
	}
	// A clock that was set back makes documents older, not younger.
	if 0 <= age && age < maxDocumentAge {
		return k, nil
	}
	return recipientKey{}, r.renewal
}

// background runs one renewal. Its context is none of the callers', for all of
// them wait for it.
func (r *Recipient) background(n *renewal, old recipientKey) {
	ctx, cancel := context.WithTimeout(context.Background(), renewTimeout)
	defer cancel()
	k, err := r.renewSafely(ctx, old)

	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		if k.private != r.current.private {
			r.former = r.current.private
		}
		r.current = k
	}
	n.err = err
	r.renewal = nil
	close(n.done)
}

// renewSafely is renew, with a panic of the Attester or of Entropy as an error:
// nobody is above this goroutine to recover from it.
func (r *Recipient) renewSafely(ctx context.Context, k recipientKey) (_ recipientKey, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("envelope: renewing the attestation document panicked: %v", v)
		}
	}()
	return r.renew(ctx, k)
}

// renew returns k with a new document, and with a new key if it is time.
func (r *Recipient) renew(ctx context.Context, k recipientKey) (recipientKey, error) {
	if now := r.opts.Clock(); k.private == nil || r.keyIsOld(k, now) {
		if r.opts.Entropy != nil {
			if err := mixEntropy(r.opts.Entropy, kernelPool); err != nil {
				return recipientKey{}, err
			}
		}
		private, err := generateKey(r.opts.KeyBits)
		if err != nil {
			return recipientKey{}, fmt.Errorf("envelope: making the recipient's key: %w", err)
		}
		public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
		if err != nil {
			return recipientKey{}, fmt.Errorf("envelope: making the recipient's key: %w", err)
		}
		k = recipientKey{private: private, public: public, made: now}
	}
	k.attested = r.opts.Clock() // before it is, so as not to think it younger
	document, err := r.opts.Attester.Attest(ctx, attest.Request{PublicKey: k.public})
	if err == nil && len(document) == 0 {
		err = errors.New("no document")
	}
	if err != nil {
		return recipientKey{}, fmt.Errorf("envelope: attesting the recipient's key: %w", err)
	}
	k.document = document
	return k, nil
}

// generateKey makes a private key, all of which is erased once it is garbage
// where package secret can see to that.
func generateKey(bits int) (private *rsa.PrivateKey, err error) {
	secret.Do(func() { private, err = rsa.GenerateKey(rand.Reader, bits) })
	return private, err
}

// keyIsOld reports whether another key should take k's place.
func (r *Recipient) keyIsOld(k recipientKey, now time.Time) bool {
	age := now.Sub(k.made)
	return age >= r.opts.KeyAge || age < 0
}

// Document returns an attestation document for the key, at most four minutes
// old, to give to somebody who signs requests for this enclave (SignDecrypt).
// Callers must not change it.
func (r *Recipient) Document(ctx context.Context) ([]byte, error) {
	k, err := r.key(ctx)
	if err != nil {
		return nil, err
	}
	return k.document, nil
}

// unwrap opens what KMS encrypted to the key, or to the one before it.
func (r *Recipient) unwrap(ciphertextForRecipient []byte) ([]byte, error) {
	r.mu.Lock()
	current, former := r.current.private, r.former
	r.mu.Unlock()
	plaintext, err := UnwrapCMS(current, ciphertextForRecipient, UnwrapOptions{})
	if err != nil && former != nil {
		return UnwrapCMS(former, ciphertextForRecipient, UnwrapOptions{})
	}
	return plaintext, err
}

// unwrap opens what KMS encrypted to the key.
func (k recipientKey) unwrap(ciphertextForRecipient []byte) ([]byte, error) {
	return UnwrapCMS(k.private, ciphertextForRecipient, UnwrapOptions{})
}

// Attest returns a fresh attestation document for the key that also binds a
// nonce and user data, at most 512 bytes each. The key is the one that Document
// attests, so KMS requests that were signed for either can be opened.
func (r *Recipient) Attest(ctx context.Context, nonce, userData []byte) ([]byte, error) {
	k, err := r.key(ctx)
	if err != nil {
		return nil, err
	}
	document, err := r.opts.Attester.Attest(ctx, attest.Request{Nonce: nonce, UserData: userData, PublicKey: k.public})
	if err == nil && len(document) == 0 {
		err = errors.New("no document")
	}
	if err != nil {
		return nil, fmt.Errorf("envelope: attesting the recipient's key: %w", err)
	}
	return document, nil
}
