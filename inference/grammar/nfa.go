package grammar

// edge leads on by a character of set or, if call is not noCall, by an answer
// to the rule call.
type edge struct {
	set  class
	call int
	to   int32
}

const noCall = -1

// nfa is the nondeterministic automaton of one rule.
//
// A rule that another ends with becomes part of it, without a call: that way
// all that is regular in a grammar, written as recursion or not, becomes
// loops. Other rules are called, unless they are in inline.
type nfa struct {
	rules  []rule
	facts  *facts
	inline []bool

	empty  [][]int32 // where each place leads without a character
	edges  [][]edge
	end    int32
	memo   map[target]int32
	active []int // how often each rule is being built
	work   *int
	states int
}

// target is a rule followed by what follows from a place on.
type target struct {
	rule int
	end  int32
}

func newNFA(rules []rule, f *facts, inline []bool, work *int) *nfa {
	a := &nfa{rules: rules, facts: f, inline: inline, memo: map[target]int32{}, active: make([]int, len(rules)), work: work}
	a.end = a.state()
	return a
}

// tooComplex is what the building of automata panics with at a limit.
type tooComplex struct{ reason string }

func spend(work *int, n int) {
	if *work -= n; *work < 0 {
		panic(tooComplex{"too ambiguous, or too large, to be made deterministic"})
	}
}

func (a *nfa) state() int32 {
	if a.states++; a.states > MaxElements {
		panic(tooComplex{"too many elements once its repetitions are written out"})
	}
	spend(a.work, 1)
	a.empty = append(a.empty, nil)
	a.edges = append(a.edges, nil)
	return int32(len(a.empty) - 1)
}

func (a *nfa) link(from, to int32) { a.empty[from] = append(a.empty[from], to) }

// compile returns the place from which n leads to end.
func (a *nfa) compile(n node, end int32) int32 {
	switch n := n.(type) {
	case classNode:
		s := a.state()
		a.edges[s] = []edge{{set: n.set, call: noCall, to: end}}
		return s
	case seqNode:
		for i := len(n) - 1; i >= 0; i-- {
			end = a.compile(n[i], end)
		}
		return end
	case altNode:
		return a.alternatives(n, end)
	case repeatNode:
		return a.repeated(n, end)
	case refNode:
		return a.reference(int(n), end)
	}
	return end
}

func (a *nfa) alternatives(n altNode, end int32) int32 {
	starts := make([]int32, len(n))
	same := true
	for i, part := range n {
		starts[i] = a.compile(part, end)
		same = same && starts[i] == starts[0]
	}
	if same {
		return starts[0]
	}
	s := a.state()
	a.empty[s] = starts
	return s
}

func (a *nfa) repeated(n repeatNode, end int32) int32 {
	if n.max < 0 {
		loop := a.state()
		a.link(loop, end)
		if s := a.compile(n.part, loop); s == loop {
			return end
		} else {
			a.link(loop, s)
		}
		end = loop
	}
	for rest, i := end, n.min; i < n.max; i++ {
		s := a.compile(n.part, end)
		if s == end {
			return end
		}
		start := a.state()
		a.empty[start] = []int32{rest, s}
		end = start
	}
	for range n.min {
		end = a.compile(n.part, end)
	}
	return end
}

func (a *nfa) reference(r int, end int32) int32 {
	if !a.facts.more[r] {
		return end
	}
	key := target{r, end}
	if s, ok := a.memo[key]; ok {
		return s
	}
	if a.active[r] > 0 || end != a.end && !a.inline[r] {
		s := a.state()
		a.edges[s] = []edge{{call: r, to: end}}
		if a.facts.nullable[r] {
			a.link(s, end)
		}
		a.memo[key] = s
		return s
	}
	// The rule may lead back here with the same end: a loop.
	start := a.state()
	a.memo[key] = start
	a.active[r]++
	a.link(start, a.compile(a.rules[r].body, end))
	a.active[r]--
	return start
}
