package grammar

import (
	"strings"
	"unicode/utf8"
)

// parser reads GBNF. Its methods panic with a *SyntaxError, which Parse
// recovers: the grammar's nesting is bounded, so that neither can run away.
type parser struct {
	text     string
	pos      int
	depth    int
	rules    []rule
	index    map[string]int
	maxRules int
}

// Parse reads a grammar in GBNF, whose rule "root" says what an answer looks
// like, and checks it. The error is a *SyntaxError.
func Parse(gbnf string) (*Grammar, error) {
	if len(gbnf) > MaxBytes {
		return nil, &SyntaxError{Reason: "longer than 64 KiB"}
	}
	return parse(gbnf, MaxRules)
}

func parse(gbnf string, maxRules int) (g *Grammar, err error) {
	p := &parser{text: gbnf, index: map[string]int{}, maxRules: maxRules}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SyntaxError:
			g, err = nil, e
		default:
			panic(e)
		}
	}()
	if !utf8.ValidString(gbnf) || strings.IndexByte(gbnf, 0) >= 0 {
		p.fail("not UTF-8, or holds a NUL")
	}
	p.grammar()
	root, ok := p.index["root"]
	if !ok || !p.rules[root].defined {
		return nil, &SyntaxError{Reason: "no rule named root"}
	}
	return build(p.rules, root)
}

func (p *parser) fail(reason string) { panic(p.errorAt(p.pos, reason)) }

func (p *parser) errorAt(pos int, reason string) *SyntaxError {
	line, col := p.place(pos)
	return &SyntaxError{Line: line, Column: col, Reason: reason}
}

func (p *parser) place(pos int) (line, col int) {
	before := p.text[:pos]
	return strings.Count(before, "\n") + 1, pos - strings.LastIndexByte(before, '\n')
}

