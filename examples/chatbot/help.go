package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// manual is what the manual page of a command says besides its description,
// which stands in its source, and its flags, which come from its flag set.
type manual struct {
	// summary is one line without a full stop.
	summary string
	// operands are the arguments beside flags, for the synopsis. Completion
	// reads them too: one with FILE in it is a file, and otherwise a list such
	// as bash|zsh|fish holds the words to choose from.
	operands string
	files    []entry
	env      []entry
	// exit are the exit statuses; 0, 1 and 2 have a text of their own unless
	// they are here.
	exit     []entry
	examples []example
	// seeAlso names other commands, such as "policy lint".
	seeAlso []string
}

// entry is a name and what it means.
type entry struct{ name, text string }

// example is a call, which may go on after a backslash, and what it does.
type example struct{ about, call string }

// join puts the names of a command together: "model" and "fetch".
func join(path, name string) string { return strings.TrimSpace(path + " " + name) }

// writeUsage tells the commands of a group to somebody who called it wrongly.
func writeUsage(w io.Writer, path string, subs []command) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags]\n\n", join("chatbot", path))
	for _, e := range summaries(path, subs) {
		fmt.Fprintf(w, "  %-10s  %s\n", e.name, e.text)
	}
	fmt.Fprintf(w, "\n%s COMMAND -h shows the manual page of a command.\n", join("chatbot", path))
}

// summaries lists the commands of a group.
func summaries(path string, subs []command) []entry {
	var list []entry
	for _, c := range subs {
		list = append(list, entry{c.name, manuals[join(path, c.name)].summary})
	}
	return list
}

// walk visits the command and all below it, groups before what is in them.
func (c command) walk(path string, visit func(path string, c command)) {
	visit(path, c)
	for _, sub := range c.subs {
		sub.walk(join(path, sub.name), visit)
	}
}

// probe is a standard output that is there to learn the flags of a command:
// parse hands it the flag set, and the command does nothing.
type probe struct{ flags *flag.FlagSet }

// Write takes nothing in.
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// flagSet returns the flags of a command, or nil for a group. What it parses
// is kept nowhere.
func (c command) flagSet() *flag.FlagSet {
	if c.run == nil {
		return nil
	}
	p := &probe{}
	// A command gets its arguments parsed before it does anything else; it
	// returns flag.ErrHelp.
	_ = c.run(context.Background(), []string{"-h"}, streams{strings.NewReader(""), p, io.Discard})
	return p.flags
}

const helpAbout = `
Shows the manual page of a command: what it does, its flags, the files and the
environment that it uses, its exit statuses and examples. Without a command it
shows the page of chatbot itself, which lists the commands. "chatbot COMMAND -h"
is the same.
`

func runHelp(ctx context.Context, args []string, s streams) error {
	fs := newFlags("help", helpAbout, s)
	all := fs.Bool("all", false, "show the pages of all commands")
	path, err := parseOperands(fs, args, s, 0, 2)
	if err != nil {
		return err
	}
	if *all && len(path) > 0 {
		return badUsage(fs, "-all takes no command")
	}
	if *all {
		first := true
		root().walk("", func(path string, c command) {
			if err == nil && !first {
				_, err = fmt.Fprintf(s.out, "\n%s\n\n", strings.Repeat("=", lineWidth))
			}
			if err == nil {
				err = c.help(ctx, path, s)
			}
			first = false
		})
		return err
	}
	c := root()
	for i, name := range path {
		sub, ok := c.sub(name)
		if !ok {
			return badUsage(fs, "there is no command %q", strings.Join(path[:i+1], " "))
		}
		c = sub
	}
	return c.help(ctx, strings.Join(path, " "), s)
}

// help writes the manual page of the command to standard output.
func (c command) help(ctx context.Context, path string, s streams) error {
	if err := c.dispatch(ctx, path, []string{"-h"}, s); err != flag.ErrHelp {
		return err
	}
	return nil
}

// exits are the exit statuses of a command, in order.
func (m manual) exits() []entry {
	list := slices.Clone(m.exit)
	for _, usual := range []entry{
		{"0", "It did what it was asked for."},
		{"1", "It failed; standard error says why."},
		{"2", "It was called wrongly."},
	} {
		if !slices.ContainsFunc(list, func(e entry) bool { return e.name == usual.name }) {
			list = append(list, usual)
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		if len(a.name) != len(b.name) {
			return len(a.name) - len(b.name) // 3 before 130
		}
		return strings.Compare(a.name, b.name)
	})
	return list
}
