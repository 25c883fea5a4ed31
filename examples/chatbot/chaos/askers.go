package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/inference"
)

// names are the user names that the clients ask with. The embedded model repeats
// each of them as it is: a name that it has not seen in training is not always.
var names = []string{
	"jdoe", "asmith", "bwong", "cgarcia", "dkhan", "elee", "fnovak", "gpatel",
	"iivanov", "jkim", "klopez", "lrossi", "mchen", "nbrown", "osilva", "pjones",
}

// pause is between two questions of one client.
const pause = 50 * time.Millisecond

// lateness is how much later than its deadline a question may end: what it takes
// to notice, on a busy machine.
const lateness = 5 * time.Second

// question is a question that a user of that name asks.
func question(name string) ask.Question {
	return ask.Question{Request: inference.Request{Messages: []inference.Message{
		{Role: inference.RoleUser, Content: "i can't access my email, my username is " + name},
	}}}
}

// answerTo is the embedded model's greedy answer, as the reference
// implementation gives it.
func answerTo(name string) string {
	return "Thanks, " + name + ". If you cannot get into your email, reset your password at reset.larkfield.example, then sign in again. If it still fails, call the help desk at extension 4357."
}

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

// wrongAnswer is an answer that no fault excuses.
type wrongAnswer struct{ got string }

func (w *wrongAnswer) Error() string { return fmt.Sprintf("WRONG ANSWER %.80q", w.got) }

// once asks once. What comes before an error must be the answer's beginning.
func (a *asker) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	return receive(c.Ask(ctx, question(a.name)), answerTo(a.name), nil)
}

// receive reads an answer to its end and compares it with what is wanted. began,
// if not nil, is called after the first text.
func receive(answer func(func(ask.Chunk, error) bool), want string, began func()) error {
	var text strings.Builder
	for chunk, err := range answer {
		if err != nil {
			if !strings.HasPrefix(want, strings.TrimLeft(text.String(), " ")) {
				return &wrongAnswer{text.String()}
			}
			return err
		}
		text.WriteString(chunk.Text)
		if began != nil && text.Len() > 0 {
			began()
			began = nil
		}
	}
	if got := strings.TrimSpace(text.String()); got != want {
		return &wrongAnswer{got}
	}
	return nil
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
	if w, ok := err.(*wrongAnswer); ok {
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
