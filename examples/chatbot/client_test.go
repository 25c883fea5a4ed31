package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/terminal"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// The client command by itself, against a running pipeline.
func TestClientCommand(t *testing.T) {
	info := startCluster(t, nil).Info()
	receipt := filepath.Join(t.TempDir(), "receipt.json")
	code, out, errOut := runArgs(t, "", clientArgs(info, "-q", "what is my deductible?", "-json", "-receipt", receipt, "-expect-model", model.Digest)...)
	if code != exitOK {
		t.Fatalf("exit status %d: %s", code, errOut)
	}
	var reply struct {
		Answer       string `json:"answer"`
		FinishReason string `json:"finish_reason"`
		ModelDigest  string `json:"model_digest"`
		PCR0         string `json:"pcr0"`
		Simulated    bool   `json:"simulated"`
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil || reply.Answer != deductible || reply.FinishReason != "stop" ||
		reply.ModelDigest != model.Digest || len(reply.PCR0) != 96 || !reply.Simulated {
		t.Errorf("%q, %v", out, err)
	}
	if !strings.Contains(errOut, "protects NOTHING") {
		t.Errorf("nothing says that the root is simulated: %q", errOut)
	}
	data, err := os.ReadFile(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := wire.ParseReceiptFile(data); err != nil || strings.TrimSpace(r.Answer) != deductible {
		t.Errorf("%v, %v", r, err)
	}

	bad := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(bad, []byte(`{"measurements":[{"name":"v2","pcrs":{"0":"`+strings.Repeat("ab", 48)+`"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut = runArgs(t, "", clientArgs(info, "-policy", bad, "-q", "what is my deductible?")...)
	if code != terminal.ExitUntrusted || out != "" || !strings.Contains(errOut, "PCR0") {
		t.Errorf("another policy: exit status %d, %q, %q", code, out, errOut)
	}
	code, _, errOut = runArgs(t, "", clientArgs(info, "-parent", "http://127.0.0.1:1", "-q", "x")...)
	if code != terminal.ExitUnavailable {
		t.Errorf("no parent: exit status %d, %q", code, errOut)
	}
}

// The prompt loop goes on after a question that fails, and the exit status tells
// of it.
func TestPromptLoop(t *testing.T) {
	info := startCluster(t, nil).Info()
	code, out, errOut := runArgs(t, "tell me a joke\n\nbad \xff text\nwhat is my deductible?\n", clientArgs(info, "-single")...)
	if code != exitUsage || out != joke+"\n"+deductible+"\n" || !strings.Contains(errOut, "UTF-8") {
		t.Errorf("exit status %d, %q, %q", code, out, errOut)
	}
	code, _, errOut = runArgs(t, "", clientArgs(info, "-q", "")...)
	if code != exitUsage || !strings.Contains(errOut, "empty") {
		t.Errorf("an empty question: exit status %d, %q", code, errOut)
	}
}

// What -serve would not do as it was told to is wrong usage, for client and demo.
func TestServeFlags(t *testing.T) {
	for _, args := range [][]string{
		{"client", "-policy", "p", "-without-kms", "-serve-token", "x"},
		{"client", "-policy", "p", "-without-kms", "-serve", "127.0.0.1:0", "-serve-origin", "ui.example"},
		{"client", "-policy", "p", "-without-kms", "-serve", "127.0.0.1:0", "-serve-origin", "https://ui.example/"},
		{"demo", "-serve-token", "x"}, {"demo", "-serve-origin", "https://ui.example"},
	} {
		if code, out, errOut := runArgs(t, "", args...); code != exitUsage || out != "" || !strings.Contains(errOut, "-serve-") {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}

// An answer that cannot be printed is a failure, with -v too.
func TestAnswerIsNotPrinted(t *testing.T) {
	info := startCluster(t, nil).Info()
	for _, args := range [][]string{{"-q", "tell me a joke"}, {"-q", "tell me a joke", "-v"}} {
		// Steps are told by the goroutine that asks.
		var errOut syncBuffer
		if code := run(t.Context(), clientArgs(info, args...), streams{strings.NewReader(""), full{}, &errOut}); code != exitFailed || !strings.Contains(errOut.String(), "no space") {
			t.Errorf("%q: exit status %d, %s", args, code, errOut.String())
		}
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestServeRefusesTheNetwork(t *testing.T) {
	info := startCluster(t, nil).Info()
	if code, _, errOut := runArgs(t, "", clientArgs(info, "-serve", "0.0.0.0:0")...); code != exitFailed || !strings.Contains(errOut, "loopback") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}
