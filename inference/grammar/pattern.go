package grammar

import (
	"strings"
	"unicode/utf8"
)

// pattern reads the regular part of ECMAScript's regular expressions and
// returns what they match as it is written in a JSON string. Its methods panic
// with a patternError.
type pattern struct {
	text  string
	pos   int
	depth int
}

type patternError string

// compilePattern returns the strings that a pattern is found in, without the
// quotes, or what is wrong with it.
func compilePattern(text string) (n node, reason string) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case patternError:
			n, reason = nil, string(e)
		default:
			panic(e)
		}
	}()
	p := &pattern{text: text}
	anything := repeat(stringOf(anyChar), 0, -1)
	var parts []node
	for {
		// ^ and $ hold for the whole string only at the ends of an
		// alternative; elsewhere they are refused.
		before, after := anything, anything
		if p.accept("^") {
			before = emptyNode{}
		}
		body := p.sequence()
		if p.accept("$") {
			after = emptyNode{}
		}
		parts = append(parts, seq(before, body, after))
		if !p.accept("|") {
			break
		}
	}
	if p.pos < len(text) {
		p.fail("a part of it is not supported, or is not a regular expression")
	}
	return alt(parts...), ""
}

// stringOf is one character of a set as a JSON string writes it. Patterns know
// strings in one spelling only, so that no escape is taken for its text.
func stringOf(set class) node {
	n := inString(set)
	if n == nil {
		panic(patternError("a set of no characters"))
	}
	return n
}

func (p *pattern) fail(reason string) { panic(patternError(reason)) }

func (p *pattern) accept(s string) bool {
	if strings.HasPrefix(p.text[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *pattern) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// rune reads one character as it is.
func (p *pattern) rune() rune {
	if p.pos == len(p.text) {
		p.fail("it ends too early")
	}
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	p.pos += n
	return r
}

func (p *pattern) alternatives() node {
	parts := []node{p.sequence()}
	for p.accept("|") {
		parts = append(parts, p.sequence())
	}
	return alt(parts...)
}

func (p *pattern) sequence() node {
	var parts []node
	for {
		part := p.atom()
		if part == nil {
			return seq(parts...)
		}
		if least, most, ok := p.quantifier(); ok {
			part = repeat(part, least, most)
			p.accept("?") // matching as little as can be finds the same strings
		}
		parts = append(parts, part)
	}
}

// atom reads what a quantifier can follow, or returns nil.
func (p *pattern) atom() node {
	switch c := p.peek(); {
	case p.pos == len(p.text), c == '|', c == ')', c == '$':
		return nil
	case c == '(':
		return p.group()
	case c == '[':
		return stringOf(p.class())
	case c == '.':
		p.pos++
		return stringOf(complement(lineEnds))
	case c == '\\':
		p.pos++
		return stringOf(p.escape())
	case strings.IndexByte("^*+?{}]", c) >= 0:
		return nil
	}
	return stringOf(single(p.rune()))
}

func (p *pattern) group() node {
	p.pos++
	if !p.accept("?:") && p.peek() == '?' {
		p.fail("only plain groups and (?: ) are supported")
	}
	if p.depth++; p.depth > MaxDepth {
		p.fail("groups nested too deep")
	}
	n := p.alternatives()
	if !p.accept(")") {
		p.fail(") is missing, or a part of a group is not supported")
	}
	p.depth--
	return n
}

var (
	lineEnds = chars("\n\r\u2028\u2029")
	decimal  = chars("0123456789")
	word     = newClass(span{'0', '9'}, span{'A', 'Z'}, span{'a', 'z'}, span{'_', '_'})
	blank    = newClass(span{'\t', '\r'}, span{' ', ' '}, span{0xA0, 0xA0}, span{0x1680, 0x1680}, span{0x2000, 0x200A},
		span{0x2028, 0x2029}, span{0x202F, 0x202F}, span{0x205F, 0x205F}, span{0x3000, 0x3000}, span{0xFEFF, 0xFEFF})
)

// escape reads what follows a backslash.
func (p *pattern) escape() class {
	switch c := p.rune(); c {
	case 'd':
		return decimal
	case 'D':
		return complement(decimal)
	case 'w':
		return word
	case 'W':
		return complement(word)
	case 's':
		return blank
	case 'S':
		return complement(blank)
	case 't':
		return single('\t')
	case 'n':
		return single('\n')
	case 'r':
		return single('\r')
	case 'f':
		return single('\f')
	case 'v':
		return single('\v')
	case 'x':
		return single(p.hex(2))
	case 'u':
		return single(p.hex(4))
	default:
		if c >= utf8.RuneSelf || isWord(byte(c)) && c != '-' || c == '_' {
			p.fail("an escape that is not supported")
		}
		return single(c)
	}
}

func (p *pattern) hex(digits int) rune {
	v := rune(0)
	for range digits {
		d := strings.IndexByte("0123456789abcdef", p.peek()|0x20)
		if d < 0 {
			p.fail("a hexadecimal digit is missing")
		}
		v = v<<4 | rune(d)
		p.pos++
	}
	if !anyChar.has(v) {
		p.fail("an escape that stands for no character")
	}
	return v
}

// class reads a set of characters in brackets.
func (p *pattern) class() class {
	p.pos++
	negated := p.accept("^")
	var set class
	for !p.accept("]") {
		lo := p.member()
		if !strings.HasPrefix(p.text[p.pos:], "-") || strings.HasPrefix(p.text[p.pos:], "-]") {
			set = union(set, lo)
			continue
		}
		p.pos++
		hi := p.member()
		if !isSingle(lo) || !isSingle(hi) || lo[0].lo > hi[0].lo {
			p.fail("a range of characters that is none")
		}
		set = union(set, newClass(span{lo[0].lo, hi[0].lo}))
	}
	if negated {
		set = complement(set)
	}
	return set
}

func isSingle(c class) bool { return len(c) == 1 && c[0].lo == c[0].hi }

// member reads one character of a set, or an escape that stands for a set.
func (p *pattern) member() class {
	if p.accept(`\`) {
		return p.escape()
	}
	r := p.rune()
	if !anyChar.has(r) {
		p.fail("a character that no text holds")
	}
	return single(r)
}

// quantifier reads *, +, ?, {m}, {m,} or {m,n}; most is -1 for no end.
func (p *pattern) quantifier() (least, most int, ok bool) {
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
	least = p.number()
	most = least
	if p.accept(",") {
		if most = -1; p.peek() != '}' {
			most = p.number()
		}
	}
	if !p.accept("}") || most >= 0 && most < least {
		p.fail("a repetition that is none")
	}
	return least, most, true
}

func (p *pattern) number() int {
	start, v := p.pos, 0
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		if v = v*10 + int(c-'0'); v > MaxRepeat {
			p.fail("a repetition above the limit")
		}
		p.pos++
	}
	if p.pos == start {
		p.fail("a repetition that is none")
	}
	return v
}