// peek returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) accept(s string) bool {
	if strings.HasPrefix(p.text[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

// space skips blanks and comments, and line ends where they mean nothing.
func (p *parser) space(newlines bool) {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == ' ' || c == '\t' || newlines && (c == '\n' || c == '\r'):
			p.pos++
		case c == '#':
			for p.pos < len(p.text) && p.text[p.pos] != '\n' && p.text[p.pos] != '\r' {
				p.pos++
			}
		default:
			return
		}
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

// name reads a rule's name and returns the rule's index.
func (p *parser) name() int {
	start := p.pos
	for isWord(p.peek()) {
		p.pos++
	}
	if p.pos == start {
		p.fail("a rule's name is missing")
	}
	name := p.text[start:p.pos]
	i, ok := p.index[name]
	if !ok {
		i = len(p.rules)
		if i == p.maxRules {
			p.fail("too many rules")
		}
		line, col := p.place(start)
		p.rules = append(p.rules, rule{line: line, col: col})
		p.index[name] = i
	}
	return i
}

func (p *parser) grammar() {
	for p.space(true); p.pos < len(p.text); p.space(true) {
		start := p.pos
		i := p.name()
		if p.rules[i].defined {
			panic(p.errorAt(start, "a rule that is defined already"))
		}
		p.rules[i].line, p.rules[i].col = p.place(start)
		p.space(false)
		if !p.accept("::=") {
			p.fail("::= is missing")
		}
		p.space(true)
		p.rules[i].body = p.alternatives(false)
		p.rules[i].defined = true
		if c := p.peek(); p.pos < len(p.text) && c != '\n' && c != '\r' {
			p.fail("neither an element nor the end of the rule")
		}
	}
}

func (p *parser) alternatives(nested bool) node {
	parts := []node{p.sequence(nested)}
	for p.accept("|") {
		p.space(true)
		parts = append(parts, p.sequence(nested))
	}
	return alt(parts...)
}

func (p *parser) sequence(nested bool) node {
	var parts []node
	for {
		part := p.element(nested)
		if part == nil {
			return seq(parts...)
		}
		p.space(nested)
		for {
			least, most, ok := p.quantifier(nested)
			if !ok {
				break
			}
			part = repeat(part, least, most)
			p.space(nested)
		}
		parts = append(parts, part)
	}
}

// element reads what a quantifier can follow, or returns nil where there is
// none.
func (p *parser) element(nested bool) node {
	switch c := p.peek(); {
	case c == '"':
		return p.literal()
	case c == '[':
		return p.class()
	case c == '.':
		p.pos++
		return classNode{anyChar}
	case c == '(':
		p.pos++
		if p.depth++; p.depth > MaxDepth {
			p.fail("parentheses nested too deep")
		}
		p.space(true)
		n := p.alternatives(true)
		if !p.accept(")") {
			p.fail(") is missing")
		}
		p.depth--
		return n
	case c == '<' || c == '!':
		p.fail("tokens cannot be named")
	case isWord(c):
		return refNode(p.name())
	case c == '*' || c == '+' || c == '?' || c == '{':
		p.fail("nothing to repeat")
	}
	return nil
}

func (p *parser) literal() node {
	p.pos++
	var parts []node
	for !p.accept(`"`) {
		start := p.pos
		r := p.char()
		if !anyChar.has(r) {
			panic(p.errorAt(start, "an escape that stands for no character"))
		}
		parts = append(parts, classNode{single(r)})
	}
	return seq(parts...)
}

func (p *parser) class() node {
	start := p.pos
	p.pos++
	negated := p.accept("^")
	var spans []span
	for !p.accept("]") {
		r := span{}
		r.lo = p.char()
		r.hi = r.lo
		if rest := p.text[p.pos:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			p.pos++
			if r.hi = p.char(); r.hi < r.lo {
				p.fail("a range of characters that ends before it begins")
			}
		}
		spans = append(spans, r)
	}
	if len(spans) == 0 {
		panic(p.errorAt(start, "a set of no characters"))
	}
	set := newClass(spans...)
	if negated {
		set = complement(set)
	}
	if len(set) == 0 {
		panic(p.errorAt(start, "a set of no characters"))
	}
	return classNode{set}
}

// char reads one character, or an escape that stands for one.
func (p *parser) char() rune {
	if p.pos == len(p.text) {
		p.fail("the end of a text or a set of characters is missing")
	}
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	if r != '\\' {
		p.pos += n
		return r
	}
	start := p.pos
	p.pos++
	c := p.peek()
	p.pos = min(p.pos+1, len(p.text))
	switch c {
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'n':
		return '\n'
	case '\\', '"', '[', ']':
		return rune(c)
	case 'x':
		return p.hex(start, 2)
	case 'u':
		return p.hex(start, 4)
	case 'U':
		return p.hex(start, 8)
	}
	panic(p.errorAt(start, "an escape that is not known"))
}

func (p *parser) hex(start, digits int) rune {
	v := uint64(0)
	for range digits {
		d := strings.IndexByte("0123456789abcdef", p.peek()|0x20)
		if d < 0 || p.pos == len(p.text) {
			p.fail("a hexadecimal digit is missing")
		}
		v = v<<4 | uint64(d)
		p.pos++
	}
	// NUL and surrogates are no characters of a text, but may well limit a set.
	if v > utf8.MaxRune {
		panic(p.errorAt(start, "an escape that stands for no character"))
	}
	return rune(v)
}

// quantifier reads *, +, ?, {m}, {m,} or {m,n}; most is -1 for no end.
func (p *parser) quantifier(nested bool) (least, most int, ok bool) {
	switch {
	case p.accept("*"):
		return 0, -1, true
	case p.accept("+"):
		return 1, -1, true
	case p.accept("?"):
		return 0, 1, true
	case !p.accept("{"):
		return 0, 0, false
	}
	p.space(nested)
	least = p.number()
	most = least
	p.space(nested)
	if p.accept(",") {
		p.space(nested)
		if most = -1; p.peek() != '}' {
			if most = p.number(); most < least {
				p.fail("a repetition that ends before it begins")
			}
		}
		p.space(nested)
	}
	if !p.accept("}") {
		p.fail("} is missing")
	}
	return least, most, true
}

func (p *parser) number() int {
	start, v := p.pos, 0
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		if v = v*10 + int(c-'0'); v > MaxRepeat {
			p.fail("a repetition above the limit")
		}
		p.pos++
	}
	if p.pos == start {
		p.fail("a number is missing")
	}
	return v
}
