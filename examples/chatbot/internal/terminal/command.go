package terminal

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

const help = `/new              begin a new conversation
/attestation      show which enclave answers, who measured what, and why it is believed
/receipt FILE     write the last answer's receipt to FILE: a proof for others that this enclave gave it
/system TEXT      give the model an instruction; "/system -" takes it back, "/system" shows it
/help             show this
/quit             leave, as Ctrl-D does

A question that begins with / is entered with //. Ctrl-C ends an answer.
The arrow keys recall and edit what was entered; a pasted text stays one question.
What you enter, and the answers, stay in this program's memory: nothing is written to disk but receipts.`

// command does what a line with a slash asks for. An error ends the
// conversation.
func (t *talk) command(ctx context.Context, line string) error {
	name, argument := line, ""
	if i := strings.IndexFunc(line, unicode.IsSpace); i >= 0 {
		name, argument = line[:i], strings.TrimSpace(line[i:])
	}
	switch name {
	case "/new":
		t.c.turns, t.receipt, t.answers = nil, nil, 0
		t.s.note(faint, "(a new conversation)")
	case "/attestation":
		if err := t.attest(ctx); err != nil {
			t.s.fail(err)
			return ctx.Err()
		}
		t.s.note(plain, "%s", details(t.att))
	case "/receipt":
		t.save(argument)
	case "/system":
		t.instruct(argument)
	case "/help":
		t.s.note(plain, "%s", help)
	case "/quit", "/exit":
		return errLeave
	default:
		t.s.note(plain, "There is no command %s: /help tells those that there are. A question that begins with / is entered with //.", oneLine(name))
	}
	return nil
}

func (t *talk) save(name string) {
	switch {
	case name == "":
		t.s.note(plain, "Say where to: /receipt FILE")
	case t.answers == 0:
		t.s.note(plain, "There is no answer yet that a receipt could be for.")
	default:
		if err := saveReceipt(name, t.receipt); err != nil {
			t.s.fail(err)
			return
		}
		t.s.note(faint, "(the receipt is in %s; chatbot verify -receipt shows it)", oneLine(name))
	}
}

func (t *talk) instruct(text string) {
	switch text {
	case "":
		if t.c.system == "" {
			t.s.note(plain, "The model has no instruction.")
			return
		}
		t.s.note(plain, "%s", t.c.system)
	case "-":
		t.c.system = ""
		t.s.note(faint, "(no instruction from the next question on)")
	default:
		t.c.system = text
		t.s.note(faint, "(taken for the next question on)")
	}
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
