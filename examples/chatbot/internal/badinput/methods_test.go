package badinput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// callRow is one bad call of an enclave's method, by a client that keeps to the
// protocol.
type callRow struct {
	// source is the method as it is registered in the source; "" for none.
	source, method, input string
	call                  func(ctx context.Context, w *world, method, canary string) error
	code                  vsockrpc.Code
	reason                string // the message of the status
}

// unary calls with one message.
func unary(body func(w *world) string) func(context.Context, *world, string, string) error {
	return func(ctx context.Context, w *world, method, canary string) error {
		_, err := w.rpc.Call(ctx, method, []byte(strings.ReplaceAll(body(w), canaryMark, canary)))
		return err
	}
}

func text(s string) func(*world) string { return func(*world) string { return s } }

// messages sends so many and ends its side, then reads all that comes.
func messages(all ...string) func(context.Context, *world, string, string) error {
	return func(ctx context.Context, w *world, method, canary string) error {
		s, err := w.rpc.Stream(ctx, method)
		if err != nil {
			return err
		}
		defer s.Close()
		for _, m := range all {
			if err := s.Send([]byte(strings.ReplaceAll(m, canaryMark, canary))); err != nil {
				break // receiving tells why
			}
		}
		s.CloseSend()
		for {
			if _, err := s.Recv(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

// hurried is a call that has no time left.
func hurried(body string) func(context.Context, *world, string, string) error {
	return func(ctx context.Context, w *world, method, canary string) error {
		ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		return unary(text(body))(ctx, w, method, canary)
	}
}

func callRows() []callRow {
	attest, ask, asks := sessionrpc.MethodAttest, sessionrpc.MethodAsk, blog.Method
	over := text(strings.Repeat("x", session.MaxRequest+1))
	const form = "the request is not of the documented form"
	rows := []callRow{
		{"", "CANARY", "a method that is not there", unary(text("CANARY")), vsockrpc.Unimplemented, "no such method"},
		{"", strings.ToLower(attest), "a method in lower case", unary(text(goodAttest)), vsockrpc.Unimplemented, "no such method"},
		{"", strings.Repeat("m", 255), "a method of the longest name", messages("CANARY"), vsockrpc.Unimplemented, "no such method"},

		{"MethodAttest", attest, "an empty message", unary(text("")), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAttest", attest, "no message", messages(), vsockrpc.InvalidArgument, "a unary call without a message"},
		{"MethodAttest", attest, "a second message, which is not looked at", messages(goodAttest, "CANARY"), vsockrpc.OK, ""},
		{"MethodAttest", attest, "another version", unary(text("NSA2" + goodAttest[4:])), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAttest", attest, "a nonce of 33 bytes", unary(text(goodAttest + "x")), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAttest", attest, "a sealed request", unary(func(w *world) string { return string(w.capture()) }), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAttest", attest, "a message over the server's limit", unary(over), vsockrpc.ResourceExhausted, "the peer ended the call"},
		{"MethodAttest", attest, "a deadline that has passed", hurried(goodAttest), vsockrpc.DeadlineExceeded, ""},

		{"MethodAsk", ask, "no message", messages(), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAsk", ask, "an empty message", messages(""), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAsk", ask, "a question in clear", messages("CANARY"), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAsk", ask, "a request for an attestation", messages(goodAttest), vsockrpc.InvalidArgument, "bad_request"},
		{"MethodAsk", ask, "a key that the enclave does not have", unary(text(string(clearHeader([8]byte{9}, 1, time.Now(), 32)) + strings.Repeat("x", 2000))), vsockrpc.FailedPrecondition, "key_unknown"},
		{"MethodAsk", ask, "a request that nobody sealed", unary(func(w *world) string { return forged(w, 7, time.Now(), 32, 2000) }), vsockrpc.InvalidArgument, "not_opened"},
		{"MethodAsk", ask, "a time of an hour ago", unary(func(w *world) string { return forged(w, 8, time.Now().Add(-time.Hour), 32, 2000) }), vsockrpc.FailedPrecondition, "stale_request"},
		{"MethodAsk", ask, "a sealed request for the second time", func(ctx context.Context, w *world, _, _ string) error {
			b := w.capture()
			if err := w.deliver(b); err != nil {
				return err
			}
			_, err := w.rpc.Call(ctx, ask, b)
			return err
		}, vsockrpc.AlreadyExists, "replayed"},
		{"MethodAsk", ask, "a message over the server's limit", messages(over(nil)), vsockrpc.ResourceExhausted, "the peer ended the call"},

		{"blog.Method", asks, "no message", messages(), vsockrpc.InvalidArgument, "a unary call without a message"},
		{"blog.Method", asks, "an empty message", unary(text("")), vsockrpc.InvalidArgument, form},
		{"blog.Method", asks, "no JSON", unary(text("CANARY")), vsockrpc.InvalidArgument, form},
		{"blog.Method", asks, "CBOR", unary(text("\xa1\x66CANARY\x01")), vsockrpc.InvalidArgument, form},
		{"blog.Method", asks, "a message over 64 KiB", unary(text(strings.Repeat(" ", 64<<10+1))), vsockrpc.InvalidArgument, "the request is larger than the server takes"},
		{"blog.Method", asks, "a message over the server's limit", unary(over), vsockrpc.ResourceExhausted, "the peer ended the call"},
		{"blog.Method", asks, "another region", unary(func(w *world) string { return blogBody(w, "region", `"CANARY"`) }), vsockrpc.InvalidArgument, "the enclave serves another AWS region"},
	}
	slices.SortStableFunc(rows, func(a, b callRow) int { return strings.Compare(a.source, b.source) })
	return rows
}

// runMethods runs all of callRows on one connection.
func runMethods(t *testing.T, w *world) (lines []line) {
	for i, r := range callRows() {
		name := "enclave: " + r.method
		if r.source == "" {
			name = "enclave: other methods"
		}
		l := line{name, r.input, fmt.Sprintf("%d, %s", uint32(r.code), r.code.Error()), r.reason, "goes on"}
		if r.reason == "" {
			l.reason = "–"
		}
		lines = append(lines, l)
		t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
			t.Log(r.input)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			canary := newCanary()
			err := r.call(ctx, w, strings.ReplaceAll(r.method, canaryMark, canary), canary)
			var e *vsockrpc.Error
			message := ""
			if errors.As(err, &e) {
				message = e.Message
			}
			if vsockrpc.CodeOf(err) != r.code || message != r.reason {
				t.Errorf("%v, not %d %q", err, r.code, r.reason)
			}
			if err != nil && strings.Contains(err.Error(), canary) || w.log.contains(canary) {
				t.Errorf("the canary is in the error or a log: %v", err)
			}
			if _, err := w.rpc.Call(ctx, sessionrpc.MethodAttest, []byte(goodAttest)); err != nil {
				t.Errorf("a good call afterwards: %v", err)
			}
		})
	}
	return lines
}
