package terminal

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// Options say whom to ask, and how.
type Options struct {
	// Asker answers. It is required.
	Asker ask.Asker
	// In is where Chat reads questions: a terminal, where lines can be edited,
	// or anything else, a question a line. Once does not read it. A read of it
	// can be under way when Chat has returned.
	In io.Reader
	// Out takes answers, and Err the prompt, notes and errors. Both are
	// required.
	Out, Err io.Writer
	// Interrupts delivers what the user interrupts with: see the package
	// comment. nil means that nothing interrupts. Give it a buffer of one, as
	// for signal.Notify.
	Interrupts <-chan os.Signal
	// ExpectSimulated leaves out the warning about a simulated enclave: for a
	// demonstration that says so itself.
	ExpectSimulated bool
	// SingleModel is the SHA-256 in hexadecimal of a model that knows no
	// conversations: Chat asks it as with Single. Empty means none.
	SingleModel string
	Flags
}

// Flags are what the user chooses. The zero value asks greedily for the
// enclave's default length, without a limit of time.
type Flags struct {
	// System is an instruction that every conversation begins with.
	System string
	// MaxTokens, Temperature, TopK, TopP, Seed and Stop are those of
	// inference.Request.
	MaxTokens   int
	Temperature float32
	TopK        int
	TopP        float32
	Seed        uint32
	Stop        []string
	// Timeout bounds the wait for one whole answer; 0 means no bound.
	Timeout time.Duration
	// JSON prints one line of JSON for each question: its answer, or, where
	// there is none, an object "error".
	JSON bool
	// Receipt is the file that Once writes the answer's receipt to. Empty
	// means none. In a conversation there is the command /receipt.
	Receipt string
	// Single asks each question of Chat on its own, without what was said
	// before: for models that know no conversations.
	Single bool
	// NoColor means no colours. Nor are there any where NO_COLOR is set, TERM
	// is "dumb" or Err is no terminal.
	NoColor bool
	// Verbose tells more: the attestation in Once, and the tokens of answers.
	Verbose bool
}

// Register adds the flags to fs, but for Verbose, whose meaning is wider. The
// values that f has are the defaults.
func (f *Flags) Register(fs *flag.FlagSet) {
	fs.StringVar(&f.System, "system", f.System, "`instruction` that the conversation begins with")
	fs.IntVar(&f.MaxTokens, "max-tokens", f.MaxTokens, "most new tokens, never counting the prompt; 0 means the enclave's default")
	fs.Var((*float32Value)(&f.Temperature), "temperature", "0 to 10; 0 always takes the likeliest token")
	fs.IntVar(&f.TopK, "top-k", f.TopK, "sample from the `k` likeliest tokens; 0 means from all")
	fs.Var((*float32Value)(&f.TopP), "top-p", "sample from the likeliest tokens that together reach this probability; 0 means from all")
	fs.Var((*uint32Value)(&f.Seed), "seed", "seed for a temperature above 0")
	fs.Var((*listValue)(&f.Stop), "stop", "end the answer before this `text`; may be repeated")
	fs.DurationVar(&f.Timeout, "timeout", f.Timeout, "how long to wait for one answer; 0 means for ever")
	fs.BoolVar(&f.JSON, "json", f.JSON, "print each answer as one line of JSON")
	fs.StringVar(&f.Receipt, "receipt", f.Receipt, "`file` to write the receipt of the one answer to")
	fs.BoolVar(&f.Single, "single", f.Single, "ask each question on its own, not as part of a conversation")
	fs.BoolVar(&f.NoColor, "no-color", f.NoColor, "use no colours")
}

// request is what every question has in common.
func (f *Flags) request() inference.Request {
	return inference.Request{
		MaxTokens: f.MaxTokens, Temperature: f.Temperature, TopK: f.TopK,
		TopP: f.TopP, Seed: f.Seed, Stop: f.Stop,
	}
}

// check reports, before anything is sent, what can never be right.
func (o *Options) check(once bool) error {
	switch {
	case o.Asker == nil || o.Out == nil || o.Err == nil || !once && o.In == nil:
		return errors.New("terminal: Asker, In, Out and Err are required")
	case o.Timeout < 0:
		return fmt.Errorf("%w: the timeout must not be negative", ErrUsage)
	case !once && o.Receipt != "":
		return fmt.Errorf("%w: a file for the receipt goes with one question; in a conversation use /receipt FILE", ErrUsage)
	}
	r := o.request()
	r.Messages = messages(o.System, nil, "question")
	if err := r.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return nil
}
