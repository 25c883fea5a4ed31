package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
)

// TestParentSeesNothing looks for question, answer and credentials in all that
// the parent ever has: its memory, whatever of it can be read, which is more
// than a core file holds; every byte on its connections to client, enclave and
// KMS; and the logs.
func TestParentSeesNothing(t *testing.T) {
	var steps syncBuffer
	const canary = "jdoe"
	const question = "i can't access my email, my username is jdoe"
	// Whoever starts the demo may have the question in the environment, as
	// make has; it must not be handed down.
	t.Setenv("Q", question)
	wires := newTap(t)
	cluster := startCluster(t, func(o *local.Options) {
		o.Steps = &steps
		o.Reroute = wires.unix
	})
	info := cluster.Info()
	c, err := cluster.Client(nil, func(o *chat.Options) {
		o.ParentURL = "http://" + wires.tcp(strings.TrimPrefix(o.ParentURL, "http://"))
	})
	if err != nil {
		t.Fatal(err)
	}
	// The model repeats the user name, so the answer has a canary as well.
	for range 20 {
		mustAsk(t, c, question, email)
	}

	// The client is this process: there the search must find each secret.
	secrets := map[string][]string{
		"question":    {question, "access my email", "my username is " + canary},
		"answer":      {email, "reset your password", "Thanks, " + canary},
		"credentials": {info.AccessKeyID, info.SecretAccessKey, info.SessionToken},
	}
	const control = "application/vnd.nitroseal.segments"
	own, forms := []string{}, []string{control}
	kinds := map[string]string{}
	for kind, texts := range secrets {
		own = append(own, texts...)
		for _, secret := range texts {
			for form, encoded := range encodings(secret) {
				forms = append(forms, string(encoded))
				kinds[string(encoded)] = fmt.Sprintf("the %s %q (%s)", kind, secret, form)
			}
		}
	}
	if found := searchMemory(t, os.Getpid(), own); len(found) != len(own) {
		t.Errorf("the search finds %d of the client's own %d secrets: it proves nothing", len(found), len(own))
	}
	found := searchMemory(t, info.PIDs["parent"], forms)
	passed, told := wires.all.String(), steps.String()
	t.Logf("searched the parent's memory, %d KiB of its connections, %d KiB of logs", len(passed)>>10, len(told)>>10)
	if !found[control] || !strings.Contains(passed, "NSQ1") || !strings.Contains(told, "segments") {
		t.Error("the search does not even find what must be there: it proves nothing")
	}
	for form, what := range kinds {
		if found[form] {
			t.Errorf("%s is in the parent's memory", what)
		}
		if strings.Contains(passed, form) {
			t.Errorf("%s is on the parent's connections", what)
		}
		if strings.Contains(told, form) {
			t.Errorf("%s is in the logs", what)
		}
	}
}

// encodings lists the forms in which a text could lie in memory. Base64 has
// three of them, by the position of the text modulo 3.
func encodings(s string) map[string][]byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	forms := map[string][]byte{
		"raw":  []byte(s),
		"JSON": bytes.Trim(quoted, `"`),
		"hex":  []byte(hex.EncodeToString([]byte(s))),
	}
	for shift := range 3 {
		padded := append(make([]byte, shift), s...)
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString(padded)
			// The first and last digits mix with neighbouring bytes.
			forms[fmt.Sprintf("%s+%d", name, shift)] = []byte(text[4 : len(text)-4])
		}
	}
	return forms
}

// searchMemory returns which of the texts are in a process's readable memory.
func searchMemory(t *testing.T, pid int, texts []string) map[string]bool {
	t.Helper()
	// All of it before the search, whose own memory may be what is searched.
	regions, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const piece, overlap = 4 << 20, 4 << 10 // no text is longer than the overlap
	buf := make([]byte, piece+overlap)
	found := map[string]bool{}
	var size int64
	for line := range strings.Lines(string(regions)) {
		var from, to int64
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); n != 3 || !strings.HasPrefix(mode, "r") {
			continue
		}
		for at := from; at < to; at += piece {
			// Pages can vanish between the two reads; what is left is searched.
			n, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			size += int64(n)
			for _, text := range texts {
				if !found[text] && bytes.Contains(buf[:n], []byte(text)) {
					found[text] = true
				}
			}
		}
	}
	if size < 1<<20 {
		t.Fatalf("only %d bytes of memory could be read", size)
	}
	return found
}
