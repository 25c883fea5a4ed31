package chat_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// keyOfNobody is a key that no client may use.
var keyOfNobody = kmstest.KeyOptions{Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/admin"},"Action":"kms:DescribeKey","Resource":"*"}]}`}

// Where another enclave has taken the place of the one that a question was
// sealed to, it is asked only if the user said so.
func TestRetryElsewhere(t *testing.T) {
	upgraded := modelInfo
	upgraded.ModelDigest, upgraded.ModelName = strings.Repeat("cd", 32), "tiny 2"
	for name, tt := range map[string]struct {
		edit func(*chat.Options)
		want error
		asks int // questions that were sent, those of the first enclave included
	}{
		"not allowed": {nil, wire.ReasonKeyUnknown, 2},
		"allowed":     {func(o *chat.Options) { o.RetryElsewhere = true }, nil, 3},
		"with another model": {func(o *chat.Options) {
			o.RetryElsewhere = true
			o.ModelDigest = modelInfo.ModelDigest
		}, chat.ErrModel, 2},
	} {
		w := newWorld(t)
		w.use(w.start(enclave{model: echo()}))
		c := w.client(tt.edit)
		if _, err := askAll(t, c, prompt("x")); err != nil {
			t.Fatal(err)
		}
		m := &recorder{Model: echo()}
		w.use(w.start(enclave{machine: 1, model: m, info: upgraded}))
		a, err := askAll(t, c, ask.Question{Request: inference.Request{Prompt: canary}, Receipt: true})
		if !errors.Is(err, tt.want) || w.requests(sessionrpc.PathAsk) != tt.asks || (err == nil) != (len(m.all()) == 1) {
			t.Errorf("%s: %v after %d questions, of which the other enclave has opened %d", name, err, w.requests(sessionrpc.PathAsk), len(m.all()))
		}
		w.silent()
		if err != nil {
			continue
		}
		// The receipt is about the model that has answered.
		if f, err := wire.ParseReceiptFile(a.last().Receipt); err != nil || f.ModelDigest != upgraded.ModelDigest {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := c.Attestation(t.Context()); err != nil || now.Model.Name != "tiny 2" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An enclave that has other keys by now is asked again without further ado: it
// is still the same.
func TestRetryAtTheSame(t *testing.T) {
	w := newWorld(t)
	w.use(w.start(enclave{model: echo()}))
	c := w.client(nil)
	if _, err := askAll(t, c, prompt("x")); err != nil {
		t.Fatal(err)
	}
	w.use(w.start(enclave{model: echo()}))
	if a, err := askAll(t, c, prompt("y")); err != nil || a.text != " You said: y" || w.requests(sessionrpc.PathAttest) != 2 {
		t.Errorf("%q, %v after %d attestations", a.text, err, w.requests(sessionrpc.PathAttest))
	}
}
