package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
)

// pause is between two questions of one client.
const pause = 50 * time.Millisecond

// lateness is how much later than its deadline a question may end: what it takes
// to notice, on a busy machine.
const lateness = 5 * time.Second

// asker is one client, which asks one question over and over.
type asker struct {
	name    string
	timeout time.Duration
	// client returns the client to ask with, the same or a new one.
	client func() (*chat.Client, error)
	tally  *tally
}

// run asks until ctx ends.
func (a *asker) run(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		err := a.once(ctx)
		if ctx.Err() != nil {
			return // the asking was ended, and with it this question
		}
		a.tally.note(a.name, begun, time.Now(), a.timeout, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// once asks once. What comes before an error must be the answer's beginning.
func (a *asker) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	return exact.Receive(c.Ask(ctx, exact.Question(a.name)), exact.Answer(a.name), nil)
}

// tally is what happened to the questions of all clients. It is safe for
// concurrent use.
type tally struct {
	mu       sync.Mutex
	good     int
	wrong    []string
	late     []string
	errors   map[class]int
	examples map[class]error
	// healed is when the fault was mended: the zero time before.
	healed time.Time
	// first is by client when the first good answer ended to a question that
	// was asked after healed, or since the beginning if that is zero.
	first map[string]time.Time
	// relapses are errors of clients that had such an answer.
	relapses []string
	changed  chan struct{} // is closed, and replaced, at each note
}

func newTally() *tally {
	return &tally{
		errors: map[class]int{}, examples: map[class]error{},
		first: map[string]time.Time{}, changed: make(chan struct{}),
	}
}

// note takes what came of one question.
func (t *tally) note(name string, begun, ended time.Time, timeout time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		close(t.changed)
		t.changed = make(chan struct{})
	}()
	if took := ended.Sub(begun); took > timeout+lateness {
		t.late = append(t.late, fmt.Sprintf("%s: ended after %v", name, took.Round(time.Millisecond)))
	}
	if w, ok := err.(*exact.WrongError); ok {
		t.wrong = append(t.wrong, name+": "+w.Error())
		return
	}
	if err != nil {
		k := classify(err)
		t.errors[k]++
		t.examples[k] = err
		if _, ok := t.first[name]; ok && !t.healed.IsZero() {
			t.relapses = append(t.relapses, fmt.Sprintf("%s: %v", name, err))
		}
		return
	}
	t.good++
	if _, ok := t.first[name]; !ok && !begun.Before(t.healed) {
		t.first[name] = ended
	}
}

// heal begins the time after the fault.
func (t *tally) heal(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.healed, t.first = now, map[string]time.Time{}
}

// wait waits until ready, which is called with the lock held, says true, and
// reports whether it did before ctx ended.
func (t *tally) wait(ctx context.Context, ready func() bool) bool {
	for {
		t.mu.Lock()
		ok, changed := ready(), t.changed
		t.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// felt reports whether enough errors of the classes have come. The lock must be
// held.
func (t *tally) felt(list []class) bool {
	n := 0
	for _, k := range list {
		n += t.errors[k]
	}
	return n >= enough
}

// enough is how many errors show that a fault was felt, and not by chance.
const enough = 4
