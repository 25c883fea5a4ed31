package main

import (
	"encoding/json"
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

func TestServeRefusesTheNetwork(t *testing.T) {
	info := startCluster(t, nil).Info()
	if code, _, errOut := runArgs(t, "", clientArgs(info, "-serve", "0.0.0.0:0")...); code != exitFailed || !strings.Contains(errOut, "loopback") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}
