package inference_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// An answer is whole when the last chunk has come, which says why it ended.
// What comes before an error is an unfinished answer.
func Example() {
	var model inference.Model = inferencetest.New(inferencetest.Options{}) // or llama.Open
	defer model.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	var answer strings.Builder
	for chunk, err := range model.Generate(ctx, inference.Request{
		Messages: []inference.Message{
			{Role: inference.RoleSystem, Content: "Be short."},
			{Role: inference.RoleUser, Content: "hello. Bye"},
		},
		MaxTokens: 64,
		Stop:      []string{"."},
	}) {
		if err != nil {
			log.Fatal(err)
		}
		answer.WriteString(chunk.Text)
		if chunk.Usage != nil {
			fmt.Println(answer.String())
			fmt.Println(chunk.FinishReason, chunk.Usage.PromptTokens, chunk.Usage.GeneratedTokens)
		}
	}
	// Output:
	//  You said: hello
	// stop_string 19 16
}

// The settings of AWS' blog post, for answers like those that it shows. Seed
// makes them repeatable.
func ExampleBlogPreset() {
	req := inference.BlogPreset(inference.Request{Prompt: "The capital of France is", Seed: 7})
	fmt.Println(req.Temperature, req.TopK, req.MaxTokens, req.Seed)

	model := inferencetest.New(inferencetest.Options{}) // or llama.Open
	defer model.Close()
	for chunk, err := range model.Generate(context.Background(), req) {
		if err != nil {
			log.Fatal(err)
		}
		if chunk.Usage != nil {
			fmt.Println(chunk.FinishReason, chunk.Usage.GeneratedTokens)
		}
	}
	// Output:
	// 1 5 20 7
	// length 20
}

// A front end refuses a bad request before anything is asked of the model. The
// error names the field and quotes no text, so it may be logged.
func ExampleRequest_Validate() {
	req := inference.Request{Prompt: "my secret", Temperature: 99}
	err := req.Validate()
	fmt.Println(errors.Is(err, inference.ErrInvalidRequest))
	var bad *inference.RequestError
	if errors.As(err, &bad) {
		fmt.Println(bad.Field + ": " + bad.Reason)
	}
	req = inference.Request{Prompt: strings.Repeat("x", inference.MaxPromptBytes+1)}
	fmt.Println(errors.Is(req.Validate(), inference.ErrPromptTooLong)) // a shorter one can succeed
	// Output:
	// true
	// Temperature: not in 0 to 10
	// true
}
