package badinput

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// payloadRow is a bad payload of a request that is sealed as it should be. HTTP
// answers 200: the parent cannot know, and the reason comes sealed.
type payloadRow struct {
	input  string
	make   func(ctx context.Context, w *world, e *session.Established, id session.RequestID, canary string) ([]byte, error)
	reason wire.Reason
}

type payloadMaker = func(context.Context, *world, *session.Established, session.RequestID, string) ([]byte, error)

// raw is a payload as it stands.
func raw(b string) payloadMaker {
	return func(_ context.Context, _ *world, _ *session.Established, _ session.RequestID, canary string) ([]byte, error) {
		return []byte(strings.ReplaceAll(b, canaryMark, canary)), nil
	}
}

// data is a payload of the documented form, with something in it that is not.
func data(d session.Data) payloadMaker {
	return func(context.Context, *world, *session.Established, session.RequestID, string) ([]byte, error) {
		return d.Encode()
	}
}

// encoded is CBOR of anything as a question without KMS.
func encoded(v any) payloadMaker {
	return func(context.Context, *world, *session.Established, session.RequestID, string) ([]byte, error) {
		b, err := cbor.Marshal(v)
		if err != nil {
			return nil, err
		}
		return session.Data{Plain: b}.Encode()
	}
}

// asked is a question that the client's own code would not send.
func asked(conversation, settings map[int]any, more map[int]any) payloadMaker {
	q := map[int]any{1: conversation, 2: settings}
	maps.Copy(q, more)
	b, err := session.Data{Plain: mustCBOR(q)}.Encode()
	return func(context.Context, *world, *session.Established, session.RequestID, string) ([]byte, error) {
		return b, err
	}
}

func mustCBOR(v any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // constant options
	}
	b, err := mode.Marshal(v)
	if err != nil {
		panic(err) // maps of constants
	}
	return b
}

// signed is a good question, signed for KMS, after edit.
func signed(edit func(w *world, d *session.Data, canary string)) payloadMaker {
	return func(ctx context.Context, w *world, e *session.Established, id session.RequestID, canary string) ([]byte, error) {
		return w.signed(ctx, e, wire.RequestContext(id.String()), canary, edit)
	}
}

func (w *world) signed(ctx context.Context, e *session.Established, ec envelope.EncryptionContext, canary string, edit func(*world, *session.Data, string)) ([]byte, error) {
	creds := credentialsOf(accessKey, secretKey, sessionToken)
	sealer, err := envelope.NewClient(envelope.Options{KMS: w.api(creds), KeyID: w.key})
	if err != nil {
		return nil, err
	}
	q, err := wire.EncodeQuestion(wire.Question{Request: inference.Request{Prompt: canary}})
	if err != nil {
		return nil, err
	}
	opts := envelope.SignOptions{Credentials: creds, KeyID: w.key, Endpoint: w.kms.URL(), Enclave: w.trust()}
	d, err := session.SealData(ctx, sealer, opts, ec, q, e.Raw)
	if err != nil {
		return nil, err
	}
	edit(w, &d, canary)
	return d.Encode()
}

