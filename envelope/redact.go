package envelope

import (
	"errors"
	"fmt"
	"log/slog"
)

// What holds keys, credentials or plaintext prints as what it is, with every
// verb and in every log: fmt's %s and %x look through all pointers, and reach
// even the credentials inside the SDK's client.

// Format prints no key.
func (k DataKey) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "data key (%d bytes)", len(k.Plaintext))
}

// Format prints no private key.
func (p KeyPair) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "key pair (%d bytes)", len(p.Private))
}

// Format prints no credentials.
func (c *Client) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "client of %s", c.opts.KeyID) }

// Format prints no credentials.
func (o Options) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "options for %s", o.KeyID) }

// Format prints no credentials.
func (o SignOptions) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "options for %s", o.KeyID) }

// Format prints no private key.
func (c *Courier) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "courier of %s", c.opts.KeyID) }

// Format prints no private key.
func (o CourierOptions) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "options for %s", o.KeyID) }

// Format prints no private key.
func (r *Recipient) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "recipient (RSA-%d)", r.opts.KeyBits)
}

// Format prints no plaintext.
func (w *Writer) Format(s fmt.State, _ rune) { fmt.Fprint(s, "writer of a sealed stream") }

// Format prints no plaintext.
func (r *Reader) Format(s fmt.State, _ rune) { fmt.Fprint(s, "reader of a sealed stream") }

// Format prints no plaintext.
func (a *ReaderAt) Format(s fmt.State, _ rune) { fmt.Fprint(s, "reader of a sealed stream") }

// LogValue shows no key.
func (k DataKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// LogValue shows no private key.
func (p KeyPair) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// LogValue shows no session token.
func (r SignedRequest) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// errNotMarshaled keeps keys out of whatever is written as JSON.
var errNotMarshaled = errors.New("envelope: keys are not marshaled")

// MarshalJSON fails: a key does not belong into JSON by accident.
func (k DataKey) MarshalJSON() ([]byte, error) { return nil, errNotMarshaled }

// MarshalJSON fails: a private key does not belong into JSON by accident.
func (p KeyPair) MarshalJSON() ([]byte, error) { return nil, errNotMarshaled }
