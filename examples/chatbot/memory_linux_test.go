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

	memory := readMemory(t, info.PIDs["parent"])
	t.Logf("searched %d MiB of the parent's memory, %d KiB of its connections", len(memory)>>20, len(wires.all.String())>>10)
	if !bytes.Contains(memory, []byte("application/vnd.nitroseal.segments")) || !strings.Contains(wires.all.String(), "NSQ1") {
		t.Error("the search does not even find what must be there: it proves nothing")
	}
	secrets := map[string][]string{
		"question":    {question, "access my email", "my username is " + canary},
		"answer":      {email, "reset your password", "Thanks, " + canary},
		"credentials": {info.AccessKeyID, info.SecretAccessKey, info.SessionToken},
	}
	// The client is this process: here the search must find each secret.
	own := readMemory(t, os.Getpid())
	for kind, texts := range secrets {
		for _, secret := range texts {
			if !bytes.Contains(own, []byte(secret)) {
				t.Errorf("the search does not find the client's own %s", kind)
			}
			for form, encoded := range encodings(secret) {
				for place, has := range map[string]bool{
					"the parent's memory": bytes.Contains(memory, encoded),
					"its connections":     strings.Contains(wires.all.String(), string(encoded)),
					"the logs":            strings.Contains(steps.String(), string(encoded)),
				} {
					if has {
						t.Errorf("%s of the %s (%s) is in %s", kind, secret, form, place)
					}
				}
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

// readMemory reads all of a process's readable memory.
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
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); n != 3 || !strings.HasPrefix(mode, "r") {
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
