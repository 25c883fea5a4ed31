package llama_test

import (
	"context"
	"fmt"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

func Example() {
	ctx := context.Background()
	m, err := llama.Open(ctx, llama.Options{
		ModelPath: "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	req := inference.Request{Prompt: "Question: tell me a joke\nAnswer:", MaxTokens: 64}
	for chunk, err := range m.Generate(ctx, req) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(chunk.Text)
	}
	fmt.Println()
	// Output: Sorry, I can only help with Larkfield benefits, pay, leave and IT questions.
}
