package grammar

import (
	"slices"
	"unicode/utf8"
)

// span is an inclusive range of characters.
type span struct{ lo, hi rune }

// class is a set of characters: sorted spans with gaps between them.
type class []span

// anyChar is every character that valid UTF-8 can hold, but for NUL, which
// ends a string in C: libllama cannot see what follows one.
var anyChar = class{{1, 0xD7FF}, {0xE000, utf8.MaxRune}}

// newClass sorts and joins spans, which may overlap, and drops what is not in
// anyChar.
func newClass(spans ...span) class {
	s := slices.Clone(spans)
	slices.SortFunc(s, func(a, b span) int { return int(a.lo - b.lo) })
	return intersect(join(s), anyChar)
}

// join joins sorted spans that overlap or touch.
func join(s []span) class {
	var out class
	for _, r := range s {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

func single(r rune) class { return class{{r, r}} }

// chars is the set of the characters of s.
func chars(s string) class {
	var spans []span
	for _, r := range s {
		spans = append(spans, span{r, r})
	}
	return newClass(spans...)
}

func union(a, b class) class {
	s := make([]span, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].lo <= b[0].lo {
			s, a = append(s, a[0]), a[1:]
		} else {
			s, b = append(s, b[0]), b[1:]
		}
	}
	return join(append(append(s, a...), b...))
}

func intersect(a, b class) class {
	var out class
	for len(a) > 0 && len(b) > 0 {
		lo, hi := max(a[0].lo, b[0].lo), min(a[0].hi, b[0].hi)
		if lo <= hi {
			out = append(out, span{lo, hi})
		}
		if a[0].hi < b[0].hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

func overlap(a, b class) bool {
	for len(a) > 0 && len(b) > 0 {
		if max(a[0].lo, b[0].lo) <= min(a[0].hi, b[0].hi) {
			return true
		}
		if a[0].hi < b[0].hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return false
}

// complement is the characters that are not in c.
func complement(c class) class {
	var out class
	next := rune(0)
	for _, r := range c {
		if r.lo > next {
			out = append(out, span{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, span{next, utf8.MaxRune})
	}
	return intersect(out, anyChar)
}

func subtract(a, b class) class { return intersect(a, complement(b)) }

func (c class) has(r rune) bool {
	_, ok := slices.BinarySearchFunc(c, r, func(s span, r rune) int {
		switch {
		case s.hi < r:
			return -1
		case s.lo > r:
			return 1
		}
		return 0
	})
	return ok
}
