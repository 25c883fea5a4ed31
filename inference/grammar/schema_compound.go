package grammar

import (
	"slices"
	"strconv"
)

// member is a property of an object.
type member struct {
	text     node // the name, the colon and the value
	required bool
}

// objectType returns objects with their properties in the schema's order.
// Where additionalProperties is missing, a schema with properties allows no
// others, and one without allows any.
func (c *schemaCompiler) objectType(o *object, path string) node {
	props := c.properties(o, path)
	var required []string
	for _, n := range c.names(o, path) {
		required = append(required, n.(string))
	}
	more, ok := o.vals["additionalProperties"]
	if !ok {
		more = len(props.keys) == 0
	}
	var extra node
	if more != false {
		extra = c.schema(more, path+"/additionalProperties")
	}

	var members []member
	for i, name := range props.keys {
		need := slices.Contains(required, name)
		if props.vals[name] == false && !need {
			continue
		}
		v := c.schema(props.vals[name], path+"/properties/"+strconv.Itoa(i))
		members = append(members, member{seq(quoted(name), colon, v), need})
	}
	known := slices.Clone(props.keys)
	for _, name := range required {
		if slices.Contains(known, name) {
			continue
		}
		v := extra
		if v == nil {
			if ok {
				c.fail(path, "required", "a property that additionalProperties does not allow")
			}
			v = c.anyValue()
		}
		known = append(known, name)
		members = append(members, member{seq(quoted(name), colon, v), true})
	}
	var pair node
	if extra != nil {
		pair = seq(otherKey(known), colon, extra)
	}
	return c.members(members, pair)
}

// members returns an object of some members in order, then of any number of
// pairs unless pair is nil. For each position there are two rules: one where
// nothing has come yet, and one where something has, which needs a comma.
func (c *schemaCompiler) members(list []member, pair node) node {
	none, some := node(literal("}")), node(literal("}"))
	if pair != nil {
		some = c.define(seq(repeat(seq(comma, pair), 0, -1), literal("}")))
		none = c.define(alt(literal("}"), seq(pair, some)))
	}
	for _, m := range slices.Backward(list) {
		first, later := seq(m.text, some), seq(comma, m.text, some)
		if !m.required {
			first, later = alt(first, none), alt(later, some)
		}
		none, some = c.define(first), c.define(later)
	}
	return seq(literal("{"), none)
}

// otherKey returns names that are none of known. They have no escapes, with
// which they could spell one of them.
func otherKey(known []string) node {
	known = slices.Clone(known)
	slices.Sort(known)
	return seq(quote, otherThan(known), quote)
}

// otherThan returns the texts of plain characters that are not in names, which
// are sorted: it follows them character by character.
func otherThan(names []string) node {
	var parts []node
	if len(names) == 0 || names[0] != "" {
		parts = append(parts, emptyNode{})
	}
	rest := plain
	for len(names) > 0 {
		if names[0] == "" {
			names = names[1:]
			continue
		}
		first := []rune(names[0])[0]
		var tails []string
		for len(names) > 0 && names[0] != "" && []rune(names[0])[0] == first {
			tails = append(tails, names[0][len(string(first)):])
			names = names[1:]
		}
		if plain.has(first) {
			rest = subtract(rest, single(first))
			parts = append(parts, seq(classNode{single(first)}, otherThan(tails)))
		}
	}
	return alt(append(parts, seq(classNode{rest}, repeat(classNode{plain}, 0, -1)))...)
}

// arrayType returns arrays.
func (c *schemaCompiler) arrayType(o *object, path string) node {
	var prefix []any
	if v, ok := o.vals["prefixItems"]; ok {
		prefix = c.list(v, path, "prefixItems")
	}
	least, most := max(c.count(o, path, "minItems"), 0), c.count(o, path, "maxItems")
	items, ok := o.vals["items"]
	if !ok {
		items = true
	}
	if items == false && (most < 0 || most > len(prefix)) {
		most = len(prefix)
	}
	if most >= 0 && least > most {
		c.fail(path, "", "no array has at least minItems and at most maxItems")
	}
	if most >= 0 && len(prefix) > most {
		prefix = prefix[:most]
	}

	// What comes after the prefix, with a comma before each item.
	n := len(prefix)
	end := node(literal("]"))
	rest := end
	if most < 0 || most > n {
		item := c.schema(items, path+"/items")
		after := func(done int) node {
			left := -1
			if most >= 0 {
				left = most - done
			}
			return seq(repeat(seq(comma, item), max(least-done, 0), left), end)
		}
		if n > 0 {
			rest = after(n)
		} else if rest = seq(item, after(1)); least == 0 {
			rest = alt(end, rest)
		}
	}
	for i, v := range slices.Backward(prefix) {
		here := seq(c.schema(v, path+"/prefixItems/"+strconv.Itoa(i)), rest)
		if i > 0 {
			here = seq(comma, here)
		}
		if i >= least {
			here = alt(end, here)
		}
		rest = c.define(here)
	}
	return seq(literal("["), rest)
}
