package grammar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/grammar"
)

// TestRandomSchemas makes schemas at random and checks both directions: what a
// grammar lets through is JSON and an instance of its schema, and instances
// made from the schema match.
func TestRandomSchemas(t *testing.T) {
	const schemas = 200
	refused := 0
	for seed := range int64(schemas) {
		m := &maker{rng: rand.New(rand.NewSource(seed))}
		text := m.schema(3)
		g, err := grammar.FromJSONSchema([]byte(text))
		if err != nil {
			// Two strings beside each other can be hard to tell apart, but
			// that must be rare.
			t.Logf("%v: %s", err, text)
			refused++
			continue
		}
		schema := parseJSON(t, text)
		for range 10 {
			s := g.Sample(m.rng, 30+m.rng.Intn(300))
			if !g.Match(s) {
				t.Fatalf("schema %s\nlets %s through, which does not match", text, s)
			}
			if !json.Valid([]byte(s)) {
				t.Fatalf("schema %s\nlets %q through, which is not JSON", text, s)
			}
			var v any
			if err := json.Unmarshal([]byte(s), &v); err != nil {
				t.Fatalf("schema %s\nlets %s through: %v", text, s, err)
			}
			if !valid(schema, schema, parseJSON(t, s)) {
				t.Fatalf("schema %s\nlets %s through, which is no instance", text, s)
			}
			checkCut(t, g, s)
		}
		for range 10 {
			s := m.instance(schema)
			if !valid(schema, schema, parseJSON(t, s)) {
				t.Fatalf("schema %s\nis made into %s, which is no instance", text, s)
			}
			if !g.Match(s) {
				t.Fatalf("schema %s\ndoes not match its instance %s", text, s)
			}
		}
	}
	if refused > schemas/20 {
		t.Errorf("%d of %d schemas are refused", refused, schemas)
	}
}

// checkCut checks that s can come byte by byte, and that no character of it
// leaves more than one way to go on.
func checkCut(t *testing.T, g *grammar.Grammar, s string) {
	t.Helper()
	st, ok := g.Start(), true
	for i := range len(s) {
		if st, ok = st.Next(s[i : i+1]); !ok {
			t.Fatalf("%q is refused at byte %d", s, i)
		}
	}
	if !st.Done() {
		t.Fatalf("%q is no end byte by byte", s)
	}
	if n := g.Survivors(s); n > 1 {
		t.Fatalf("%q can be understood in %d ways at once", s, n)
	}
}

// maker makes schemas, and instances of them as FromJSONSchema spells them.
type maker struct{ rng *rand.Rand }

func (m *maker) pick(of ...string) string { return of[m.rng.Intn(len(of))] }

func (m *maker) schema(depth int) string {
	if depth == 0 {
		return m.leaf()
	}
	switch m.rng.Intn(5) {
	case 0:
		return m.leaf()
	case 1:
		return fmt.Sprintf(`{"anyOf":[%s,%s]}`, m.schema(depth-1), m.schema(depth-1))
	case 2:
		least := m.rng.Intn(3)
		return fmt.Sprintf(`{"type":"array","prefixItems":[%s],"items":%s,"minItems":%d,"maxItems":%d}`,
			m.schema(depth-1), m.schema(depth-1), least, least+m.rng.Intn(4))
	case 3:
		return fmt.Sprintf(`{"type":"array","items":%s}`, m.schema(depth-1))
	}
	var props, required []string
	for i := range m.rng.Intn(5) {
		name := m.pick("a", "ab", "b\\\"", "é", "name") + strings.Repeat("x", i)
		props = append(props, fmt.Sprintf(`"%s":%s`, name, m.schema(depth-1)))
		if m.rng.Intn(2) == 0 {
			required = append(required, `"`+name+`"`)
		}
	}
	extra := ""
	if m.rng.Intn(3) == 0 {
		extra = `,"additionalProperties":` + m.leaf()
	}
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":[%s]%s}`, strings.Join(props, ","), strings.Join(required, ","), extra)
}

