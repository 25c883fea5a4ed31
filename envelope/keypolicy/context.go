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
	for _, c := range s.Conditions {
		key := strings.ToLower(c.Key)
		o := parseOperator(c.Operator)
		wild := o.base == "stringlike" && slices.ContainsFunc(c.Values, func(v string) bool { return strings.ContainsAny(v, "*?") })
		switch {
		case !strings.HasPrefix(key, contextPrefix), o.base == "null":
		case o.holdsWithout() && !o.negated:
			optional = append(optional, c.Key)
		case o.exact() && !wild:
			pinned[key] = c.Values
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
