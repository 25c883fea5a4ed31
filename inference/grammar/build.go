package grammar

import (
	"cmp"
	"slices"
)

// Grammar is a checked grammar. It is immutable, and safe for concurrent use.
// The zero Grammar matches nothing.
type Grammar struct {
	// states are those of all rules that are needed; 0 is where an answer
	// begins. An edge's call is the state where the rule called begins, and
	// its set then what the rule can begin with. No rule called can be empty.
	// The sets of the edges that leave a state are disjoint, and so are those
	// that follow where the state's rule can end: the next character alone
	// says where an answer goes on.
	states []state
	text   string
}

// build makes rules deterministic. The error is a *SyntaxError.
func build(rules []rule, root int) (g *Grammar, err error) {
	f, err := check(rules)
	if err != nil {
		return nil, err
	}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case tooComplex:
			g, err = nil, &SyntaxError{Reason: e.reason}
		default:
			panic(e)
		}
	}()
	inline := make([]bool, len(rules))
	work := maxWork
	for {
		l := newLinker(rules, f, inline, &work)
		l.link(root)
		again := false
		found := l.conflicts(func(r int) {
			again = again || !inline[r]
			inline[r] = true
		})
		if found == nil {
			g = l.grammar()
			break
		}
		// A rule that is hard to tell from its surroundings becomes part of
		// them, where sets of places can keep the two apart.
		if !again {
			return nil, &SyntaxError{Line: found.line, Column: found.col,
				Reason: "ambiguous: it recurses, and the next character alone does not say how to go on"}
		}
	}
	g.merge(&work)
	if g.choices() > MaxChoices {
		return nil, &SyntaxError{Reason: "too many ranges of characters to choose from at one place"}
	}
	g.text = g.format()
	return g, nil
}

// linker holds the automata of the rules that are needed.
type linker struct {
	rules  []rule
	facts  *facts
	inline []bool
	work   *int

	bodies []dfa
	owner  []int       // the rule of each body
	body   map[int]int // the body of each rule that is called
	first  []class     // what each body can begin with
	follow []class     // what can follow each body
	height []int       // how many calls each body can begin with, one in the other
}

func newLinker(rules []rule, f *facts, inline []bool, work *int) *linker {
	return &linker{rules: rules, facts: f, inline: inline, work: work, body: map[int]int{}}
}

// link builds the body of the root, which is body 0, and of all it calls.
func (l *linker) link(root int) {
	l.add(root)
	total := 0
	for i := 0; i < len(l.bodies); i++ {
		total += len(l.bodies[i].states)
		if total > MaxStates {
			panic(tooComplex{"too many places that an answer can be at"})
		}
		for _, s := range l.bodies[i].states {
			for _, e := range s.edges {
				if _, ok := l.body[e.call]; !ok && e.call != noCall {
					l.body[e.call] = len(l.bodies)
					l.add(e.call)
					l.bodies[len(l.bodies)-1].refuseEmpty()
				}
			}
		}
	}
}

func (l *linker) add(r int) {
	a := newNFA(l.rules, l.facts, l.inline, l.work)
	l.bodies = append(l.bodies, determinize(a, a.reference(r, a.end)))
	l.owner = append(l.owner, r)
}

// refuseEmpty takes the empty text out of what d accepts. Where the beginning
// is also come back to, that place stays and the beginning becomes another.
func (d *dfa) refuseEmpty() {
	if !d.states[0].accept {
		return
	}
	moved, used := int32(len(d.states)), false
	for _, s := range d.states {
		for i := range s.edges {
			if s.edges[i].to == 0 {
				s.edges[i].to, used = moved, true
			}
		}
	}
	if used {
		d.states = append(d.states, d.states[0])
	}
	d.states[0].accept = false
}

// grammar puts the bodies together.
func (l *linker) grammar() *Grammar {
	base := make([]int32, len(l.bodies))
	for i := 1; i < len(base); i++ {
		base[i] = base[i-1] + int32(len(l.bodies[i-1].states))
	}
	g := &Grammar{}
	for i, d := range l.bodies {
		for _, s := range d.states {
			edges := make([]edge, len(s.edges))
			for j, e := range s.edges {
				e.to += base[i]
				if e.call != noCall {
					b := l.body[e.call]
					e.set, e.call = l.first[b], int(base[b])
				}
				edges[j] = e
			}
			slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.set[0].lo, b.set[0].lo) })
			g.states = append(g.states, state{edges: edges, accept: s.accept})
		}
	}
	return g
}
