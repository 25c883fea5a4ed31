package grammar

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// schemaCompiler turns a schema into rules. Its methods panic with a
// *SchemaError, which FromJSONSchema recovers.
type schemaCompiler struct {
	root  any
	rules []rule
	refs  map[string]int  // rules of schemas that are referred to, by pointer
	seen  map[string]node // schemas without annotations that were met before
	any   node            // any value, once it is used
	depth int
	work  int // what is left of it
}

// FromJSONSchema returns the grammar of the JSON texts that are instances of a
// JSON Schema of 2020-12. The error is a *SchemaError.
func FromJSONSchema(schema []byte) (g *Grammar, err error) {
	c := &schemaCompiler{refs: map[string]int{}, seen: map[string]node{}, work: maxSchemaWork}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SchemaError:
			g, err = nil, e
		default:
			panic(e)
		}
	}()
	if len(schema) > MaxBytes {
		c.fail("", "", "longer than 64 KiB")
	}
	root, err := decode(schema)
	if err != nil {
		c.fail("", "", err.Error())
	}
	c.root = root
	top := c.reference("#", "")
	g, err = build(c.rules, int(top.(refNode)))
	if syntax := (*SyntaxError)(nil); errors.As(err, &syntax) {
		reason := syntax.Reason
		if syntax.Line != 0 {
			reason = "recursion without an end, or without a character that tells the alternatives apart"
		}
		return nil, &SchemaError{Reason: reason}
	}
	return g, err
}

func (c *schemaCompiler) fail(path, keyword, reason string) {
	panic(&SchemaError{Path: path, Keyword: keyword, Reason: reason})
}

// enter bounds the work on a schema, which references and lists of alternatives
// can multiply, and its depth, which they can make endless. The function that
// it returns is called at the end of what it is called at the beginning of.
func (c *schemaCompiler) enter(path string, work int) (leave func()) {
	c.spend(path, work)
	if c.depth++; c.depth > 4*MaxDepth {
		c.fail(path, "", "nested too deep, or refers to itself without end")
	}
	return func() { c.depth-- }
}

func (c *schemaCompiler) spend(path string, work int) {
	if c.work -= 1 + work; c.work < 0 {
		c.fail(path, "", "too many combinations of schemas")
	}
}

// define makes a rule and returns the reference to it.
func (c *schemaCompiler) define(body node) node {
	r := c.declare()
	c.rules[r].body = body
	return r
}

// declare makes a rule whose body follows.
func (c *schemaCompiler) declare() refNode {
	if len(c.rules) == 8*MaxRules {
		c.fail("", "", "too many subschemas")
	}
	c.rules = append(c.rules, rule{body: emptyNode{}, line: 1, col: 1, defined: true})
	return refNode(len(c.rules) - 1)
}

// keywords that say nothing of an instance.
var annotations = []string{"$schema", "$id", "$comment", "$defs", "definitions", "title", "description",
	"default", "examples", "deprecated", "readOnly", "writeOnly"}

// keywords that are known, by the type that they say something of.
var keywordType = map[string]string{
	"properties": "object", "required": "object", "additionalProperties": "object",
	"items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array",
	"minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
	"minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
	"type": "", "enum": "", "const": "", "anyOf": "", "oneOf": "", "allOf": "", "$ref": "",
}

// unsupported are the other keywords of JSON Schema: errors name them.
var unsupported = []string{"$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary",
	"not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies", "contains", "minContains",
	"maxContains", "patternProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "additionalItems",
	"minProperties", "maxProperties", "uniqueItems", "multipleOf", "contentEncoding", "contentMediaType", "contentSchema", "nullable"}

// strip returns o without annotations, having refused unknown keywords.
func (c *schemaCompiler) strip(o *object, path string) *object {
	out := &object{vals: map[string]any{}}
	for _, k := range o.keys {
		if k == "$id" && path != "" {
			c.fail(path, k, "not supported inside a schema")
		}
		if slices.Contains(annotations, k) {
			continue
		}
		if _, ok := keywordType[k]; !ok {
			if slices.Contains(unsupported, k) {
				c.fail(path, k, "not supported")
			}
			c.fail(path, "", "a keyword that is none of JSON Schema's")
		}
		out.set(k, o.vals[k])
	}
	return out
}

