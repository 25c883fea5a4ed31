package openai

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// ctx keeps the scripts of askers short.
type ctx = context.Context

// A client that goes away ends its question, over a real connection.
func TestClientGoesAway(t *testing.T) {
	for name, more := range map[string]string{"whole": "", "stream": `,"stream":true`} {
		t.Run(name, func(t *testing.T) {
			entered, ended := make(chan struct{}, 1), make(chan error, 1)
			a := hello()
			first := true
			a.hold = func(ctx ctx) error {
				if first { // the first piece is sent
					first = false
					return nil
				}
				entered <- struct{}{}
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			}
			url := listen(t, Options{Asker: a})
			gone, leave := context.WithCancel(t.Context())
			defer leave()
			go func() {
				<-entered
				leave()
			}()
			res, err := postTo(gone, t, url+chatPath, chatBody(more))
			if err == nil {
				defer res.Body.Close()
				in := bufio.NewReader(res.Body)
				for err == nil {
					_, err = in.ReadString('\n')
				}
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the client got %v", err)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the question ended with %v", err)
			}
		})
	}
}

// Each piece is with the client before the next one is made.
func TestPiecesComeAtOnce(t *testing.T) {
	next := make(chan struct{})
	a := hello()
	a.hold = func(ctx ctx) error {
		select {
		case <-next:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	url := listen(t, Options{Asker: a})
	go func() { next <- struct{}{} }()
	res, err := postTo(t.Context(), t, url+completionPath, completionBody(`,"stream":true`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for _, want := range []string{`"text":" Hel"`, `"text":"lo"`, `"finish_reason":"stop"`} {
		line, err := in.ReadString('\n')
		if err != nil || !strings.Contains(line, want) {
			t.Fatalf("%q, %v", line, err)
		}
		in.ReadString('\n')
		if want != `"finish_reason":"stop"` {
			next <- struct{}{}
		}
	}
	if rest := readString(t, in); rest != "data: [DONE]\n\n" {
		t.Errorf("ends with %q", rest)
	}
}

// The answer of a hanging enclave does not hang the client.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hello()
		a.hold = func(ctx ctx) error { <-ctx.Done(); return ctx.Err() }
		start := time.Now()
		w := serve(Options{Asker: a, Timeout: time.Minute}, request(http.MethodPost, chatPath, chatBody("")))
		if code, _ := refusal(t, w); w.Code != http.StatusGatewayTimeout || code != "deadline_exceeded" || time.Since(start) != time.Minute {
			t.Errorf("HTTP %d, %s after %v", w.Code, code, time.Since(start))
		}
		w = serve(Options{Asker: a}, request(http.MethodPost, chatPath, chatBody("")))
		if w.Code != http.StatusGatewayTimeout || time.Since(start) != 11*time.Minute {
			t.Errorf("by default: HTTP %d after %v", w.Code, time.Since(start))
		}
	})
}

// A request's context also ends when its server is stopped. Who is still there
// must not take the beginning of an answer for all of it.
func TestServerStops(t *testing.T) {
	for more, want := range map[string]string{
		"":               `{"error":{"message":`,
		`,"stream":true`: "event: error\ndata: {\"error\":{\"message\":",
	} {
		stopping, stop := context.WithCancel(t.Context())
		a := &asker{chunks: []ask.Chunk{text("a"), text("b")}}
		calls := 0
		a.hold = func(ctx ctx) error {
			if calls++; calls == 2 {
				stop()
			}
			return ctx.Err()
		}
		w := serve(Options{Asker: a}, request(http.MethodPost, chatPath, chatBody(more)).WithContext(stopping))
		if body := w.Body.String(); !strings.Contains(body, want) || !strings.Contains(body, `"code":"not_ready"`) || strings.Contains(body, "[DONE]") {
			t.Errorf("%q: HTTP %d, %s", more, w.Code, body)
		}
		stop()
	}
}