func payloadRows() []payloadRow {
	hi := map[int]any{1: "hello"}
	none := map[int]any{}
	return []payloadRow{
		{"an empty payload", raw(""), wire.ReasonBadRequest},
		{"a question in clear", raw("CANARY"), wire.ReasonBadRequest},
		{"JSON", raw(`{"prompt":"CANARY"}`), wire.ReasonBadRequest},
		{"an empty map", raw("\xa0"), wire.ReasonBadRequest},
		{"a map of indefinite length", raw("\xbf\x01\x46CANARY\xff"), wire.ReasonBadRequest},
		{"a key twice", raw("\xa2\x01\x41a\x01\x41b"), wire.ReasonBadRequest},
		{"an unknown key", raw("\xa2\x01\x41a\x09\x41b"), wire.ReasonBadRequest},
		{"a length longer than need be", raw("\xa1\x01\x58\x01a"), wire.ReasonBadRequest},
		{"a byte behind the map", raw("\xa1\x01\x41a\x00"), wire.ReasonBadRequest},
		{"a byte string that says 2^63 bytes", raw("\xa1\x01\x5b\x80\x00\x00\x00\x00\x00\x00\x00CANARY"), wire.ReasonBadRequest},
		{"a tag", raw("\xc1\xa1\x01\x41a"), wire.ReasonBadRequest},
		{"1,000 nested arrays", raw("\xa1\x01" + strings.Repeat("\x81", 1000) + "\x00"), wire.ReasonBadRequest},
		{"both plain and sealed", raw("\xa2\x01\x41a\x02\x41b"), wire.ReasonBadRequest},
		{"sealed without a way to open it", raw("\xa1\x02\x46CANARY"), wire.ReasonBadRequest},

		{"a question that is no CBOR", data(session.Data{Plain: []byte("hello")}), wire.ReasonQuestion},
		{"a question that is a list", encoded([]string{"hello"}), wire.ReasonQuestion},
		{"an empty prompt", asked(none, none, nil), wire.ReasonQuestion},
		{"a prompt of white space", asked(map[int]any{1: " \n"}, none, nil), wire.ReasonQuestion},
		{"a prompt that is a number", asked(map[int]any{1: 5}, none, nil), wire.ReasonQuestion},
		{"a prompt that is not UTF-8", data(session.Data{Plain: []byte("\xa2\x01\xa1\x01\x62a\xff\x02\xa0")}), wire.ReasonQuestion},
		{"both prompt and messages", asked(map[int]any{1: "a", 2: [][]string{{"user", "b"}}}, none, nil), wire.ReasonQuestion},
		{"a role that nobody has", asked(map[int]any{2: [][]string{{"root", "b"}}}, none, nil), wire.ReasonQuestion},
		{"an unknown setting", asked(hi, map[int]any{99: 1}, nil), wire.ReasonQuestion},
		{"a negative limit of tokens", asked(hi, map[int]any{1: -1}, nil), wire.ReasonQuestion},
		{"a temperature of 11", asked(hi, map[int]any{2: float32(11)}, nil), wire.ReasonQuestion},
		{"a seed over 32 bits", asked(hi, map[int]any{6: uint64(1) << 32}, nil), wire.ReasonQuestion},
		{"17 stop strings", asked(hi, map[int]any{9: strings.Split(strings.Repeat("a", 17), "")}, nil), wire.ReasonQuestion},
		{"a scope of 31 bytes", asked(hi, none, map[int]any{3: make([]byte, 31)}), wire.ReasonQuestion},
		{"a prompt over 1 MiB", asked(map[int]any{1: strings.Repeat("x", inference.MaxPromptBytes+1)}, none, nil), wire.ReasonQuestion},
		{"a prompt longer than the model's context", asked(map[int]any{1: strings.Repeat("x", 5000)}, none, nil), wire.ReasonPromptTooLong},
		{"a setting written as its zero value, which the one encoding leaves out", asked(hi, map[int]any{1: 0}, nil), wire.ReasonQuestion},

		{"signed for another host", signed(func(_ *world, d *session.Data, canary string) { d.Signed.Host = canary + ".example" }), wire.ReasonForm},
		{"signed for another operation", signed(func(_ *world, d *session.Data, _ string) { d.Signed.Header["X-Amz-Target"] = "TrentService.Encrypt" }), wire.ReasonForm},
		{"signed with a header that has no place there", signed(func(_ *world, d *session.Data, canary string) { d.Signed.Header["X-Evil"] = canary }), wire.ReasonForm},
		{"signed with the operation twice", signed(func(_ *world, d *session.Data, _ string) {
			d.Signed.Header["x-amz-target"] = "TrentService.Decrypt"
		}), wire.ReasonForm},
		{"a signed body that is no JSON", signed(func(_ *world, d *session.Data, canary string) { d.Signed.Body = []byte(canary) }), wire.ReasonForm},
		{"a signed body with white space behind it", signed(func(_ *world, d *session.Data, _ string) { d.Signed.Body = append(d.Signed.Body, ' ') }), wire.ReasonForm},
		{"a wrong signature", signed(func(_ *world, d *session.Data, _ string) {
			d.Signed.Header["Authorization"] = strings.TrimRight(d.Signed.Header["Authorization"], "0123456789abcdef") + strings.Repeat("0", 64)
		}), wire.ReasonCredentials},
		{"no signature", signed(func(_ *world, d *session.Data, _ string) { delete(d.Signed.Header, "Authorization") }), wire.ReasonCredentials},
		{"a session token of nobody's", signed(func(_ *world, d *session.Data, canary string) { d.Signed.Header["X-Amz-Security-Token"] = canary }), wire.ReasonCredentials},
		{"sealed bytes that are no stream", signed(func(_ *world, d *session.Data, canary string) { d.Sealed = []byte(canary) }), wire.ReasonCiphertext},
		{"a sealed stream with its last bit flipped", signed(func(_ *world, d *session.Data, _ string) { d.Sealed[len(d.Sealed)-1] ^= 1 }), wire.ReasonCiphertext},
		{"a sealed stream that is cut off", signed(func(_ *world, d *session.Data, _ string) { d.Sealed = d.Sealed[:len(d.Sealed)-1] }), wire.ReasonCiphertext},
		{"sealed for another request", func(ctx context.Context, w *world, e *session.Established, _ session.RequestID, canary string) ([]byte, error) {
			return w.signed(ctx, e, wire.RequestContext(strings.Repeat("0", 32)), canary, func(*world, *session.Data, string) {})
		}, wire.ReasonCiphertext},
		{"credentials that KMS does not know", signed(func(_ *world, d *session.Data, canary string) {
			d.Signed, d.Credentials = nil, &session.Credentials{AccessKeyID: "AKID" + canary, SecretAccessKey: canary, SessionToken: canary}
		}), wire.ReasonCredentials},
		{"empty credentials", signed(func(_ *world, d *session.Data, _ string) { d.Signed, d.Credentials = nil, &session.Credentials{} }), wire.ReasonCredentials},
		{"credentials with a line break", signed(func(_ *world, d *session.Data, canary string) {
			d.Signed, d.Credentials = nil, &session.Credentials{AccessKeyID: "AKID\r\nX-Evil: " + canary, SecretAccessKey: canary, SessionToken: "a"}
		}), wire.ReasonCredentials},
		{"a signed header with a line break", signed(func(_ *world, d *session.Data, canary string) {
			d.Signed.Header["X-Amz-Security-Token"] = canary + "\r\nX-Evil: 1"
		}), wire.ReasonForm},
	}
}

