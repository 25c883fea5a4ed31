// Generate continues a text with a model file: the smallest program around
// package llama.
//
//	generate -model FILE -prompt TEXT [-max-tokens N] [-temperature T] [-json]
//
// The text is the prompt as it is, without a chat template; "-" reads it from
// standard input. The answer is printed as it comes or, with -json, as one
// object in the end:
//
//	{"prompt_tokens":[…],"tokens":[…],"text":"…"}
//
// where tokens are the generated ones without the one that ends the answer. It
// exits with 1 on failure, and with 2 when called wrongly.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are what the flags say.
type settings struct {
	model   llama.Options
	request inference.Request
	json    bool
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	s, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := generate(ctx, s, in, out); err != nil {
		fmt.Fprintf(errOut, "generate: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, errOut io.Writer) (settings, error) {
	var s settings
	var temperature, topP, minP, penalty float64
	var seed uint
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.StringVar(&s.model.ModelPath, "model", "", "the model, a GGUF `file`")
	flags.StringVar(&s.model.Digest, "digest", "", "its SHA-256 in hexadecimal; another file is refused")
	flags.IntVar(&s.model.Threads, "threads", 0, "threads that compute; 0 means one per CPU")
	flags.StringVar(&s.request.Prompt, "prompt", "", "the `text` to continue; - reads standard input")
	flags.IntVar(&s.request.MaxTokens, "max-tokens", inference.DefaultMaxTokens, "most new tokens")
	flags.Float64Var(&temperature, "temperature", 0, "0 takes the likeliest token; higher is more varied")
	flags.IntVar(&s.request.TopK, "top-k", 0, "draw from the `K` likeliest tokens; 0 means all")
	flags.Float64Var(&topP, "top-p", 0, "draw from the likeliest tokens that reach this probability; 0 means all")
	flags.Float64Var(&minP, "min-p", 0, "draw no token below this fraction of the likeliest one's probability")
	flags.Float64Var(&penalty, "repeat-penalty", 0, "above 1 makes repetition less likely")
	flags.UintVar(&seed, "seed", 0, "equal seeds draw equally")
	flags.Func("stop", "end before this `text`; may be given several times", func(v string) error {
		s.request.Stop = append(s.request.Stop, v)
		return nil
	})
	flags.StringVar(&s.request.Grammar, "grammar", "", "GBNF `text` that the answer must match")
	flags.StringVar(&s.request.JSONSchema, "json-schema", "", "JSON Schema `text` that the answer must match")
	flags.BoolVar(&s.json, "json", false, "print one JSON object in the end")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	fail := func(reason string) (settings, error) {
		fmt.Fprintln(errOut, "generate:", reason)
		flags.Usage()
		return s, errors.New(reason)
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case flags.NArg() > 0:
		return fail("there are arguments that belong to no flag")
	case !given["model"] || !given["prompt"]:
		return fail("-model and -prompt are needed")
	case s.request.MaxTokens < 1:
		return fail("-max-tokens is not positive")
	case seed > 1<<32-1:
		return fail("-seed is over 32 bits")
	}
	s.request.Seed = uint32(seed)
	s.request.Temperature, s.request.TopP, s.request.MinP = float32(temperature), float32(topP), float32(minP)
	s.request.RepeatPenalty = float32(penalty)
	// One request: no space for others.
	s.model.MaxSequences, s.model.CacheSequences = 1, -1
	return s, nil
}

func generate(ctx context.Context, s settings, in io.Reader, out io.Writer) (err error) {
	if s.request.Prompt == "-" {
		// One byte more than allowed, so that too much is noticed.
		prompt, err := io.ReadAll(io.LimitReader(in, inference.MaxPromptBytes+1))
		if err != nil {
			return err
		}
		s.request.Prompt = string(prompt)
	}
	// Before the model is loaded, which takes a while.
	if err := s.request.Validate(); err != nil {
		return err
	}
	m, err := llama.Open(ctx, s.model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()

	result := struct {
		PromptTokens []inference.Token `json:"prompt_tokens"`
		Tokens       []inference.Token `json:"tokens"`
		Text         string            `json:"text"`
	}{Tokens: []inference.Token{}}
	if result.PromptTokens, err = m.Tokenize(ctx, s.request.Prompt); err != nil {
		return err
	}
	var text strings.Builder
	for c, err := range m.Generate(ctx, s.request) {
		if err != nil {
			return err
		}
		result.Tokens = append(result.Tokens, c.Tokens...)
		text.WriteString(c.Text)
		if !s.json {
			if _, err := io.WriteString(out, c.Text); err != nil {
				return err
			}
		}
	}
	if !s.json {
		_, err := fmt.Fprintln(out)
		return err
	}
	result.Text = text.String()
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(result)
}
