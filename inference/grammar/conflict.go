package grammar

import "slices"

// conflicts looks for places where the next character does not say how to go
// on. It calls inline with each rule that had better be part of what calls it,
// and returns a rule where a conflict is, or nil if there is none.
func (l *linker) conflicts(inline func(r int)) *rule {
	l.computeFirst()
	l.computeFollow()
	var found *rule
	for b, d := range l.bodies {
		for _, s := range d.states {
			if l.clash(s, inline) {
				found = &l.rules[l.owner[b]]
			}
			if s.accept && overlap(l.next(s), l.follow[b]) {
				found = &l.rules[l.owner[b]]
				inline(l.owner[b])
			}
		}
	}
	return found
}

// clash says whether two edges of s can begin with the same character. Edges
// that are no calls never do.
func (l *linker) clash(s state, inline func(r int)) bool {
	found := false
	for i, e := range s.edges {
		if e.call == noCall {
			continue
		}
		for j, o := range s.edges {
			spend(l.work, 1)
			if i == j || !overlap(l.begins(e), l.begins(o)) {
				continue
			}
			found = true
			// Of two rules, the one that can begin with the other goes first:
			// what is left may be the other, twice, which is no conflict.
			if o.call == noCall || l.height[l.body[e.call]] >= l.height[l.body[o.call]] {
				inline(e.call)
			}
		}
	}
	return found
}

// begins is what an edge can begin with.
func (l *linker) begins(e edge) class {
	if e.call == noCall {
		return e.set
	}
	return l.first[l.body[e.call]]
}

// next is what can come next in a state, as long as its rule does not end.
func (l *linker) next(s state) class {
	var c class
	for _, e := range s.edges {
		begins := l.begins(e)
		spend(l.work, 1+(len(c)+len(begins))/8)
		c = union(c, begins)
	}
	return c
}

// computeFirst computes what each body can begin with. Calls that a rule
// begins with lead to an end, for no rule begins with itself.
func (l *linker) computeFirst() {
	l.first = make([]class, len(l.bodies))
	l.height = make([]int, len(l.bodies))
	var first func(b int)
	first = func(b int) {
		if l.first[b] != nil {
			return
		}
		start := l.bodies[b].states[0]
		for _, e := range start.edges {
			if e.call != noCall {
				first(l.body[e.call])
				l.height[b] = max(l.height[b], 1+l.height[l.body[e.call]])
			}
		}
		if l.height[b] > MaxDepth {
			panic(tooComplex{"a rule begins with a rule that begins with a rule, and so on for too long"})
		}
		l.first[b] = l.next(start)
	}
	for b := range l.bodies {
		first(b)
	}
}

// computeFollow computes what can follow each body.
func (l *linker) computeFollow() {
	l.follow = make([]class, len(l.bodies))
	// What follows a body also follows those that it can end with.
	endsWith := make([][]int, len(l.bodies))
	for b, d := range l.bodies {
		for _, s := range d.states {
			for _, e := range s.edges {
				if e.call == noCall {
					continue
				}
				called, after := l.body[e.call], d.states[e.to]
				next := l.next(after)
				spend(l.work, 1+len(l.follow[called])/8)
				l.follow[called] = union(l.follow[called], next)
				if after.accept && called != b && !slices.Contains(endsWith[b], called) {
					endsWith[b] = append(endsWith[b], called)
				}
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for b, ends := range endsWith {
			for _, called := range ends {
				more := union(l.follow[called], l.follow[b])
				spend(l.work, 1+len(more)/8)
				if !slices.Equal(more, l.follow[called]) {
					l.follow[called], changed = more, true
				}
			}
		}
	}
}
