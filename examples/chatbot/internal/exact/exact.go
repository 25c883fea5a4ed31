// Package exact has questions with one known answer, for programs that put load
// on the whole pipeline and hold every answer against what it must be. Each user
// name gives a question of its own, and its answer repeats the name: an answer
// that was meant for another client is seen.
package exact

import (
	"fmt"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// Names are the user names that clients ask with. The embedded model repeats
// each of them as it is: a name that it has not seen in training is not always.
var Names = []string{
	"jdoe", "asmith", "bwong", "cgarcia", "dkhan", "elee", "fnovak", "gpatel",
	"iivanov", "jkim", "klopez", "lrossi", "mchen", "nbrown", "osilva", "pjones",
}

// Question is a question that a user of that name asks.
func Question(name string) ask.Question {
	return ask.Question{Request: inference.Request{Messages: []inference.Message{
		{Role: inference.RoleUser, Content: "i can't access my email, my username is " + name},
	}}}
}

// Answer is the embedded model's greedy answer, as the reference implementation
// gives it.
func Answer(name string) string {
	return "Thanks, " + name + ". If you cannot get into your email, reset your password at reset.larkfield.example, then sign in again. If it still fails, call the help desk at extension 4357."
}

// WrongError is an answer that is not the one it must be, or the beginning of
// such a one before an error. Nothing excuses it.
type WrongError struct{ Got string }

func (w *WrongError) Error() string { return fmt.Sprintf("WRONG ANSWER %.80q", w.Got) }

// Receive reads an answer to its end and compares it with what is wanted: whole
// if it ended without an error, and otherwise as far as it came. each, if not
// nil, is called with each chunk.
func Receive(answer func(func(ask.Chunk, error) bool), want string, each func(*ask.Chunk)) error {
	var text strings.Builder
	for chunk, err := range answer {
		if err != nil {
			if !strings.HasPrefix(want, strings.TrimLeft(text.String(), " ")) {
				return &WrongError{text.String()}
			}
			return err
		}
		text.WriteString(chunk.Text)
		if each != nil {
			each(&chunk)
		}
	}
	if got := strings.TrimSpace(text.String()); got != want {
		return &WrongError{got}
	}
	return nil
}
