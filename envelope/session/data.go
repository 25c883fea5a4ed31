package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nitroseal/nitroseal/envelope"
)

// Data is what a request is about: the confidential bytes, in one of three
// forms. With KMS the key policy decides beside the client which enclave opens
// them, and AWS CloudTrail has a record of it.
type Data struct {
	// Plain is the data itself, where no KMS is wanted: the session's own
	// encryption protects it.
	Plain []byte
	// Sealed is the data as a sealed stream (envelope.Client.Seal), which
	// needs one of the next two.
	Sealed []byte
	// Signed lets the enclave have KMS decrypt the stream's key, once, and
	// nothing else (envelope.SignOpen). SealData makes it.
	Signed *envelope.SignedRequest
	// Credentials are for the enclave's own call. They let it do whatever they
	// allow, for as long as they last: prefer Signed.
	Credentials *Credentials
}

// Credentials are AWS credentials on their way to an enclave.
type Credentials struct {
	AccessKeyID     string `cbor:"1,keyasint"`
	SecretAccessKey string `cbor:"2,keyasint"`
	SessionToken    string `cbor:"3,keyasint"`
}

// Format prints no secret, whatever the verb.
func (c Credentials) Format(s fmt.State, _ rune) { fmt.Fprint(s, "AWS credentials") }

// LogValue shows no secret.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Format prints sizes only, whatever the verb.
func (d Data) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "data (%d bytes plain, %d bytes sealed)", len(d.Plain), len(d.Sealed))
}

// LogValue shows sizes only.
func (d Data) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(d)) }

// errNotMarshaled keeps secrets out of whatever is written as JSON.
var errNotMarshaled = errors.New("session: secrets are not marshaled")

// MarshalJSON fails: credentials do not belong into JSON by accident.
func (c Credentials) MarshalJSON() ([]byte, error) { return nil, errNotMarshaled }

// MarshalJSON fails: confidential data does not belong into JSON by accident.
func (d Data) MarshalJSON() ([]byte, error) { return nil, errNotMarshaled }

// wireData is Data in CBOR (FORMAT.md).
type wireData struct {
	Plain       []byte       `cbor:"1,keyasint,omitempty"`
	Sealed      []byte       `cbor:"2,keyasint,omitempty"`
	Signed      *wireSigned  `cbor:"3,keyasint,omitempty"`
	Credentials *Credentials `cbor:"4,keyasint,omitempty"`
}

type wireSigned struct {
	Host   string            `cbor:"1,keyasint"`
	Header map[string]string `cbor:"2,keyasint"`
	Body   []byte            `cbor:"3,keyasint"`
}

// check refuses everything that is not exactly one of the three forms.
func (d *Data) check() error {
	plain, sealed := len(d.Plain) > 0, len(d.Sealed) > 0
	keys := 0
	if d.Signed != nil {
		keys++
	}
	if d.Credentials != nil {
		keys++
	}
	if plain == sealed || plain && keys != 0 || sealed && keys != 1 {
		return fmt.Errorf("%w: it must be plain, or sealed with one way to open it", ErrData)
	}
	return nil
}

// Encode returns d as the payload of a request. The caller should clear it, as
// a PayloadFunc's caller does.
func (d Data) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	w := wireData{Plain: d.Plain, Sealed: d.Sealed, Credentials: d.Credentials}
	if d.Signed != nil {
		w.Signed = &wireSigned{d.Signed.Host, d.Signed.Header, d.Signed.Body}
	}
	return encode(w)
}

// DecodeData is the inverse of Encode, strict about the form.
func DecodeData(payload []byte) (Data, error) {
	var w wireData
	if len(payload) > MaxPayload || decMode.Unmarshal(payload, &w) != nil {
		return Data{}, ErrData
	}
	if !isEncodingOf(payload, w) {
		return Data{}, ErrData
	}
	d := Data{Plain: w.Plain, Sealed: w.Sealed, Credentials: w.Credentials}
	if w.Signed != nil {
		d.Signed = &envelope.SignedRequest{Host: w.Signed.Host, Header: w.Signed.Header, Body: w.Signed.Body}
	}
	if err := d.check(); err != nil {
		return Data{}, err
	}
	return d, nil
}

// isEncodingOf reports whether payload is the one encoding of w.
func isEncodingOf(payload []byte, w wireData) bool {
	again, err := encode(w)
	defer clear(again)
	return err == nil && bytes.Equal(again, payload)
}

// SealData seals plaintext under the KMS key of kms, and signs the one request
// with which the enclave of the document (Established.Raw) opens it. The
// encryption context should have the request's id, so that KMS itself refuses
// to open the data for another request.
//
// Errors are those of envelope.Client.Seal and envelope.SignOpen.
func SealData(ctx context.Context, kms *envelope.Client, opts envelope.SignOptions, ec envelope.EncryptionContext, plaintext, document []byte) (Data, error) {
	sealed, err := kms.Seal(ctx, plaintext, ec, envelope.StreamOptions{Workers: 1})
	if err != nil {
		return Data{}, err
	}
	signed, err := envelope.SignOpen(ctx, opts, sealed, ec, document)
	if err != nil {
		return Data{}, err
	}
	return Data{Sealed: sealed, Signed: signed}, nil
}

// DataOpener opens Data inside the enclave. Its zero value refuses all forms.
type DataOpener struct {
	// Courier opens sealed data with signed requests. nil refuses them.
	Courier *envelope.Courier
	// WithCredentials returns a Client with the credentials that came along,
	// and the enclave's Recipient. nil refuses them.
	WithCredentials func(Credentials) (*envelope.Client, error)
	// AllowPlain accepts data without KMS.
	AllowPlain bool
}

// Open returns the plaintext of d, which must be under exactly this encryption
// context. The caller owns it, and should clear it when done; of plain data it
// is a part of d.
//
// Errors: ErrData, and those of envelope.Courier.Open and
// envelope.Client.Open.
func (o DataOpener) Open(ctx context.Context, d Data, ec envelope.EncryptionContext) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	switch {
	case d.Signed != nil && o.Courier != nil:
		return o.Courier.Open(ctx, d.Signed, d.Sealed, ec)
	case d.Credentials != nil && o.WithCredentials != nil:
		client, err := o.WithCredentials(*d.Credentials)
		if err != nil {
			return nil, err
		}
		if client == nil {
			return nil, errors.New("session: WithCredentials returned no client")
		}
		return client.Open(ctx, d.Sealed, ec, envelope.StreamOptions{Workers: 1})
	case len(d.Plain) > 0 && o.AllowPlain:
		return d.Plain, nil
	}
	return nil, fmt.Errorf("%w: this form is not accepted here", ErrData)
}
