package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

func TestOnce(t *testing.T) {
	f := &fake{answer: say(" \n", "Hel", "lo\x1b[2J.", "\n", "\nBye", "  \n")}
	r := newRun(f, "")
	r.System, r.MaxTokens, r.Stop = "be brief", 7, []string{"\n\n"}
	if err := Once(t.Context(), r.Options, "hi"); err != nil {
		t.Fatal(err)
	}
	if got := r.out.String(); got != "Hello�[2J.\n\nBye\n" {
		t.Errorf("out: %q", got)
	}
	if got := r.err.String(); got != "" {
		t.Errorf("err: %q", got)
	}
	q := f.asked[0]
	if got := f.questions(); got[0] != "system=be brief|user=hi" || q.MaxTokens != 7 || q.Stop[0] != "\n\n" || q.Receipt {
		t.Errorf("asked %q, %+v", got, q)
	}
}

// The first piece is printed before the second is there.
func TestOnceStreams(t *testing.T) {
	out := &firstWrite{done: make(chan struct{})}
	f := &fake{answer: func(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool) {
		if yield(ask.Chunk{Chunk: inference.Chunk{Text: "first"}}, nil) {
			<-out.done
			say(" second")(ctx, q, yield)
		}
	}}
	r := newRun(f, "")
	r.Out = out
	if err := Once(t.Context(), r.Options, "hi"); err != nil || out.String() != "first second\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestOnceJSON(t *testing.T) {
	receipt := filepath.Join(t.TempDir(), "r")
	if err := os.WriteFile(receipt, []byte("one that others could read, and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := &fake{answer: say("a\u202eb\u009b", "\x1b<\n ")}
	r := newRun(f, "")
	r.JSON, r.Receipt = true, receipt
	if err := Once(t.Context(), r.Options, "hi"); err != nil {
		t.Fatal(err)
	}
	want := `{"answer":"a\u202eb\u009b\u001b<","finish_reason":"stop","prompt_tokens":12,"completion_tokens":3,"cached_tokens":8,` +
		`"model":"larkfield","model_digest":"` + strings.Repeat("12", 32) + `","pcr0":"` + strings.Repeat("44", 48) + `","simulated":false,"receipt":"` + receipt + "\"}\n"
	if got := r.out.String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var back result
	if err := json.Unmarshal([]byte(r.out.String()), &back); err != nil || back.Answer != "a\u202eb\u009b\x1b<" {
		t.Errorf("%+v, %v", back, err)
	}
	info, err := os.Stat(receipt)
	data, _ := os.ReadFile(receipt)
	if err != nil || info.Mode().Perm() != 0o600 || string(data) != "a receipt" {
		t.Errorf("receipt %q, %v, %v", data, info, err)
	}
}

// Where the enclave was replaced while it was asked, the line tells of the one
// that answered.
func TestOnceJSONAfterReplacement(t *testing.T) {
	n := 0
	f := &fake{attest: func() (*ask.Attestation, error) {
		a := attestation()
		if n++; n > 1 {
			a.Model.Name = "the new one"
		}
		return a, nil
	}}
	r := newRun(f, "")
	r.JSON = true
	if err := Once(t.Context(), r.Options, "hi"); err != nil || !strings.Contains(r.out.String(), "the new one") {
		t.Errorf("%s, %v", &r.out, err)
	}
}

func TestOnceNotes(t *testing.T) {
	length := func(generated int, reason inference.FinishReason) *fake {
		return &fake{answer: func(_ context.Context, _ ask.Question, yield func(ask.Chunk, error) bool) {
			yield(ask.Chunk{Chunk: inference.Chunk{Text: "cut", FinishReason: reason, Usage: &inference.Usage{GeneratedTokens: generated}}}, nil)
		}}
	}
	sim := &fake{attest: func() (*ask.Attestation, error) { return simulated(), nil }}
	debug := &fake{attest: func() (*ask.Attestation, error) {
		a := attestation()
		a.Document.PCRs = attest.PCRs{0: attest.ZeroPCR(), 1: attest.ZeroPCR(), 2: attest.ZeroPCR()}
		return a, nil
	}}
	whatever := &fake{attest: func() (*ask.Attestation, error) {
		a := attestation()
		a.Policy, a.Measurement = attest.Policy{AnyMeasurement: true}, ""
		return a, nil
	}}
	for name, c := range map[string]struct {
		f       *fake
		set     func(*Options)
		want    string
		wantOut string
	}{
		"limit":           {length(9, "length"), func(o *Options) { o.MaxTokens = 9 }, "(the answer was cut here, at the limit of 9 tokens: -max-tokens sets another)\n", "cut\n"},
		"default limit":   {length(256, "length"), nil, "(the answer was cut here, at the limit of 256 tokens: -max-tokens sets another)\n", "cut\n"},
		"space":           {length(5, "length"), func(o *Options) { o.MaxTokens = 9 }, "(the answer was cut here, after 5 tokens: there is no more space. A shorter question or conversation leaves more)\n", "cut\n"},
		"simulated":       {sim, nil, "WARNING: SIMULATED. This is no Nitro enclave but a program on some machine: it protects NOTHING. Ask nothing confidential.\n", "echo: hi\n"},
		"simulation told": {sim, func(o *Options) { o.ExpectSimulated = true }, "", "echo: hi\n"},
		"debug":           {debug, nil, "WARNING: DEBUG MODE. The enclave's console can be read from outside: it protects NOTHING. Ask nothing confidential.\n", "echo: hi\n"},
		"any":             {whatever, nil, "WARNING: ANY MEASUREMENT. The policy accepts whatever code an enclave runs.\n", "echo: hi\n"},
		"verbose": {&fake{}, func(o *Options) { o.Verbose = true },
			"verified: AWS Nitro enclave, PCR0 444444444444…, meets policy \"v1\", key until 14:05 UTC, model larkfield (sha256 121212121212…)\n(12 tokens of prompt, 8 of them known from before; 3 of answer)\n", "echo: hi\n"},
	} {
		r := newRun(c.f, "")
		if c.set != nil {
			c.set(&r.Options)
		}
		if err := Once(t.Context(), r.Options, "hi"); err != nil || r.err.String() != c.want || r.out.String() != c.wantOut {
			t.Errorf("%s: %v, %q, err %q, want %q", name, err, r.out.String(), r.err.String(), c.want)
		}
	}
}

func TestOnceFails(t *testing.T) {
	cut := func(_ context.Context, _ ask.Question, yield func(ask.Chunk, error) bool) {
		yield(ask.Chunk{Chunk: inference.Chunk{Text: "half"}}, nil)
	}
	long := func(_ context.Context, _ ask.Question, yield func(ask.Chunk, error) bool) {
		for piece := strings.Repeat("a", 1<<20); yield(ask.Chunk{Chunk: inference.Chunk{Text: piece}}, nil); {
		}
	}
	for name, c := range map[string]struct {
		f        *fake
		question string
		set      func(*Options)
		is       error
		code     int
		asked    int
		said     string
	}{
		"refused":         {&fake{answer: fail(wire.ReasonKMSDenied)}, "hi", nil, wire.ReasonKMSDenied, 4, 1, "error: KMS answered AccessDeniedException"},
		"in the middle":   {&fake{answer: fail(wire.ReasonUnavailable, "half")}, "hi", nil, wire.ReasonUnavailable, 5, 1, "(the text above is an unfinished answer)\nerror: the enclave cannot be reached"},
		"no end":          {&fake{answer: cut}, "hi", nil, errUnfinished, 1, 1, "Do not rely"},
		"no end in sight": {&fake{answer: long}, "hi", func(o *Options) { o.Out = io.Discard }, errLong, 1, 1, "longer than 4 MiB"},
		"not trusted":     {&fake{attest: func() (*ask.Attestation, error) { return nil, attest.ErrUntrusted }}, "hi", nil, attest.ErrUntrusted, 3, 0, "NOT trusted"},
		"empty":           {&fake{}, " \n", nil, wire.ErrEmpty, 2, 0, "empty"},
		"not text":        {&fake{}, "\xff", nil, wire.ErrNotUTF8, 2, 0, "UTF-8"},
		"temperature":     {&fake{}, "hi", func(o *Options) { o.Temperature = -1 }, ErrUsage, 2, 0, "Temperature"},
		"no folder":       {&fake{}, "hi", func(o *Options) { o.Receipt = "/nonexistent/x" }, ErrUsage, 2, 0, "no folder"},
		"broken pipe":     {&fake{}, "hi", func(o *Options) { o.Out = brokenWriter{} }, errTest, 1, 1, errTest.Error()},
		"too late":        {&fake{answer: hang(nil)}, "hi", func(o *Options) { o.Timeout = 1 }, context.DeadlineExceeded, 5, 1, "no answer within the deadline"},
		"no receipt": {&fake{answer: func(_ context.Context, _ ask.Question, yield func(ask.Chunk, error) bool) {
			yield(ask.Chunk{Chunk: inference.Chunk{Text: "a", FinishReason: "stop"}}, nil)
		}}, "hi", func(o *Options) { o.Receipt = filepath.Join(t.TempDir(), "r") }, nil, 1, 1, "gives none"},
	} {
		r := newRun(c.f, "")
		if c.set != nil {
			c.set(&r.Options)
		}
		err := Once(t.Context(), r.Options, c.question)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || ExitCode(err) != c.code {
			t.Errorf("%s: %v, exit code %d", name, err, ExitCode(err))
		}
		if len(c.f.asked) != c.asked || !strings.Contains(r.err.String(), c.said) {
			t.Errorf("%s: asked %d times, said %q", name, len(c.f.asked), r.err.String())
		}
	}
}

func TestOnceJSONFails(t *testing.T) {
	r := newRun(&fake{answer: fail(wire.ReasonOverloaded, "half")}, "")
	r.JSON = true
	err := Once(t.Context(), r.Options, "hi")
	want := `{"error":{"code":"overloaded","message":"the enclave has more questions waiting than it takes; try again","exit_code":5}}` + "\n"
	if !errors.Is(err, wire.ReasonOverloaded) || r.out.String() != want {
		t.Errorf("%v, %s", err, r.out.String())
	}
}

// An answer is not lost because its receipt is.
func TestOnceJSONWithoutReceipt(t *testing.T) {
	r := newRun(&fake{}, "")
	r.JSON, r.Receipt = true, t.TempDir() // a folder, and no file
	err := Once(t.Context(), r.Options, "hi")
	if ExitCode(err) != 1 || strings.Count(r.out.String(), "\n") != 1 || !strings.Contains(r.out.String(), `"answer":"echo: hi"`) || strings.Contains(r.out.String(), "receipt") {
		t.Errorf("%v, %s", err, r.out.String())
	}
	if !strings.Contains(r.err.String(), "cannot write the receipt") {
		t.Errorf("err: %s", r.err.String())
	}
}

func TestOnceInterrupted(t *testing.T) {
	said, c := make(chan struct{}), make(chan os.Signal)
	f := &fake{answer: hang(said)}
	r := newRun(f, "")
	r.Interrupts = c
	go func() {
		<-said
		c <- os.Interrupt
	}()
	if err := Once(t.Context(), r.Options, "hi"); !errors.Is(err, ErrInterrupted) || ExitCode(err) != 130 || r.out.String() != "well,\n" {
		t.Errorf("%v, %q", err, r.out.String())
	}
}

// An Asker that does not notice is not waited for.
func TestOnceInterruptedWhileStuck(t *testing.T) {
	free, asked, c := make(chan struct{}), make(chan struct{}), make(chan os.Signal)
	defer close(free)
	f := &fake{answer: func(context.Context, ask.Question, func(ask.Chunk, error) bool) { close(asked); <-free }}
	r := newRun(f, "")
	r.Interrupts = c
	go func() {
		<-asked
		c <- os.Interrupt
	}()
	if err := Once(t.Context(), r.Options, "hi"); !errors.Is(err, ErrInterrupted) || r.out.String() != "" {
		t.Errorf("%v, %q", err, r.out.String())
	}
}

func TestOnceInterruptedWhileVerifying(t *testing.T) {
	free := make(chan struct{})
	defer close(free)
	f := &fake{attest: func() (*ask.Attestation, error) { <-free; return attestation(), nil }}
	r := newRun(f, "")
	r.Interrupts = interrupts(1)
	if err := Once(t.Context(), r.Options, "hi"); ExitCode(err) != 130 || len(f.asked) != 0 {
		t.Errorf("%v, asked %d times", err, len(f.asked))
	}
}

func TestRegister(t *testing.T) {
	f := Flags{Timeout: 5}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.Register(fs)
	if err := fs.Parse(strings.Fields("-system s -max-tokens 1 -temperature 0.5 -top-k 2 -top-p 0.25 -seed 3 -stop a -stop b -json -receipt r -single -no-color")); err != nil {
		t.Fatal(err)
	}
	want := Flags{System: "s", MaxTokens: 1, Temperature: 0.5, TopK: 2, TopP: 0.25, Seed: 3, Stop: []string{"a", "b"}, Timeout: 5, JSON: true, Receipt: "r", Single: true, NoColor: true}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("%+v", f)
	}
	for _, bad := range []string{"-temperature=x", "-seed=-1", "-seed=4294967296"} {
		if err := fs.Parse([]string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
