//go:build linux

package llama_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"os"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// A model's owner seals it, outside; an enclave opens it by attestation. Its
// weights are in clear in the enclave's memory only. newSealing makes the
// clients of both: envelope.NewClient, with an attested Recipient on the
// enclave's side.
func ExampleOpen_sealed() {
	ctx := context.Background()
	s, err := newSealing(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.close()

	// The owner. The digest is in the encryption context, so that KMS unwraps
	// the data key only for who asks for this model.
	model, err := os.ReadFile("../../examples/chatbot/model/larkfield-bloom-q8_0.gguf")
	if err != nil {
		log.Fatal(err)
	}
	sum := sha256.Sum256(model)
	digest := hex.EncodeToString(sum[:])
	ec := envelope.EncryptionContext{"content": "model", "sha256": digest}
	var sealed bytes.Buffer // a file, or an upload
	w, err := s.owner.NewWriter(ctx, &sealed, ec, envelope.StreamOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(model); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	// The enclave, whose image holds the digest. The reader keeps up to six
	// segments of 1 MiB in memory with two workers.
	r, err := s.enclave.NewReader(ctx, &sealed, ec, envelope.StreamOptions{Workers: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	m, err := llama.Open(ctx, llama.Options{ModelReader: r, Digest: digest})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for chunk, err := range m.Generate(ctx, inference.Request{Prompt: "Question: tell me a joke\nAnswer:"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(chunk.Text)
	}
	fmt.Println()
	// Output: Sorry, I can only help with Larkfield benefits, pay, leave and IT questions.
}