func (m *maker) leaf() string {
	lo := m.rng.Intn(2000) - 1000
	switch m.rng.Intn(9) {
	case 0:
		return fmt.Sprintf(`{"type":"integer","minimum":%d,"maximum":%d}`, lo, lo+m.rng.Intn(3000))
	case 1:
		return fmt.Sprintf(`{"type":"number","minimum":%d,"maximum":%d}`, lo, lo+m.rng.Intn(3000))
	case 2:
		return fmt.Sprintf(`{"type":"string","minLength":%d,"maxLength":%d}`, m.rng.Intn(4), 4+m.rng.Intn(10))
	case 3:
		return fmt.Sprintf(`{"type":["%s","%s"]}`, m.pick("null", "string"), m.pick("integer", "boolean", "number"))
	case 4:
		return m.pick(`{"enum":["a","ab",1,null]}`, `{"const":{"x":[1]}}`, `{"enum":[true,12,"12"]}`)
	case 5:
		return m.pick(`{"type":"string","format":"date"}`, `{"type":"string","format":"uuid"}`, `{"type":"string","format":"date-time"}`)
	case 6:
		return m.pick(`{"type":"string","pattern":"^[a-z]+(-[0-9]{2})?$"}`, `{"type":"string","pattern":"x.y|^\\d"}`)
	}
	return m.pick(`{"type":"boolean"}`, `{"type":"null"}`, `{"type":"string"}`, `{"type":"integer"}`)
}

// instance returns an instance of a schema that the maker made.
func (m *maker) instance(schema any) string {
	s := schema.(map[string]any)
	if any, ok := s["anyOf"].([]any); ok {
		return m.instance(any[m.rng.Intn(len(any))])
	}
	if enum, ok := s["enum"].([]any); ok {
		return encode(enum[m.rng.Intn(len(enum))])
	}
	if v, ok := s["const"]; ok {
		return encode(v)
	}
	name, ok := s["type"].(string)
	if !ok {
		types := s["type"].([]any)
		name = types[m.rng.Intn(len(types))].(string)
	}
	number := func(keyword string, otherwise int64) int64 {
		n, ok := s[keyword].(json.Number)
		if !ok {
			return otherwise
		}
		v, _ := n.Int64()
		return v
	}
	switch name {
	case "null":
		return "null"
	case "boolean":
		return m.pick("true", "false")
	case "integer", "number":
		lo, hi := number("minimum", -1e6), number("maximum", 1e6)
		return fmt.Sprint(lo + m.rng.Int63n(hi-lo+1))
	case "string":
		return m.text(s, int(number("minLength", 0)), int(number("maxLength", 5)))
	case "array":
		return m.array(s, int(number("minItems", 0)), int(number("maxItems", 3)))
	}
	return m.object(s)
}

func (m *maker) text(s map[string]any, least, most int) string {
	switch s["format"] {
	case "date":
		return m.pick(`"2024-02-29"`, `"1999-12-31"`)
	case "uuid":
		return `"00000000-0000-4000-8000-00000000000f"`
	case "date-time":
		return m.pick(`"2024-02-29T00:00:00Z"`, `"1999-12-31T23:59:59.5+01:00"`)
	}
	switch s["pattern"] {
	case nil:
	case "x.y|^\\d":
		return m.pick(`"ax yb"`, `"1"`, `"x\"y"`)
	default:
		return m.pick(`"abc"`, `"z-09"`)
	}
	var b strings.Builder
	for range least + m.rng.Intn(most-least+1) {
		b.WriteString(m.pick("a", " ", "é", "😀", `\"`, `\\`, `\n`, `\u00e9`, "{"))
	}
	return `"` + b.String() + `"`
}

func (m *maker) array(s map[string]any, least, most int) string {
	prefix, _ := s["prefixItems"].([]any)
	var out []string
	for i := range least + m.rng.Intn(most-least+1) {
		item := s["items"]
		if i < len(prefix) {
			item = prefix[i]
		}
		out = append(out, m.instance(item))
	}
	return "[" + strings.Join(out, m.pick(",", ", ")) + "]"
}

func (m *maker) object(s map[string]any) string {
	props := s["properties"].(map[string]any)
	required := map[any]bool{}
	for _, n := range s["required"].([]any) {
		required[n] = true
	}
	// The maker's names are longer the later they come.
	names := make([]string, 0, len(props))
	for n := range props {
		names = append(names, n)
	}
	var out []string
	for _, n := range inOrder(names) {
		if required[n] || m.rng.Intn(2) == 0 {
			out = append(out, encode(n)+":"+m.pick("", " ")+m.instance(props[n]))
		}
	}
	if extra, ok := s["additionalProperties"]; ok {
		out = append(out, `"other":`+m.instance(extra))
	}
	return "{" + strings.Join(out, m.pick(",", ", ")) + "}"
}

// inOrder sorts names by the number of x that the maker put at their ends.
func inOrder(names []string) []string {
	out := make([]string, 8)
	for _, n := range names {
		out[len(n)-len(strings.TrimRight(n, "x"))] = n
	}
	var short []string
	for _, n := range out {
		if n != "" {
			short = append(short, n)
		}
	}
	return short
}

func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}
