package envelope

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// Ages at which a Recipient renews what it holds.
const (
	// documentAge is when the attestation document is renewed. KMS gives no
	// limit; under four minutes is this package's own choice, and kmstest
	// refuses documents of over five.
	documentAge = 3 * time.Minute
	// defaultKeyAge is when a new key is made.
	defaultKeyAge = 24 * time.Hour
)

// RecipientOptions configures NewRecipient.
type RecipientOptions struct {
	// Attester makes the attestation documents. Required; *attest.NSM is one.
	Attester attest.Attester
	// KeyBits is the size of the RSA key: 2048, 3072 or 4096. 0 means 2048,
	// the size that AWS documents for KMS.
	KeyBits int
	// KeyAge is when a new key takes the old one's place. Messages for the
	// old one that are still under way are opened with it. 0 means 24 hours.
	KeyAge time.Duration
	// Clock tells the time. nil means time.Now.
	Clock func() time.Time
}

// Recipient is an enclave's RSA key for messages from KMS, with the
// attestation document that vouches for it. The private key never leaves the
// process. A Recipient is safe for concurrent use and meant to be shared: one
// an enclave is enough.
//
// The key comes from Go's crypto/rand, which reads the kernel's generator and
// takes no other source. In an enclave, mix the NSM's entropy into the
// kernel's before the first key is made, by writing what attest.NSM's Read
// gives to /dev/random.
type Recipient struct {
	opts RecipientOptions

	mu      sync.Mutex // held while a key or a document is made, for milliseconds
	current recipientKey
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

// NewRecipient makes a key and has it attested.
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
	if _, err := r.key(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// key returns a key with a document that is fresh enough for one call.
func (r *Recipient) key(ctx context.Context) (recipientKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Clock()
	k := r.current
	// A clock that was set back makes things older, not younger: renew.
	if age := now.Sub(k.made); k.private == nil || age >= r.opts.KeyAge || age < 0 {
		private, err := rsa.GenerateKey(rand.Reader, r.opts.KeyBits)
		if err != nil {
			return recipientKey{}, fmt.Errorf("envelope: making the recipient's key: %w", err)
		}
		public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
		if err != nil {
			return recipientKey{}, fmt.Errorf("envelope: making the recipient's key: %w", err)
		}
		k = recipientKey{private: private, public: public, made: now}
	}
	if age := now.Sub(k.attested); k.document == nil || age >= documentAge || age < 0 {
		document, err := r.opts.Attester.Attest(ctx, attest.Request{PublicKey: k.public})
		if err != nil {
			return recipientKey{}, fmt.Errorf("envelope: attesting the recipient's key: %w", err)
		}
		k.document, k.attested = document, now
	}
	r.current = k
	return k, nil
}

// unwrap opens what KMS encrypted to the key.
func (k recipientKey) unwrap(ciphertextForRecipient []byte) ([]byte, error) {
	return UnwrapCMS(k.private, ciphertextForRecipient, UnwrapOptions{})
}
