package fetch_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

func ExampleFile() {
	err := fetch.File(context.Background(), fetch.Options{
		URL:    "http://models.example/bloom-560m-q8_0.gguf?signature=secret",
		Path:   "bloom-560m-q8_0.gguf",
		SHA256: "6a1c0f2c1c2b1d5d0f3a7d9e8c7b6a594837261504f3e2d1c0b9a8978675645f",
	})
	if errors.Is(err, fetch.ErrInsecure) {
		fmt.Println(err)
	}
	// Output: fetch: Options.URL has the scheme "http": not https
}
