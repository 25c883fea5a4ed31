package grammar

import (
	"encoding/json"
	"fmt"
	"strings"
)

// What JSON text is made of. A single space may follow a colon and a comma, as
// most models write; none may be anywhere else, for models that may write
// blanks can go on doing so.
var (
	colon = seq(literal(":"), optional(literal(" ")))
	comma = seq(literal(","), optional(literal(" ")))
	quote = literal(`"`)
	digit = classNode{class{{'0', '9'}}}
	hex   = classNode{class{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}

	// plain is the characters that stand for themselves in a string.
	plain = subtract(anyChar, newClass(span{0, 0x1F}, span{'"', '"'}, span{'\\', '\\'}))

	// stringChar is one character of a string. Escapes of half a character,
	// and of NUL, are left out.
	stringChar = alt(classNode{plain}, seq(literal(`\`), alt(
		classNode{chars(`"\/bfnrt`)},
		seq(literal("u"), alt(
			seq(classNode{chars("123456789abcefABCEF")}, repeat(hex, 3, 3)),
			seq(classNode{chars("dD")}, classNode{chars("01234567")}, repeat(hex, 2, 2)),
			seq(literal("0"), classNode{chars("123456789abcdefABCDEF")}, repeat(hex, 2, 2)),
			seq(literal("00"), classNode{chars("123456789abcdefABCDEF")}, hex),
			seq(literal("000"), classNode{chars("123456789abcdefABCDEF")}),
		)),
	)))

	shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
)

// quoted returns s as JSON writes it.
func quoted(s string) node {
	// encoding/json replaces half a surrogate pair by U+FFFD.
	if strings.ContainsAny(s, "\x00\uFFFD") {
		panic(&SchemaError{Reason: "a name or a constant holds a NUL or half of a character"})
	}
	var b strings.Builder
	for _, r := range s {
		b.WriteString(escaped(r))
	}
	return seq(quote, literal(b.String()), quote)
}

// escaped returns a character as it is written in a string.
func escaped(r rune) string {
	if e, ok := shortEscapes[r]; ok {
		return e
	}
	if r < 0x20 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return string(r)
}

// inString returns one character of set as it is written in a string, or nil
// if set is empty.
func inString(set class) node {
	var parts []node
	if direct := intersect(set, plain); len(direct) > 0 {
		parts = append(parts, classNode{direct})
	}
	for _, s := range subtract(set, plain) {
		for r := s.lo; r <= s.hi; r++ {
			parts = append(parts, literal(escaped(r)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return alt(parts...)
}

// value returns v as JSON writes it.
func value(v any) node {
	switch v := v.(type) {
	case nil:
		return literal("null")
	case bool:
		return literal(fmt.Sprint(v))
	case json.Number:
		return literal(v.String())
	case string:
		return quoted(v)
	case []any:
		parts := []node{literal("[")}
		for i, e := range v {
			if i > 0 {
				parts = append(parts, comma)
			}
			parts = append(parts, value(e))
		}
		return seq(append(parts, literal("]"))...)
	case *object:
		parts := []node{literal("{")}
		for i, k := range v.keys {
			if i > 0 {
				parts = append(parts, comma)
			}
			parts = append(parts, quoted(k), colon, value(v.vals[k]))
		}
		return seq(append(parts, literal("}"))...)
	}
	return emptyNode{}
}

// anyValue returns any JSON value.
func (c *schemaCompiler) anyValue() node {
	if c.any != nil {
		return c.any
	}
	r := c.declare()
	c.any = r
	text := c.define(seq(quote, repeat(stringChar, 0, -1), quote))
	pair := seq(text, colon, r)
	c.rules[r].body = alt(
		seq(literal("{"), optional(seq(pair, repeat(seq(comma, pair), 0, -1))), literal("}")),
		seq(literal("["), optional(seq(r, repeat(seq(comma, r), 0, -1))), literal("]")),
		text, anyNumber(), literal("true"), literal("false"), literal("null"),
	)
	return r
}
