package grammar

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns g's canonical text: GBNF without groups, repetitions and
// left recursion, which libllama reads without recursing and follows with one
// possibility per character. Parse reads it as an equal grammar.
func (g *Grammar) String() string { return g.text }

// formatter writes a grammar, a rule for each state that needs one.
type formatter struct {
	g     *Grammar
	out   strings.Builder
	lone  []bool // states that are led to once: they need no rule
	names []int  // the number of each state's rule, or 0
	heads []int  // the states with rules
}

func (g *Grammar) format() string {
	f := &formatter{g: g, names: make([]int, len(g.states))}
	f.findLone()
	f.names[0], f.heads = 1, []int{0}
	for i := 0; i < len(f.heads); i++ {
		f.rule(f.heads[i])
	}
	return f.out.String()
}

// findLone finds the states that only one edge leads to and only one leaves:
// they are written where they are led to.
func (f *formatter) findLone() {
	led := make([]int, len(f.g.states))
	led[0] = 2
	for _, s := range f.g.states {
		for _, e := range s.edges {
			led[e.to]++
			if e.call != noCall {
				led[e.call] = 2
			}
		}
	}
	f.lone = make([]bool, len(led))
	for i, s := range f.g.states {
		f.lone[i] = led[i] == 1 && !s.accept && len(s.edges) == 1
	}
}

// name returns the name of a state's rule.
func (f *formatter) name(s int) string {
	if s == 0 {
		return "root"
	}
	if f.names[s] == 0 {
		f.heads = append(f.heads, s)
		f.names[s] = len(f.heads)
	}
	return "r" + strconv.Itoa(f.names[s])
}

func (f *formatter) rule(head int) {
	f.out.WriteString(f.name(head) + " ::=")
	s := f.g.states[head]
	for i, e := range s.edges {
		if i > 0 {
			f.out.WriteString(" |")
		}
		f.alternative(e)
	}
	if s.accept {
		if len(s.edges) > 0 {
			f.out.WriteString(" |")
		}
		f.out.WriteString(` ""`)
	}
	f.out.WriteString("\n")
}

// alternative writes an edge and all that comes after it without a choice.
func (f *formatter) alternative(e edge) {
	text := ""
	flush := func() {
		if text != "" {
			f.out.WriteString(` "` + text + `"`)
			text = ""
		}
	}
	for {
		if f.out.Len() > MaxText {
			panic(tooComplex{"too long once it is made deterministic"})
		}
		switch {
		case e.call != noCall:
			flush()
			f.out.WriteString(" " + f.name(e.call))
		case len(e.set) == 1 && e.set[0].lo == e.set[0].hi:
			text += escape(e.set[0].lo)
		default:
			flush()
			f.out.WriteString(" " + e.set.String())
		}
		to := f.g.states[e.to]
		if !f.lone[e.to] {
			flush()
			if len(to.edges) > 0 {
				f.out.WriteString(" " + f.name(int(e.to)))
			}
			return
		}
		e = to.edges[0]
	}
}

// String returns c as GBNF writes it.
func (c class) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for _, s := range c {
		b.WriteString(escape(s.lo))
		if s.hi > s.lo {
			b.WriteString("-" + escape(s.hi))
		}
	}
	b.WriteByte(']')
	return b.String()
}

// escape writes a character so that it means itself anywhere: all that can
// mean something else, and all that is not ASCII, is written as its number.
func escape(r rune) string {
	switch {
	case r >= 0x10000:
		return fmt.Sprintf(`\U%08X`, r)
	case r >= 0x7F:
		return fmt.Sprintf(`\u%04X`, r)
	case r < ' ' || strings.ContainsRune(`"\[]^-`, r):
		return fmt.Sprintf(`\x%02X`, r)
	}
	return string(r)
}

// choices returns the most ranges of characters to choose from at any place.
func (g *Grammar) choices() int {
	most := 0
	for _, s := range g.states {
		n := 0
		for _, e := range s.edges {
			n += len(e.set)
		}
		most = max(most, n)
	}
	return most
}
