package llama_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// A model is loaded only if it is the one whose digest is in the program. The
// error says what else is missing.
func ExampleOpen_digest() {
	_, err := llama.Open(context.Background(), llama.Options{
		ModelPath: "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf",
		Digest:    strings.Repeat("0", 64), // SHA-256, as sha256sum writes it
	})
	var abi *llama.ABIError
	switch {
	case errors.Is(err, llama.ErrDigest):
		fmt.Println("it is another model")
	case errors.Is(err, libllama.ErrNotFound):
		fmt.Println("there is no library:", err) // it says how to get one
	case errors.As(err, &abi):
		fmt.Println("the library is of an unknown version:", abi.Version)
	}
	// Output: it is another model
}

// An answer that a program is to read has the form that a schema says. The
// deadline is the caller's: where it ends the answer, its beginning is no such
// text.
func ExampleModel_Generate_jsonSchema() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := llama.Open(ctx, llama.Options{
		ModelPath: "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf",
		Threads:   1, // it is a small one
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	var answer strings.Builder
	for chunk, err := range m.Generate(ctx, inference.Request{
		Prompt:     "Question: what is my deductible\nAnswer:",
		JSONSchema: `{"type": "object", "properties": {"topic": {"enum": ["pay", "leave"]}, "sure": {"type": "boolean"}}, "required": ["topic", "sure"]}`,
	}) {
		if err != nil {
			log.Fatal(err)
		}
		answer.WriteString(chunk.Text)
	}
	var found struct {
		Topic string
		Sure  bool
	}
	err = json.Unmarshal([]byte(answer.String()), &found)
	fmt.Println(err, found.Topic == "pay" || found.Topic == "leave") // one of the two, right or wrong
	// Output: <nil> true
}

// The turns of a session share what has been computed of their beginning, with
// nobody else. When the session ends, that is dropped.
func ExampleModel_Forget() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := llama.Open(ctx, llama.Options{
		ModelPath: "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf",
		Threads:   1, // it is a small one
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	cached := func(question string) int {
		req := inference.Request{Prompt: "Question: " + question + "\nAnswer:", MaxTokens: 8, CacheScope: "session 4711"}
		n := 0
		for chunk, err := range m.Generate(ctx, req) {
			if err != nil {
				log.Fatal(err)
			}
			if chunk.Usage != nil {
				n = chunk.Usage.CachedTokens
			}
		}
		return n
	}
	fmt.Println(cached("what is my deductible"))
	fmt.Println(cached("what is my deductible this year") > 0)
	m.Forget("session 4711")
	fmt.Println(cached("what is my deductible"))

	s := m.Stats() // for metrics
	fmt.Println(s.Requests, s.Finished, s.Running)
	// Output:
	// 0
	// true
	// 0
	// 3 3 0
}

// Of several texts, the one that means the most similar: the vectors are of unit
// length, so that the cosine is the sum of products.
func ExampleModel_Embed() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := llama.Open(ctx, llama.Options{
		ModelPath:  "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf",
		Embeddings: true,
		Threads:    1, // it is a small one
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	texts := []string{"my laptop screen is broken", "how much is the deductible"}
	vectors, err := m.Embed(ctx, append(texts, "what is my deductible"))
	if err != nil {
		log.Fatal(err)
	}
	query := vectors[len(texts)]
	best, most := "", -1.0
	for i, text := range texts {
		if like := dot(vectors[i], query); like > most { // the sum of products
			best, most = text, like
		}
	}
	fmt.Println(best)
	// Output: how much is the deductible
}
