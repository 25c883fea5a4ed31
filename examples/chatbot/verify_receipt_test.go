package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// receipt is a receipt of a simulated enclave, and the roots to believe.
type receipt struct {
	path, roots string
	file        wire.ReceiptFile
}

func newReceipt(t *testing.T) *receipt {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := ca.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: digestOf(t, "01")}})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nsm.Close() })
	recipient, err := envelope.NewRecipient(t.Context(), envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		t.Fatal(err)
	}
	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, Recipient: recipient})
	if err != nil {
		t.Fatal(err)
	}
	r := &receipt{roots: tempFile(t, "roots.pem", string(pem))}
	r.file = wire.ReceiptFile{
		Request: inference.Request{MaxTokens: 7, Messages: []inference.Message{
			{Role: inference.RoleUser, Content: "before"}, {Role: inference.RoleAssistant, Content: "yes"}, {Role: inference.RoleUser, Content: "what is \x1b[2J?"},
		}},
		Answer: "500 dollars\n", FinishReason: inference.FinishLength, ModelDigest: strings.Repeat("0c", 32),
	}
	claims, err := wire.Claims(&r.file.Request, r.file.Answer, r.file.FinishReason, r.file.ModelDigest)
	if err != nil {
		t.Fatal(err)
	}
	if r.file.Receipt, err = enclave.Receipt(t.Context(), claims); err != nil {
		t.Fatal(err)
	}
	r.write(t)
	return r
}

func (r *receipt) write(t *testing.T) {
	t.Helper()
	data, err := r.file.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r.path = tempFile(t, "receipt.json", string(data))
}

func TestVerifyReceipt(t *testing.T) {
	r := newReceipt(t)
	policy := tempFile(t, "policy.json", succeeds(t, "", "policy", "emit", "-pcr", "0="+hexPCR("01"), "-max-age", "1m"))
	other := tempFile(t, "other.json", succeeds(t, "", "policy", "emit", "-pcr", "0="+hexPCR("02")))
	question, answer := tempFile(t, "q", "what is \x1b[2J?\n"), tempFile(t, "a", "  500 dollars")
	wrong := tempFile(t, "w", "600 dollars")
	args := []string{"-roots", r.roots, "-policy", policy, "-receipt", r.path}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"all", append(args, "-question", question, "-answer", answer, "-model-digest", strings.Repeat("0C", 32)), exitOK, []string{
			`question    "what is \x1b[2J?"`, "after 2 messages before it", `answer      "500 dollars\n"`, "            cut at the limit of its length\n", "model       SHA-256 0c0c", "made        20",
			"PCR0        " + hexPCR("01"), "SIMULATED", "ACCEPTED as a simulation", "and the policy is met"}},
		{"no expectations", args, exitOK, []string{"ACCEPTED"}},
		{"another question", append(args, "-question", wrong), exitFailed, []string{"REFUSED: the receipt is about something else: another question"}},
		{"another answer", append(args, "-answer", wrong), exitFailed, []string{"another answer"}},
		{"another model", append(args, "-model-digest", strings.Repeat("00", 32)), exitFailed, []string{"another model"}},
		{"another enclave", []string{"-roots", r.roots, "-policy", other, "-receipt", r.path}, exitFailed, []string{"REFUSED", "policy"}},
		{"no roots", []string{"-receipt", r.path}, exitFailed, []string{"REFUSED", "untrusted"}},
		{"no receipt", []string{"-receipt", policy}, exitFailed, []string{"REFUSED", "no receipt file"}},
		{"no file", []string{"-receipt", "none"}, exitUsage, nil},
		{"no question file", append(args, "-question", "none"), exitUsage, nil},
		{"a document too", append(args, realDoc), exitUsage, nil},
		{"a time", append(args, "-at", realAt), exitUsage, nil},
		{"an answer alone", []string{"-answer", answer, realDoc}, exitUsage, nil},
	} {
		code, out, errOut := runArgs(t, "", append([]string{"verify"}, tt.args...)...)
		if code != tt.code || (code == exitUsage) != (errOut != "") || (code == exitUsage) != (out == "") || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit status %d, %q, %q", tt.name, code, out, errOut)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: without %q:\n%s", tt.name, want, out)
			}
		}
	}
	data, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	out := succeeds(t, string(data), "verify", "-json", "-roots", r.roots, "-receipt", "-")
	var v struct {
		Accepted bool
		Answer   string
		Finish   string `json:"finish_reason"`
		Messages []messageJSON
		Document *struct{ Simulated bool }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || !v.Accepted || v.Answer != r.file.Answer || v.Finish != "length" || len(v.Messages) != 3 || v.Document == nil || !v.Document.Simulated {
		t.Errorf("%v, %s", err, out)
	}
}

// TestVerifyForgedReceipt changes each thing that a receipt proves. Nothing of a
// forged one is shown.
func TestVerifyForgedReceipt(t *testing.T) {
	good := newReceipt(t)
	for name, forge := range map[string]func(f *wire.ReceiptFile){
		"question":     func(f *wire.ReceiptFile) { f.Request.Messages[2].Content = "canary" },
		"conversation": func(f *wire.ReceiptFile) { f.Request.Messages[0].Content = "canary" },
		"role":         func(f *wire.ReceiptFile) { f.Request.Messages[0].Role = inference.RoleSystem },
		"settings":     func(f *wire.ReceiptFile) { f.Request.MaxTokens++ },
		"answer":       func(f *wire.ReceiptFile) { f.Answer = "canary" },
		"end":          func(f *wire.ReceiptFile) { f.FinishReason = inference.FinishStop },
		"model":        func(f *wire.ReceiptFile) { f.ModelDigest = strings.Repeat("0d", 32) },
		"receipt":      func(f *wire.ReceiptFile) { f.Receipt[len(f.Receipt)-1] ^= 1 },
		"no receipt":   func(f *wire.ReceiptFile) { f.Receipt = nil },
	} {
		r := *good
		r.file.Request.Messages = append([]inference.Message(nil), good.file.Request.Messages...)
		r.file.Receipt = append([]byte(nil), good.file.Receipt...)
		forge(&r.file)
		r.write(t)
		for _, form := range [][]string{nil, {"-json"}} {
			code, out, errOut := runArgs(t, "", append([]string{"verify", "-roots", r.roots, "-receipt", r.path}, form...)...)
			if code != exitFailed || errOut != "" || strings.Contains(out, "canary") || strings.Contains(out, "ACCEPTED") || strings.Contains(out, `"accepted": true`) {
				t.Errorf("%s: exit status %d, %q, %q", name, code, out, errOut)
			}
		}
	}
}
