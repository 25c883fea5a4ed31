package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

const completionAbout = `
Writes a script by which a shell completes commands, flags, files and folders of
chatbot. It is made from the same tables as these pages. It runs no chatbot
while you type, and sends nothing anywhere.
`

var completions = map[string]func([]completion) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

func runCompletion(_ context.Context, args []string, s streams) error {
	fs := newFlags("completion", completionAbout, s)
	shell, err := parseOperands(fs, args, s, 1, 1)
	if err != nil {
		return err
	}
	script, ok := completions[shell[0]]
	if !ok {
		return badUsage(fs, "there is nothing for the shell %q: %s", shell[0], manuals["completion"].operands)
	}
	_, err = io.WriteString(s.out, script(completionsOf(root())))
	return err
}

// Kinds of what may come next.
const (
	anything  = "" // that cannot be completed
	fileName  = "file"
	folder    = "folder"
	oneOfKind = "words"
)

// completion is what can follow the name of a command.
type completion struct {
	path     string // "" is the program, "model fetch" a command
	words    []entry
	flags    []flagCompletion
	operands string // fileName or anything
}

// flagCompletion is a flag and what its value is.
type flagCompletion struct {
	name, about string
	value       bool // it takes one
	kind        string
	words       []string // for oneOfKind
}

// completionsOf gathers them for the command and all below it.
func completionsOf(c command) []completion {
	var list []completion
	c.walk("", func(path string, c command) {
		m := manuals[path]
		next := completion{path: path, words: summaries(path, c.subs)}
		switch {
		case strings.Contains(m.operands, "FILE"):
			next.operands = fileName
		case path == "help":
			next.words = summaries("", root().subs)
		default:
			for _, w := range alternatives(m.operands) {
				next.words = append(next.words, entry{name: w})
			}
		}
		if fs := c.flagSet(); fs != nil {
			fs.VisitAll(func(f *flag.Flag) { next.flags = append(next.flags, completionOf(f)) })
		}
		next.flags = append(next.flags, flagCompletion{name: "h", about: "show the manual page"})
		list = append(list, next)
	})
	return list
}

// completionOf reads off the placeholder of a flag what its value is.
func completionOf(f *flag.Flag) flagCompletion {
	name, about := placeholder(f)
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	c := flagCompletion{name: f.Name, about: about, value: !ok || !b.IsBoolFlag()}
	switch name = strings.TrimPrefix(name, "[NAME=]"); {
	case name == "FILE", strings.HasPrefix(name, "FILE|"):
		c.kind = fileName
	case name == "FOLDER":
		c.kind = folder
	case len(alternatives(name)) > 0:
		c.kind, c.words = oneOfKind, alternatives(name)
	}
	return c
}

// alternatives are the words of bash|zsh|fish; words in capitals, as in
// FILE|ADDR, stand for others.
func alternatives(s string) []string {
	if !strings.Contains(s, "|") || s == strings.ToUpper(s) {
		return nil
	}
	return strings.Split(s, "|")
}

// of returns the names of flags that take values of a kind, each with a dash.
func (c completion) of(kind string) []string {
	var names []string
	for _, f := range c.flags {
		if f.value && f.kind == kind {
			names = append(names, "-"+f.name)
		}
	}
	return names
}

// firstWords is text in one line, short enough to stand beside a flag.
func firstWords(s string) string {
	first, _, _ := strings.Cut(oneLine(s), ";")
	first, _, _ = strings.Cut(first, " (")
	if runes := []rune(first); len(runes) > 60 {
		first = strings.TrimSpace(string(runes[:60])) + "…"
	}
	return first
}

// groups are the names of commands that have commands, the program aside.
func groups(list []completion) []string {
	var names []string
	for _, c := range list {
		if c.path != "" && slices.ContainsFunc(list, func(d completion) bool { return strings.HasPrefix(d.path, c.path+" ") }) {
			names = append(names, c.path)
		}
	}
	return names
}

// quoted is s as a word of a shell, for bash and zsh.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// names lists the names of entries.
func names(list []entry) string {
	var all []string
	for _, e := range list {
		all = append(all, e.name)
	}
	return strings.Join(all, " ")
}

// dashed lists all flags.
func (c completion) dashed() string {
	var all []string
	for _, f := range c.flags {
		all = append(all, "-"+f.name)
	}
	return strings.Join(all, " ")
}

// cases writes a branch of a case statement for what is not empty.
func cases(b *strings.Builder, path string, patterns []string, action string) {
	if len(patterns) == 0 {
		return
	}
	var all []string
	for _, p := range patterns {
		all = append(all, quoted(strings.TrimSpace(path+" "+p)))
	}
	fmt.Fprintf(b, "        %s) %s ;;\n", strings.Join(all, "|"), action)
}
