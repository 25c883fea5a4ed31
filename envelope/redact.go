package envelope

import (
	"errors"
	"fmt"
	"log/slog"
)

// Keys print their sizes only, with every verb and in every log.

// Format prints no key.
func (k DataKey) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "data key (%d bytes)", len(k.Plaintext))
}

// LogValue shows no key.
func (k DataKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// Format prints no private key.
func (p KeyPair) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "key pair (%d bytes)", len(p.Private))
}

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
