package main

import (
	"strings"
	"unicode/utf8"
)

// lineWidth is how many columns help takes.
const lineWidth = 80

// text builds a page of lines that are not longer than lineWidth, except where
// a word is.
type text struct{ strings.Builder }

// section begins a section.
func (t *text) section(title string) {
	if t.Len() > 0 {
		t.WriteByte('\n')
	}
	t.line(0, title)
}

// line writes one line as it is.
func (t *text) line(indent int, s string) {
	if s != "" {
		t.WriteString(strings.Repeat(" ", indent))
	}
	t.WriteString(s)
	t.WriteByte('\n')
}

// prose writes paragraphs, which blank lines separate, in new lines. Lines that
// begin with a space, such as lists, stay as they are.
func (t *text) prose(indent int, s string) {
	var words []string
	flush := func() {
		if len(words) > 0 {
			t.hanging(indent, indent, words)
			words = nil
		}
	}
	for l := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		switch {
		case strings.TrimSpace(l) == "":
			flush()
			t.line(0, "")
		case l[0] == ' ' || l[0] == '\t':
			flush()
			t.line(indent, strings.ReplaceAll(strings.TrimRight(l, " \t"), "\t", "    "))
		default:
			words = append(words, strings.Fields(l)...)
		}
	}
	flush()
}

// hanging writes words in lines, of which all but the first are indented by
// rest.
func (t *text) hanging(first, rest int, words []string) {
	l, indent := "", first
	for _, w := range words {
		if l != "" && indent+utf8.RuneCountInString(l)+1+utf8.RuneCountInString(w) > lineWidth {
			t.line(indent, l)
			l, indent = "", rest
		}
		if l != "" {
			l += " "
		}
		l += w
	}
	t.line(indent, l)
}

// entries writes names and what they mean, side by side where the names are
// short; none says what to write if there are none.
func (t *text) entries(list []entry, none string) {
	if len(list) == 0 {
		t.prose(4, none)
		return
	}
	width := 0
	for _, e := range list {
		width = max(width, utf8.RuneCountInString(e.name))
	}
	for _, e := range list {
		if width > 16 {
			t.line(4, e.name)
			t.prose(8, e.text)
			continue
		}
		// The words of the text follow the name, which is padded to a column.
		padded := e.name + strings.Repeat(" ", width-utf8.RuneCountInString(e.name)+1)
		t.hanging(4, 4+width+2, append([]string{padded}, strings.Fields(e.text)...))
	}
}
