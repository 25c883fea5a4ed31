package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const status = "verified: AWS Nitro enclave, PCR0 444444444444…, meets policy \"v1\", key until 14:05 UTC, model larkfield (sha256 121212121212…)\n"

func TestChat(t *testing.T) {
	f := &fake{}
	r := newRun(f, "one\r\n\n  two \n//slash\n/new\n/system be brief\nthree\n/system -\nlast without newline")
	if err := Chat(t.Context(), r.Options); err != nil {
		t.Fatal(err)
	}
	if got := r.out.String(); got != "echo: one\necho: two\necho: /slash\necho: three\necho: last without newline\n" {
		t.Errorf("out: %q", got)
	}
	want := []string{
		"user=one",
		"user=one|assistant=echo: one|user=two",
		"user=one|assistant=echo: one|user=two|assistant=echo: two|user=/slash",
		"system=be brief|user=three",
		"user=three|assistant=echo: three|user=last without newline",
	}
	if got := f.questions(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	if got := r.err.String(); got != status+"(a new conversation)\n(taken for the next question on)\n(no instruction from the next question on)\n" {
		t.Errorf("err: %q", got)
	}
}

func TestChatSingle(t *testing.T) {
	f := &fake{}
	r := newRun(f, "one\ntwo\n")
	r.Single, r.System = true, "s"
	if err := Chat(t.Context(), r.Options); err != nil || !slices.Equal(f.questions(), []string{"system=s|user=one", "system=s|user=two"}) {
		t.Errorf("%v, %q", err, f.questions())
	}
	for digest, want := range map[string]string{strings.Repeat("12", 32): "user=two", strings.Repeat("34", 32): "user=one|assistant=echo: one|user=two"} {
		f := &fake{}
		r := newRun(f, "one\ntwo\n")
		r.SingleModel = digest
		if err := Chat(t.Context(), r.Options); err != nil || f.questions()[1] != want {
			t.Errorf("%s: %v, %q", digest, err, f.questions())
		}
	}
}

// A failed question does not end the conversation and is not part of it; in a
// pipe it is the exit code in the end.
func TestChatFailures(t *testing.T) {
	f := &fake{}
	f.answer = func(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool) {
		switch last := q.Messages[len(q.Messages)-1].Content; last {
		case "denied":
			fail(wire.ReasonKMSDenied)(ctx, q, yield)
		case "half":
			fail(wire.ReasonUnavailable, "some")(ctx, q, yield)
		default:
			say("fine")(ctx, q, yield)
		}
	}
	r := newRun(f, "one\ndenied\nhalf\n\xff\nfour\n")
	err := Chat(t.Context(), r.Options)
	if !errors.Is(err, wire.ReasonKMSDenied) || ExitCode(err) != 4 {
		t.Error(err)
	}
	if got := f.questions(); got[len(got)-1] != "user=one|assistant=fine|user=four" || len(got) != 4 {
		t.Errorf("asked %q", got)
	}
	if r.out.String() != "fine\nsome\nfine\n" {
		t.Errorf("out %q", r.out.String())
	}
	if n := strings.Count(r.err.String(), "error: "); n != 3 {
		t.Errorf("told of %d errors: %s", n, r.err.String())
	}
}

func TestChatJSON(t *testing.T) {
	f := &fake{}
	f.answer = func(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool) {
		if len(f.asked) == 2 {
			fail(wire.ReasonOverloaded)(ctx, q, yield)
			return
		}
		say("two\nlines")(ctx, q, yield)
	}
	r := newRun(f, "1\n2\n3\n/help\n")
	r.JSON = true
	if err := Chat(t.Context(), r.Options); !errors.Is(err, wire.ReasonOverloaded) {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSpace(r.out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"answer":"two\nlines"`) || !strings.Contains(lines[1], `"code":"overloaded"`) {
		t.Errorf("%q", lines)
	}
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %s", l)
		}
	}
}

// Where the enclave says that the conversation is too long, the older half of
// it goes, until it fits; the new question never does.
func TestChatTooLong(t *testing.T) {
	f := &fake{attest: func() (*ask.Attestation, error) {
		a := attestation()
		a.Model.MaxTokens = 0 // so that only the enclave knows
		return a, nil
	}}
	f.answer = func(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool) {
		if len(q.Messages) > 5 || q.Messages[len(q.Messages)-1].Content == "huge" {
			fail(fmt.Errorf("refused: %w", wire.ReasonPromptTooLong))(ctx, q, yield)
			return
		}
		say("a")(ctx, q, yield)
	}
	r := newRun(f, "1\n2\n3\n4\n5\nhuge\n")
	err := Chat(t.Context(), r.Options)
	if !errors.Is(err, wire.ReasonPromptTooLong) || !strings.Contains(r.err.String(), "Ask a shorter question") {
		t.Errorf("%v, %s", err, r.err.String())
	}
	got := f.questions()
	want := []string{
		"user=1", "user=1|assistant=a|user=2", "user=1|assistant=a|user=2|assistant=a|user=3",
		"user=1|assistant=a|user=2|assistant=a|user=3|assistant=a|user=4", "user=3|assistant=a|user=4",
		"user=3|assistant=a|user=4|assistant=a|user=5",
		"user=3|assistant=a|user=4|assistant=a|user=5|assistant=a|user=huge", "user=5|assistant=a|user=huge", "user=huge",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	if !strings.Contains(r.err.String(), "no longer knows the oldest 2 questions of it") {
		t.Errorf("err: %s", r.err.String())
	}
}

func TestChatEstimates(t *testing.T) {
	f := &fake{answer: say(strings.Repeat("long ", 200))} // 1000 bytes, and 12 tokens of prompt
	f.attest = func() (*ask.Attestation, error) {
		a := attestation()
		a.Model.MaxTokens = 300
		return a, nil
	}
	r := newRun(f, "one question\nanother\na third\nfour\n")
	r.MaxTokens = 100
	if err := Chat(t.Context(), r.Options); err != nil {
		t.Fatal(err)
	}
	for _, q := range f.asked {
		if n := len(q.Messages); n > 5 {
			t.Errorf("%d messages", n)
		}
	}
	if !strings.Contains(r.err.String(), "no longer knows the oldest 1 question of it") {
		t.Errorf("err: %s", r.err.String())
	}
}

func TestChatCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "receipt")
	r := newRun(&fake{}, "/receipt "+file+"\nhi\n/receipt\n/receipt "+file+"\n/system\n/system\ta\tb\n/system\n/attestation\n/nope\x1b\n/help\n/quit\nnever\n")
	if err := Chat(t.Context(), r.Options); err != nil {
		t.Fatal(err)
	}
	got := r.err.String()
	for _, want := range []string{
		"There is no answer yet", "Say where to", "(the receipt is in " + file, "The model has no instruction.", "\na\tb\n",
		"There is no command /nope�:", "/attestation ",
		"AWS Nitro Enclaves: its certificate", "PCR0         " + strings.Repeat("44", 48), "hypervisor; the policy asks for this value",
		"PCR16        " + strings.Repeat("16", 48), "measured by the enclave's own application", "k1 (a suite)",
		"sha256 " + strings.Repeat("12", 32), "3 parameters, a context of 2048 tokens, run by an engine", "arn:aws:kms", "http://127.0.0.1:5001",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(got, "PCR5") || strings.ContainsRune(got, '\x1b') || r.out.String() != "echo: hi\n" {
		t.Errorf("out %q, err %s", r.out.String(), got)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "a receipt" {
		t.Errorf("%q, %v", data, err)
	}
}

// What changes about the enclave is told before it is asked; a new key alone
// is told to those who want to know.
func TestChatTellsOfAnotherEnclave(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		n := 0
		f := &fake{attest: func() (*ask.Attestation, error) {
			a := attestation()
			switch n++; {
			case n > 5: // the same PCR0, which another alternative has as well
				a.Document.PCRs[0] = attest.PCR(bytes.Repeat([]byte{0x55}, 48))
				a.Measurement = "v3"
			case n > 4:
				a.Document.PCRs[0] = attest.PCR(bytes.Repeat([]byte{0x55}, 48))
				a.Measurement = "v2"
			case n == 3:
				a.Key.ID = "k2"
			}
			return a, nil
		}}
		r := newRun(f, "1\n2\n3\n4\n5\n")
		r.Verbose = verbose
		if err := Chat(t.Context(), r.Options); err != nil {
			t.Fatal(err)
		}
		want := 3
		if verbose {
			want = 5 // and then the first key again
		}
		if got := strings.Count(r.err.String(), "verified: "); got != want || !strings.Contains(r.err.String(), `PCR0 555555555555…, meets policy "v2"`) {
			t.Errorf("verbose %t: told %d times: %s", verbose, got, r.err.String())
		}
	}
}

func TestChatNotTrusted(t *testing.T) {
	f := &fake{attest: func() (*ask.Attestation, error) {
		return nil, &attest.PolicyError{Rule: "measurement", PCR: 2, Expected: attest.ZeroPCR()}
	}}
	r := newRun(f, "hi\n")
	if err := Chat(t.Context(), r.Options); ExitCode(err) != 3 || len(f.asked) != 0 || !strings.Contains(r.err.String(), "PCR2, its application") {
		t.Errorf("%v, asked %d times, %s", err, len(f.asked), r.err.String())
	}
}

func TestChatInterruptedInPipe(t *testing.T) {
	said, c := make(chan struct{}), make(chan os.Signal)
	r := newRun(&fake{answer: hang(said)}, "hi\nnever\n")
	r.Interrupts = c
	go func() { <-said; c <- os.Interrupt }()
	if err := Chat(t.Context(), r.Options); ExitCode(err) != 130 || r.out.String() != "well,\n" {
		t.Errorf("%v, %q", err, r.out.String())
	}
}

func TestChatEndsWithContext(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := newRun(&fake{}, "")
	r.In = in
	done := make(chan error)
	go func() { done <- Chat(ctx, r.Options) }()
	io.WriteString(w, "/help\n") // is read: the next read is under way, or will be
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestChatRefuses(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"a receipt":   func(o *Options) { o.Receipt = "r" },
		"temperature": func(o *Options) { o.Temperature = 11 },
		"a timeout":   func(o *Options) { o.Timeout = -1 },
		"stop":        func(o *Options) { o.Stop = []string{""} },
	} {
		r := newRun(&fake{}, "hi\n")
		set(&r.Options)
		if err := Chat(t.Context(), r.Options); ExitCode(err) != 2 || r.err.Len() == 0 || r.out.Len() != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Chat(t.Context(), Options{}); err == nil {
		t.Error("no options are enough")
	}
	if err := Chat(t.Context(), newRunWith(brokenWriter{}).Options); !errors.Is(err, errTest) || ExitCode(err) != 1 {
		t.Errorf("broken pipe: %v", err)
	}
}

func newRunWith(out io.Writer) *run {
	r := newRun(&fake{}, "hi\nho\n")
	r.Out = out
	return r
}

func TestPlainReader(t *testing.T) {
	long := strings.Repeat("a", maxLine+2)
	for name, c := range map[string]struct {
		in   string
		want []string
		end  error
	}{
		"lines":    {"a\nb\r\n\nc", []string{"a", "b", "", "c"}, io.EOF},
		"nothing":  {"", nil, io.EOF},
		"too long": {"a\n" + long, []string{"a"}, errLine},
	} {
		r := newLineReader(&Options{In: strings.NewReader(c.in), Err: io.Discard}, true)
		for _, want := range c.want {
			if got, err := r.readLine(t.Context()); err != nil || got != want {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if got, err := r.readLine(t.Context()); err != c.end || got != "" {
			t.Errorf("%s: at the end %q, %v", name, got, err)
		}
		r.close()
	}
}

func TestHistory(t *testing.T) {
	var h history
	for _, l := range []string{"a", "a", " ", "", "b"} {
		h.Add(l)
	}
	h.closed = true
	h.Add("c")
	if h.Len() != 2 || h.At(0) != "b" || h.At(1) != "a" {
		t.Errorf("%q", h.lines)
	}
	h.closed = false
	for i := range 2 * maxHistory {
		h.Add(fmt.Sprint(i))
	}
	if h.Len() != maxHistory || h.At(0) != fmt.Sprint(2*maxHistory-1) || h.At(maxHistory-1) != fmt.Sprint(maxHistory) {
		t.Errorf("%d lines, %q to %q", h.Len(), h.At(0), h.At(maxHistory-1))
	}
}
