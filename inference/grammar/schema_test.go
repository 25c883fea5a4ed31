package grammar_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/grammar"
)

type schemaCase struct {
	Name      string
	Schema    json.RawMessage
	Good, Bad []string
}

func schemaCases(t testing.TB) []schemaCase {
	t.Helper()
	text, err := os.ReadFile("testdata/schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []schemaCase
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 40 {
		t.Fatalf("%d schemas in testdata: %v", len(cases), err)
	}
	return cases
}

func TestFromJSONSchema(t *testing.T) {
	for _, c := range schemaCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			g, err := grammar.FromJSONSchema(c.Schema)
			if err != nil {
				t.Fatal(err)
			}
			checkMatches(t, g, c.Good, c.Bad)
			checkCanonical(t, g)
			schema := parseJSON(t, string(c.Schema))
			for _, s := range c.Good {
				if !valid(schema, schema, parseJSON(t, s)) {
					t.Errorf("%s is no instance, says the test's validator", s)
				}
			}
		})
	}
}

func TestFromJSONSchemaErrors(t *testing.T) {
	deep := strings.Repeat(`{"items":`, 200) + "true" + strings.Repeat("}", 200)
	for _, c := range []struct{ schema, path, keyword, reason string }{
		{``, "", "", "not JSON"},
		{`{`, "", "", "not JSON"},
		{"\"\xff\"", "", "", "not JSON"},
		{`{"type":"string","type":"null"}`, "", "", "same name"},
		{deep, "", "", "nested too deep"},
		{`1`, "", "", "neither"},
		{`false`, "", "", "allows no value"},
		{`{"type":"any"}`, "", "type", "none of JSON Schema's"},
		{`{"type":[]}`, "", "type", "empty"},
		{`{"type":1}`, "", "type", "not a string"},
		{`{"secret":1}`, "", "", "none of JSON Schema's"},
		{`{"properties":{"a":{},"b":{"items":{"not":{}}}}}`, "/properties/1/items", "not", "not supported"},
		{`{"uniqueItems":true}`, "", "uniqueItems", "not supported"},
		{`{"multipleOf":2}`, "", "multipleOf", "not supported"},
		{`{"patternProperties":{}}`, "", "patternProperties", "not supported"},
		{`{"if":{},"then":{}}`, "", "if", "not supported"},
		{`{"items":{"$id":"x"}}`, "/items", "$id", "not supported"},
		{`{"minLength":1,"minItems":2}`, "", "type", "several types"},
		{`{"minLength":-1}`, "", "minLength", "not a number"},
		{`{"minLength":1.5}`, "", "minLength", "not a number"},
		{`{"maxLength":2000}`, "", "maxLength", "above the limit"},
		{`{"maxItems":1e3}`, "", "maxItems", "not a number"},
		{`{"minLength":3,"maxLength":2}`, "", "", "no string"},
		{`{"minItems":3,"maxItems":2}`, "", "", "no array"},
		{`{"prefixItems":[{}],"items":false,"minItems":2}`, "", "", "no array"},
		{`{"minimum":3,"maximum":2}`, "", "", "no number"},
		{`{"type":"integer","minimum":1e999999999}`, "", "minimum", "digits"},
		{`{"type":"number","minimum":0.5}`, "", "minimum", "whole"},
		{`{"type":"number","exclusiveMinimum":0}`, "", "exclusiveMinimum", "whole"},
		{`{"format":"email"}`, "", "format", "known"},
		{`{"pattern":"a","maxLength":2}`, "", "pattern", "beside"},
		{`{"format":"date","maxLength":2}`, "", "format", "beside"},
		{`{"pattern":"(?=a)"}`, "", "pattern", "groups"},
		{`{"pattern":"(?<n>a)"}`, "", "pattern", "groups"},
		{`{"pattern":"\\1"}`, "", "pattern", "escape"},
		{`{"pattern":"\\bx"}`, "", "pattern", "escape"},
		{`{"pattern":"\\p{L}"}`, "", "pattern", "escape"},
		{`{"pattern":"a^b"}`, "", "pattern", "not supported"},
		{`{"pattern":"(a$)b"}`, "", "pattern", "missing"},
		{`{"pattern":"a**"}`, "", "pattern", "not supported"},
		{`{"pattern":"("}`, "", "pattern", "missing"},
		{`{"pattern":")"}`, "", "pattern", "not supported"},
		{`{"pattern":"["}`, "", "pattern", "too early"},
		{`{"pattern":"[]"}`, "", "pattern", "no characters"},
		{`{"pattern":"[z-a]"}`, "", "pattern", "range"},
		{`{"pattern":"[\\d-x]"}`, "", "pattern", "range"},
		{`{"pattern":"a{3,2}"}`, "", "pattern", "repetition"},
		{`{"pattern":"a{9999}"}`, "", "pattern", "limit"},
		{`{"pattern":"\u0000"}`, "", "pattern", "no characters"},
		{`{"pattern":"` + strings.Repeat("(", 100) + `"}`, "", "pattern", "too deep"},
		{`{"enum":[]}`, "", "enum", "not a list"},
		{`{"enum":["a"],"minLength":1}`, "", "minLength", "beside"},
		{`{"type":"null","const":1}`, "", "", "no value"},
		{`{"const":"\u0000"}`, "", "", "NUL"},
		{`{"const":"\ud800"}`, "", "", "half of a character"},
		{`{"required":"a"}`, "", "required", "not a list"},
		{`{"properties":[]}`, "", "properties", "not an object"},
		{`{"required":["a"],"additionalProperties":false}`, "", "required", "not allow"},
		{`{"properties":{"a":false},"required":["a"]}`, "/properties/0", "", "no value"},
		{`{"anyOf":[]}`, "", "anyOf", "not a list"},
		{`{"anyOf":[{"type":"null"},{"x":1}]}`, "/anyOf/1", "", "none of JSON Schema's"},
		{`{"oneOf":[{"type":"integer"},{"type":"number"}]}`, "", "oneOf", "at once"},
		{`{"oneOf":[{"type":"string"},{"properties":{"a":{}}}]}`, "", "oneOf", "at once"},
		{`{"oneOf":[{"const":1},{"const":1.0}]}`, "", "oneOf", "at once"},
		{`{"oneOf":[{"const":"a"},{"type":"string"}]}`, "", "oneOf", "at once"},
		{`{"oneOf":[{"type":"object","properties":{"k":{"const":"a"}}},{"type":"object","properties":{"k":{"const":"b"}}}]}`, "", "oneOf", "at once"},
		{`{"allOf":[{"type":"string"},{"type":"null"}]}`, "", "allOf", "no type"},
		{`{"allOf":[{"pattern":"a"},{"pattern":"b"}]}`, "", "allOf", "combined"},
		{`{"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]}`, "", "allOf", "combined"},
		{`{"allOf":[{"items":{"type":"null"}},{"prefixItems":[{"type":"null"}]}]}`, "", "allOf", "combined"},
		{`{"$ref":"#/$defs/a"}`, "", "$ref", "to nothing"},
		{`{"$ref":"other.json"}`, "", "$ref", "only references"},
		{`{"$ref":"#anchor"}`, "", "$ref", "only references"},
		{`{"$ref":"#"}`, "", "", "recursion"},
		{`{"$ref":"#","type":"string"}`, "*", "", "without end"},
		{`{"allOf":[{"$ref":"#"}]}`, "*", "", "without end"},
		{`{"properties":{"a":{"$ref":"#"}},"required":["a"]}`, "", "", "recursion"},
		{`{"$defs":{"d":{"type":"object","anyOf":[{"$ref":"#/$defs/d"},{"$ref":"#/$defs/d"}]}},"$ref":"#/$defs/d"}`, "*", "", "without end"},
		{doubling(`{"allOf":[R,R]}`), "*", "", "combinations"},
		{doubling(`{"type":"object","anyOf":[R,R]}`), "*", "", "combinations"},
		{doubling(`{"type":"object","properties":{"a":R,"b":R},"required":["a","b"]}`), "*", "", "combinations"},
		{`{"oneOf":[` + strings.Repeat(`{"type":"null"},`, 4000) + `{}]}`, "", "oneOf", "at once"},
		{strings.Repeat(" ", grammar.MaxBytes) + "1", "", "", "longer"},
	} {
		g, err := grammar.FromJSONSchema([]byte(c.schema))
		var e *grammar.SchemaError
		if g != nil || !errors.Is(err, grammar.ErrInvalid) || !errors.As(err, &e) {
			t.Errorf("%.200s: %.200v, %v", c.schema, g, err)
			continue
		}
		if !strings.Contains(e.Reason, c.reason) || e.Keyword != c.keyword || e.Path != c.path && c.path != "*" {
			t.Errorf("%.200s: %v, want %s/%s: %s", c.schema, err, c.path, c.keyword, c.reason)
		}
	}
}

// doubling returns a schema whose definitions each refer twice to the next,
// where R stands for a reference.
func doubling(definition string) string {
	var b strings.Builder
	b.WriteString(`{"oneOf":[{"$ref":"#/$defs/d0"},{"$ref":"#/$defs/d0"}],"$defs":{`)
	for i := range 40 {
		ref := fmt.Sprintf(`{"$ref":"#/$defs/d%d"}`, i+1)
		fmt.Fprintf(&b, `"d%d":%s,`, i, strings.ReplaceAll(definition, "R", ref))
	}
	b.WriteString(`"d40":{"type":"object"}}}`)
	return b.String()
}
