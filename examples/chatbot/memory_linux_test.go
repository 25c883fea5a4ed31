package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
)

// TestParentHoldsNoPlaintext asks a question with canaries in it and then
// searches the parent's whole memory and its log for question and answer, in
// every encoding that the pipeline uses. The request id, which the parent does
// handle, shows that the search finds what is there; the delegated secret key
// shows what this first form of the protocol still hands to the parent.
func TestParentHoldsNoPlaintext(t *testing.T) {
	var steps syncBuffer
	const canary = "jdoe"
	const question = "i can't access my email, my username is jdoe"
	// Whoever starts the demo may have the question in the environment, as
	// make has; it must not be handed down.
	t.Setenv("Q", question)
	cluster := startCluster(t, func(o *local.Options) { o.Steps = &steps })
	info, err := cluster.Info()
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, cluster)
	// The model repeats the user name, so the answer has a canary as well.
	for range 20 {
		mustAsk(t, c, question, email)
	}

	delegate, err := os.ReadFile(info.DelegateFile)
	if err != nil {
		t.Fatal(err)
	}
	var sent struct{ SecretAccessKey string }
	if err := json.Unmarshal(delegate, &sent); err != nil {
		t.Fatal(err)
	}
	memory := readMemory(t, info.PIDs["parent"])
	t.Logf("searched %d MiB of the parent's memory", len(memory)>>20)

	if !bytes.Contains(memory, []byte(`"request_id"`)) {
		t.Error("the search does not even find the requests that the parent forwards: it proves nothing")
	}
	if !bytes.Contains(memory, []byte(sent.SecretAccessKey)) {
		t.Error("the delegated credentials are no longer in the parent's memory: the README says that they are")
	}
	for _, secret := range []string{question, email, "access my email", "reset your password", "my username is " + canary, "Thanks, " + canary} {
		for form, encoded := range encodings(secret) {
			if bytes.Contains(memory, encoded) {
				t.Errorf("the parent's memory holds %q (%s)", secret, form)
			}
			if strings.Contains(steps.String(), string(encoded)) {
				t.Errorf("the logs hold %q (%s)", secret, form)
			}
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

// readMemory reads all of a process's readable and writable memory.
func readMemory(t *testing.T, pid int) []byte {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	var all bytes.Buffer
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); n != 3 || !strings.HasPrefix(mode, "rw") {
			continue
		}
		// Pages can vanish between the two reads; what is left is searched.
		io.Copy(&all, io.NewSectionReader(mem, from, to-from))
	}
	if all.Len() < 1<<20 {
		t.Fatalf("only %d bytes of memory could be read", all.Len())
	}
	return all.Bytes()
}