// runPayloads runs payloadRows through the parent.
func runPayloads(t *testing.T, w *world) (lines []line) {
	const name = "enclave: what is inside of a sealed request"
	good := plain(wire.Question{Request: inference.Request{Prompt: "hello"}})
	for i, r := range payloadRows() {
		lines = append(lines, line{name, r.input, "HTTP 200, sealed", string(r.reason), "goes on"})
		t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
			t.Log(r.input)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			canary := newCanary()
			err := w.ask(ctx, func(ctx context.Context, e *session.Established, id session.RequestID) ([]byte, error) {
				return r.make(ctx, w, e, id, canary)
			})
			var remote *session.RemoteError
			if !errors.As(err, &remote) || remote.Code != string(r.reason) || remote.Message != r.reason.Error() {
				t.Errorf("%v, not %s", err, r.reason)
			} else if strings.Contains(err.Error(), canary) {
				t.Errorf("the error has the canary: %v", err)
			}
			if w.log.contains(canary) {
				t.Error("a log has the canary")
			}
			if err := w.ask(ctx, good); err != nil {
				t.Errorf("a good question afterwards: %v", err)
			}
		})
	}
	return lines
}

// ask asks through the parent and reads the whole answer.
func (w *world) ask(ctx context.Context, payload session.PayloadFunc) error {
	for _, err := range w.sessions.Ask(ctx, payload) {
		if err != nil {
			return err
		}
	}
	return nil
}
