package grammar

// facts is what is known of each rule from its text.
type facts struct {
	nullable []bool // can be empty
	more     []bool // can be something else than empty
	ends     []bool // can end at all
}

// check refuses rules that have no meaning: those that are used but not
// defined, that can never end, and that begin with themselves.
func check(rules []rule) (*facts, error) {
	for _, r := range rules {
		if !r.defined {
			return nil, at(r, "a rule that is used but not defined")
		}
	}
	f := &facts{make([]bool, len(rules)), make([]bool, len(rules)), make([]bool, len(rules))}
	for changed := true; changed; {
		changed = false
		for i, r := range rules {
			changed = learn(f.ends, i, f.canEnd(r.body)) || changed
			changed = learn(f.nullable, i, f.canBeEmpty(r.body)) || changed
			changed = learn(f.more, i, f.canBeMore(r.body)) || changed
		}
	}
	for i, r := range rules {
		if !f.ends[i] {
			return nil, at(r, "a rule that can never end")
		}
	}
	// 0 is not seen yet, 1 is being looked at, 2 is fine.
	state := make([]byte, len(rules))
	var visit func(i int) bool
	visit = func(i int) bool {
		if state[i] != 0 {
			return state[i] == 2
		}
		state[i] = 1
		if !f.eachFirst(rules[i].body, visit) {
			return false
		}
		state[i] = 2
		return true
	}
	for i, r := range rules {
		if !visit(i) {
			return nil, at(r, "left recursion: a rule that begins with itself, or leads to one")
		}
	}
	return f, nil
}

func at(r rule, reason string) error {
	return &SyntaxError{Line: r.line, Column: r.col, Reason: reason}
}

func learn(facts []bool, i int, v bool) bool {
	if !v || facts[i] {
		return false
	}
	facts[i] = true
	return true
}

func (f *facts) canEnd(n node) bool {
	switch n := n.(type) {
	case seqNode:
		return all(n, f.canEnd)
	case altNode:
		// One will do: where every rule can end, so can every alternative.
		return some(n, f.canEnd)
	case repeatNode:
		return n.min == 0 || f.canEnd(n.part)
	case refNode:
		return f.ends[n]
	}
	return true
}

func (f *facts) canBeEmpty(n node) bool {
	switch n := n.(type) {
	case classNode:
		return false
	case seqNode:
		return all(n, f.canBeEmpty)
	case altNode:
		return some(n, f.canBeEmpty)
	case repeatNode:
		return n.min == 0 || f.canBeEmpty(n.part)
	case refNode:
		return f.nullable[n]
	}
	return true
}

func (f *facts) canBeMore(n node) bool {
	switch n := n.(type) {
	case classNode:
		return true
	case seqNode:
		return some(n, f.canBeMore)
	case altNode:
		return some(n, f.canBeMore)
	case repeatNode:
		return f.canBeMore(n.part)
	case refNode:
		return f.more[n]
	}
	return false
}

// eachFirst calls visit with the rules that n can begin with, until one call
// returns false, and returns whether none did.
func (f *facts) eachFirst(n node, visit func(int) bool) bool {
	switch n := n.(type) {
	case seqNode:
		for _, part := range n {
			if !f.eachFirst(part, visit) {
				return false
			}
			if !f.canBeEmpty(part) {
				break
			}
		}
	case altNode:
		return all(n, func(part node) bool { return f.eachFirst(part, visit) })
	case repeatNode:
		return f.eachFirst(n.part, visit)
	case refNode:
		return visit(int(n))
	}
	return true
}

func all(parts []node, ok func(node) bool) bool {
	for _, p := range parts {
		if !ok(p) {
			return false
		}
	}
	return true
}

func some(parts []node, ok func(node) bool) bool {
	for _, p := range parts {
		if ok(p) {
			return true
		}
	}
	return false
}
