package grammar

import "slices"

// expand returns a schema that says the same as o without $ref and allOf.
func (c *schemaCompiler) expand(o *object, path string) *object {
	defer c.enter(path, len(o.keys))()
	out := o.without("$ref", "allOf")
	if ref, ok := o.vals["$ref"]; ok {
		v, at := c.resolve(c.text(ref, path, "$ref"), path)
		out = c.merge(out, c.inner(v, at), path, "$ref")
	}
	if v, ok := o.vals["allOf"]; ok {
		for _, sub := range c.list(v, path, "allOf") {
			out = c.merge(out, c.inner(sub, path+"/allOf"), path, "allOf")
		}
	}
	return out
}

// inner returns the expanded schema of v, which cannot be false.
func (c *schemaCompiler) inner(v any, path string) *object {
	switch v := v.(type) {
	case bool:
		if !v {
			c.fail(path, "", "allows no value")
		}
		return &object{vals: map[string]any{}}
	case *object:
		return c.expand(c.strip(v, path), path)
	}
	c.fail(path, "", "neither an object nor a boolean")
	return nil
}

func (c *schemaCompiler) list(v any, path, keyword string) []any {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		c.fail(path, keyword, "not a list of schemas")
	}
	return list
}

// merge returns a schema that says what a and b say together. Keywords that
// both have must be alike, or of a kind that is easily combined.
func (c *schemaCompiler) merge(a, b *object, path, keyword string) *object {
	c.spend(path, 64+len(a.keys)+len(b.keys)+len(c.properties(a, path).keys)+len(c.properties(b, path).keys))
	no := func() { c.fail(path, keyword, "schemas that cannot be combined into one") }
	for _, pair := range [][2]*object{{a, b}, {b, a}} {
		x, y := pair[0], pair[1]
		// additionalProperties sees only its own schema's properties.
		if extra, ok := x.vals["additionalProperties"]; ok && extra != true {
			for _, name := range c.properties(y, path).keys {
				if !c.properties(x, path).has(name) {
					no()
				}
			}
			if other, ok := y.vals["additionalProperties"]; ok && !equal(extra, other) {
				no()
			}
		}
		// items sees only what its own schema's prefixItems leave.
		if x.has("items") && y.has("prefixItems") && !equal(x.vals["prefixItems"], y.vals["prefixItems"]) {
			no()
		}
	}
	out := a.without()
	for _, k := range b.keys {
		v, w := a.vals[k], b.vals[k]
		switch {
		case !a.has(k), equal(v, w):
			out.set(k, w)
		case k == "type":
			both := c.commonTypes(a, b, path)
			if len(both) == 0 {
				c.fail(path, keyword, "no type is left")
			}
			out.set(k, both)
		case k == "required":
			out.set(k, slices.Concat(c.names(a, path), c.names(b, path)))
		case k == "properties":
			out.set(k, c.mergeProperties(a, b, path))
		case k == "minItems", k == "minLength", k == "maxItems", k == "maxLength":
			n, m := c.count(a, path, k), c.count(b, path, k)
			if k[1] == 'i' && m > n || k[1] == 'a' && m < n {
				out.set(k, w)
			}
		default:
			no()
		}
	}
	return out
}

func (c *schemaCompiler) commonTypes(a, b *object, path string) []any {
	var both []any
	x, y := c.types(a, path), c.types(b, path)
	for _, t := range typeNames {
		in := func(list []string) bool {
			return slices.Contains(list, t) || t == "integer" && slices.Contains(list, "number")
		}
		if in(x) && in(y) {
			both = append(both, t)
		}
	}
	return both
}

// names returns what o requires.
func (c *schemaCompiler) names(o *object, path string) []any {
	v, ok := o.vals["required"]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		c.fail(path, "required", "not a list of names")
	}
	for _, n := range list {
		c.text(n, path, "required")
	}
	return list
}

// properties returns the properties of o, none if it has none.
func (c *schemaCompiler) properties(o *object, path string) *object {
	v, ok := o.vals["properties"]
	if !ok {
		return &object{vals: map[string]any{}}
	}
	p, ok := v.(*object)
	if !ok {
		c.fail(path, "properties", "not an object")
	}
	return p
}

// mergeProperties returns the properties of a and b; one that both have must
// be as both say.
func (c *schemaCompiler) mergeProperties(a, b *object, path string) *object {
	out := c.properties(a, path).without()
	for _, k := range c.properties(b, path).keys {
		w := c.properties(b, path).vals[k]
		if v, ok := out.vals[k]; ok && !equal(v, w) {
			w = &object{keys: []string{"allOf"}, vals: map[string]any{"allOf": []any{v, w}}}
		}
		out.set(k, w)
	}
	return out
}
