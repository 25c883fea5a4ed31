package grammar

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// choice returns the node of anyOf or oneOf: any of the branches, each
// together with what stands beside them.
func (c *schemaCompiler) choice(o *object, keyword, path string) node {
	rest := o.without(keyword)
	var branches []*object
	var parts []node
	for i, v := range c.list(o.vals[keyword], path, keyword) {
		at := path + "/" + keyword + "/" + strconv.Itoa(i)
		if len(rest.keys) == 0 {
			parts = append(parts, c.schema(v, at))
			if keyword == "oneOf" {
				branches = append(branches, c.inner(v, at))
			}
			continue
		}
		branch := c.merge(rest, c.inner(v, at), path, keyword)
		branches = append(branches, branch)
		parts = append(parts, c.define(c.object(branch, at)))
	}
	if keyword == "oneOf" {
		for i, a := range branches {
			for _, b := range branches[:i] {
				if !c.disjoint(a, b, path) {
					c.fail(path, keyword, "branches that one value may match at once; use anyOf if that is fine")
				}
			}
		}
	}
	return alt(parts...)
}

// disjoint says whether no value can match both a and b, as far as is easily
// seen: by their types, their constants, or those of a required property.
func (c *schemaCompiler) disjoint(a, b *object, path string) bool {
	defer c.enter(path, len(c.properties(a, path).keys))()
	if len(a.keys) == 0 || len(b.keys) == 0 {
		return false
	}
	x, y := c.constants(a, path), c.constants(b, path)
	if x != nil && y != nil {
		c.spend(path, len(x)*len(y))
		for _, v := range x {
			for _, w := range y {
				if !surelyDifferent(v, w) {
					return false
				}
			}
		}
		return true
	}
	if a.has("type") && b.has("type") && len(c.commonTypes(a, b, path)) == 0 {
		return true
	}
	if len(c.commonTypes(c.typed(a), c.typed(b), path)) == 0 {
		return true
	}
	// A type that is only meant is enough here: what is looked for is an object
	// that both schemas match, and nothing else is ever generated from them.
	if !c.onlyObject(a, path) || !c.onlyObject(b, path) {
		return false
	}
	for _, name := range c.properties(a, path).keys {
		if !c.requires(a, name, path) || !c.requires(b, name, path) || !c.properties(b, path).has(name) {
			continue
		}
		p, q := c.properties(a, path).vals[name], c.properties(b, path).vals[name]
		if c.disjoint(c.inner(p, path), c.inner(q, path), path) {
			return true
		}
	}
	return false
}

// typed returns o with a type, where its constants or nothing says it.
func (c *schemaCompiler) typed(o *object) *object {
	if o.has("type") {
		return o
	}
	out := o.without()
	var types []any
	if values := c.constants(o, ""); values != nil {
		for _, v := range values {
			types = append(types, typeOf(v))
		}
	} else {
		for _, t := range typeNames {
			types = append(types, t)
		}
	}
	out.set("type", types)
	return out
}

func (c *schemaCompiler) onlyObject(o *object, path string) bool {
	if !o.has("type") {
		return !slices.ContainsFunc(o.keys, func(k string) bool { return keywordType[k] != "object" })
	}
	types := c.types(o, path)
	return len(types) == 1 && types[0] == "object"
}

func (c *schemaCompiler) requires(o *object, name, path string) bool {
	return slices.Contains(c.names(o, path), any(name))
}

// constants returns the values of enum or const, or nil if o has neither.
func (c *schemaCompiler) constants(o *object, path string) []any {
	if v, ok := o.vals["const"]; ok {
		return []any{v}
	}
	if v, ok := o.vals["enum"]; ok {
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			c.fail(path, "enum", "not a list of values")
		}
		return list
	}
	return nil
}

// surelyDifferent says whether no JSON value is both v and w. Numbers can be
// written in many ways, so they are never sure.
func surelyDifferent(v, w any) bool {
	_, n := v.(json.Number)
	_, m := w.(json.Number)
	if n && m {
		return plainInteger(v) && plainInteger(w) && v != w
	}
	switch v.(type) {
	case *object, []any:
		if typeOf(v) == typeOf(w) {
			return false
		}
	}
	return !equal(v, w)
}

func plainInteger(v any) bool {
	s := v.(json.Number).String()
	return !strings.ContainsAny(s, ".eE") && s != "-0"
}

// typeOf returns the narrowest type of v. A number with a point or an exponent
// counts as no integer, though it may be one.
func typeOf(v any) string {
	switch v := v.(type) {
	case *object:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case json.Number:
		if plainInteger(v) {
			return "integer"
		}
		return "number"
	case bool:
		return "boolean"
	}
	return "null"
}

// enum returns the values of enum and const that are of o's type.
func (c *schemaCompiler) enum(o *object, path string) node {
	types := typeNames
	for _, k := range o.keys {
		switch k {
		case "type":
			types = c.types(o, path)
		case "enum", "const":
		default:
			c.fail(path, k, "not supported beside enum or const")
		}
	}
	var parts []node
	for _, v := range c.constants(o, path) {
		if o.has("enum") && o.has("const") && !slices.ContainsFunc(c.constants(o.without("const"), path), func(w any) bool { return equal(v, w) }) {
			continue
		}
		t := typeOf(v)
		if slices.Contains(types, t) || t == "integer" && slices.Contains(types, "number") {
			parts = append(parts, value(v))
		}
	}
	if len(parts) == 0 {
		c.fail(path, "", "allows no value")
	}
	return alt(parts...)
}
