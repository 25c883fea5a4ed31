package inferencetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// answer returns a whole answer: here, the program that is to be tested.
func answer(ctx context.Context, m inference.Model, prompt string) (string, error) {
	var b strings.Builder
	for chunk, err := range m.Generate(ctx, inference.Request{Prompt: prompt}) {
		if err != nil {
			return "", err
		}
		b.WriteString(chunk.Text)
	}
	return b.String(), nil
}

// A test says what the model answers, for some prompts, and has the others
// echoed.
func ExampleNew() {
	m := inferencetest.New(inferencetest.Options{Answer: func(prompt string) string {
		if strings.Contains(prompt, "capital of France") {
			return "Paris."
		}
		return inferencetest.Echo(prompt)
	}})
	defer m.Close()
	ctx := context.Background()
	fmt.Println(answer(ctx, m, "What is the capital of France?"))
	fmt.Println(answer(ctx, m, "hello"))
	// Output:
	// Paris. <nil>
	//  You said: hello <nil>
}

// Echo alone is what a model without Options.Answer says: a test that does not
// care for the answer compares with it.
func ExampleEcho() {
	m := inferencetest.New(inferencetest.Options{})
	defer m.Close()
	got, err := answer(context.Background(), m, "hello")
	fmt.Println(got == inferencetest.Echo("hello"), err)
	// Output: true <nil>
}

// Step holds an answer up, so that a test can look at what happens meanwhile:
// here one request more than the model takes, and then a user who leaves.
func ExampleOptions_step() {
	begun := make(chan struct{}, 1)
	m := inferencetest.New(inferencetest.Options{
		MaxConcurrent: 1,
		Step: func(ctx context.Context) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	defer m.Close()
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	result := make(chan error, 1)
	go func() {
		_, err := answer(ctx, m, "hello")
		result <- err
	}()

	<-begun
	_, err := answer(context.Background(), m, "me too")
	fmt.Println(errors.Is(err, inference.ErrOverloaded))
	leave()
	fmt.Println(errors.Is(<-result, context.Canceled))
	// Output:
	// true
	// true
}
