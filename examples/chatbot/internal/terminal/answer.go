package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// maxAnswer bounds the text of one answer, in bytes: a model with room for so
// much is not asked through a terminal.
const maxAnswer = 4 << 20

var (
	errUnfinished = errors.New("the answer ended without saying that it is complete")
	errLong       = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
)

// An answer is a complete one.
type answer struct {
	text    string
	reason  inference.FinishReason
	usage   inference.Usage
	receipt []byte
}

// An event is what an Asker yields.
type event struct {
	chunk ask.Chunk
	err   error
}

// stream asks, and gives each piece of text to print as it comes. Where there
// is no answer, begun tells whether some of its text was printed all the same.
// An interrupt, and an error of print, stop the enclave's work; neither waits
// for it to stop.
func (o *Options) stream(ctx context.Context, q ask.Question, print func(string) error) (a answer, begun bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	gone := make(chan struct{})
	defer close(gone)
	events := events(ctx, o.Asker, q, gone)
	var text strings.Builder
	for {
		var e event
		var ok bool
		select {
		case e, ok = <-events:
		case <-o.Interrupts:
			return answer{}, begun, ErrInterrupted
		}
		switch {
		case !ok:
			return answer{}, begun, errUnfinished
		case e.err != nil:
			return answer{}, begun, e.err
		case text.Len()+len(e.chunk.Text) > maxAnswer:
			return answer{}, begun, errLong
		}
		text.WriteString(e.chunk.Text)
		if e.chunk.Text != "" {
			begun = true
			if err := print(e.chunk.Text); err != nil {
				return answer{}, begun, err
			}
		}
		if e.chunk.FinishReason != "" {
			a := answer{text: text.String(), reason: e.chunk.FinishReason, receipt: e.chunk.Receipt}
			if e.chunk.Usage != nil {
				a.usage = *e.chunk.Usage
			}
			return a, begun, nil
		}
	}
}

// events asks in a goroutine, so that an interrupt is noticed whatever the
// Asker does. The channel is closed when the Asker has ended; closing gone
// leaves its loop.
func events(ctx context.Context, asker ask.Asker, q ask.Question, gone <-chan struct{}) <-chan event {
	all := make(chan event)
	go func() {
		defer close(all)
		for chunk, err := range asker.Ask(ctx, q) {
			select {
			case all <- event{chunk, err}:
			case <-gone:
				return
			}
		}
	}()
	return all
}

// attestation is that of the Asker, unless the user interrupts.
func (o *Options) attestation(ctx context.Context) (*ask.Attestation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	type result struct {
		att *ask.Attestation
		err error
	}
	got := make(chan result, 1)
	go func() {
		att, err := o.Asker.Attestation(ctx)
		got <- result{att, err}
	}()
	select {
	case r := <-got:
		if r.err == nil && r.att == nil {
			r.err = errors.New("terminal: the Asker has neither an attestation nor an error")
		}
		return r.att, r.err
	case <-o.Interrupts:
		return nil, ErrInterrupted
	}
}

// saveReceipt writes a receipt for its owner only: it can tell what was asked.
func saveReceipt(name string, receipt []byte) error {
	if len(receipt) == 0 {
		return errors.New("the answer came without a receipt: this enclave gives none")
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the receipt: %w", err)
	}
	if info, statErr := f.Stat(); statErr == nil && info.Mode().IsRegular() {
		err = f.Chmod(0o600) // a file that was there has a mode of its own
	}
	if err == nil {
		_, err = f.Write(receipt)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot write the receipt: %w", err)
	}
	return nil
}