// schema returns the node of the schema v at path.
func (c *schemaCompiler) schema(v any, path string) node {
	defer c.enter(path, 0)()
	switch v := v.(type) {
	case bool:
		if v {
			return c.anyValue()
		}
		c.fail(path, "", "allows no value")
	case *object:
		// Alike schemas share a rule. References are from the root, so where
		// they stand does not matter.
		o := c.strip(v, path)
		key := o.String()
		c.spend(path, len(key)/64)
		n, ok := c.seen[key]
		if !ok {
			n = c.define(c.object(o, path))
			c.seen[key] = n
		}
		return n
	}
	c.fail(path, "", "neither an object nor a boolean")
	return nil
}

// object returns the node of a schema without annotations.
func (c *schemaCompiler) object(o *object, path string) node {
	defer c.enter(path, len(o.keys))()
	if len(o.keys) == 0 {
		return c.anyValue()
	}
	if ref, ok := o.vals["$ref"]; ok {
		if len(o.keys) == 1 {
			return c.reference(c.text(ref, path, "$ref"), path)
		}
		return c.object(c.expand(o, path), path)
	}
	if o.has("allOf") {
		return c.object(c.expand(o, path), path)
	}
	for _, k := range []string{"anyOf", "oneOf"} {
		if o.has(k) {
			return c.choice(o, k, path)
		}
	}
	if o.has("enum") || o.has("const") {
		return c.enum(o, path)
	}
	var parts []node
	for _, t := range c.types(o, path) {
		parts = append(parts, c.ofType(t, o, path))
	}
	return alt(parts...)
}

func (c *schemaCompiler) ofType(t string, o *object, path string) node {
	switch t {
	case "object":
		return c.objectType(o, path)
	case "array":
		return c.arrayType(o, path)
	case "string":
		return c.stringType(o, path)
	case "integer":
		return c.integerType(o, path)
	case "number":
		return c.numberType(o, path)
	case "boolean":
		return alt(literal("true"), literal("false"))
	}
	return literal("null")
}

var typeNames = []string{"object", "array", "string", "number", "integer", "boolean", "null"}

// types returns the types that o allows. Where it names none but has keywords
// of one type only, that type is meant.
func (c *schemaCompiler) types(o *object, path string) []string {
	v, ok := o.vals["type"]
	if !ok {
		t := keywordType[o.keys[0]]
		for _, k := range o.keys {
			if keywordType[k] != t {
				c.fail(path, "type", "missing, and the keywords are of several types")
			}
		}
		return []string{t}
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, t := range list {
		name := c.text(t, path, "type")
		if !slices.Contains(typeNames, name) {
			c.fail(path, "type", "a type that is none of JSON Schema's")
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		c.fail(path, "type", "empty")
	}
	// Every integer is a number.
	if slices.Contains(out, "number") {
		out = slices.DeleteFunc(out, func(t string) bool { return t == "integer" })
	}
	return out
}

// reference returns the reference to the rule of the schema that ref points
// to, which may be under way.
func (c *schemaCompiler) reference(ref, path string) node {
	if r, ok := c.refs[ref]; ok {
		return refNode(r)
	}
	v, at := c.resolve(ref, path)
	r := c.declare()
	c.refs[ref] = int(r)
	c.rules[r].body = c.schema(v, at)
	return r
}

// resolve finds what a local reference points to, and the path of it.
func (c *schemaCompiler) resolve(ref, from string) (any, string) {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok || rest != "" && rest[0] != '/' || strings.Contains(rest, "%") {
		c.fail(from, "$ref", "only references such as #/$defs/name are supported")
	}
	v, at := c.root, ""
	if rest == "" {
		return v, at
	}
	for _, part := range strings.Split(rest[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch x := v.(type) {
		case *object:
			i := slices.Index(x.keys, part)
			if i < 0 {
				c.fail(from, "$ref", "refers to nothing")
			}
			v = x.vals[part]
			if _, known := keywordType[part]; !known && part != "$defs" && part != "definitions" {
				part = strconv.Itoa(i)
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(x) {
				c.fail(from, "$ref", "refers to nothing")
			}
			v = x[i]
		default:
			c.fail(from, "$ref", "refers to nothing")
		}
		at += "/" + part
	}
	return v, at
}

func (c *schemaCompiler) text(v any, path, keyword string) string {
	s, ok := v.(string)
	if !ok {
		c.fail(path, keyword, "not a string")
	}
	return s
}

// count reads a keyword such as minItems; missing is -1.
func (c *schemaCompiler) count(o *object, path, keyword string) int {
	v, ok := o.vals[keyword]
	if !ok {
		return -1
	}
	n, ok := c.integer(v)
	if !ok || n < 0 {
		c.fail(path, keyword, "not a number of things")
	}
	if n > MaxRepeat {
		c.fail(path, keyword, "above the limit of "+strconv.Itoa(MaxRepeat))
	}
	return int(n)
}
