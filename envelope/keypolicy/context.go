package keypolicy

import (
	"slices"
	"strings"
)

// contexts are the values that a statement allows entries of the encryption
// context, by the entry's condition key in lower case. Only conditions that
// name whole values count.
type contexts map[string][]string

// contextsOf returns them, and the condition keys of those entries that a
// request may leave out although a condition names them.
func contextsOf(s *Statement) (pinned contexts, optional []string) {
	pinned = contexts{}
	for _, t := range s.tests() {
		switch {
		case !strings.HasPrefix(t.key, contextPrefix), t.base == "null":
		case t.holdsWithout() && !t.negated:
			optional = append(optional, t.Key)
		case t.exact() && !slices.ContainsFunc(t.Values, t.vague):
			pinned[t.key] = t.Values
		}
	}
	return pinned, optional
}

// disjoint reports whether no encryption context satisfies both. Case is not
// looked at, as some operators do not.
func (c contexts) disjoint(d contexts) bool {
	for key, values := range c {
		other, ok := d[key]
		if ok && !slices.ContainsFunc(values, func(v string) bool {
			return slices.ContainsFunc(other, func(w string) bool { return strings.EqualFold(v, w) })
		}) {
			return true
		}
	}
	return false
}

// vague reports whether a value stands for more than itself: a pattern, or a
// policy variable, which may be anything.
func (o operator) vague(value string) bool {
	return strings.Contains(value, "${") || (o.base == "stringlike" || o.base == "arnlike" || o.base == "arnequals") && strings.ContainsAny(value, "*?")
}
