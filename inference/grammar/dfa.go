package grammar

import (
	"encoding/binary"
	"maps"
	"slices"
)

// state is a place of an answer in a rule.
type state struct {
	edges  []edge
	accept bool // the rule can end here
}

// dfa is the deterministic automaton of one rule: the edges that leave a state
// have disjoint sets or different calls. Place 0 is where it begins.
type dfa struct{ states []state }

// subsets builds a dfa out of an nfa: its states are sets of the nfa's places.
type subsets struct {
	a     *nfa
	out   dfa
	ids   map[string]int32 // by the places that a step leads to, and by their closure
	sets  [][]int32        // the closures
	seen  []int32          // marks places of the closure being computed
	round int32
}

func determinize(a *nfa, start int32) dfa {
	d := &subsets{a: a, ids: map[string]int32{}, seen: make([]int32, len(a.empty))}
	d.id([]int32{start})
	for i := 0; i < len(d.sets); i++ {
		d.out.states[i] = d.leave(d.sets[i])
	}
	return d.out
}

func key(kind byte, places []int32) string {
	b := make([]byte, 1, 1+4*len(places))
	b[0] = kind
	for _, p := range places {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
	}
	return string(b)
}

// id returns the state for the places that a step leads to.
func (d *subsets) id(places []int32) int32 {
	slices.Sort(places)
	places = slices.Compact(places)
	short := key('t', places)
	spend(d.a.work, len(places)/4)
	if id, ok := d.ids[short]; ok {
		return id
	}
	closure := d.closure(places)
	long := key('c', closure)
	id, ok := d.ids[long]
	if !ok {
		id = int32(len(d.sets))
		if id == MaxStates {
			panic(tooComplex{"too many places that an answer can be at"})
		}
		d.sets = append(d.sets, closure)
		d.out.states = append(d.out.states, state{})
		d.ids[long] = id
	}
	d.ids[short] = id
	return id
}

// closure returns the places that places lead to without a character, but only
// those that matter: with edges, or the end.
func (d *subsets) closure(places []int32) []int32 {
	d.round++
	var out []int32
	todo := slices.Clone(places)
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if d.seen[p] == d.round {
			continue
		}
		d.seen[p] = d.round
		spend(d.a.work, 1+len(d.a.empty[p]))
		if len(d.a.edges[p]) > 0 || p == d.a.end {
			out = append(out, p)
		}
		todo = append(todo, d.a.empty[p]...)
	}
	slices.Sort(out)
	return out
}

// leave returns the state of a set of places.
func (d *subsets) leave(places []int32) state {
	var s state
	var spans []reach
	calls := map[int][]int32{}
	for _, p := range places {
		s.accept = s.accept || p == d.a.end
		for _, e := range d.a.edges[p] {
			if e.call != noCall {
				calls[e.call] = append(calls[e.call], e.to)
			}
			for _, r := range e.set {
				spans = append(spans, reach{r, e.to})
			}
		}
	}
	s.edges = d.split(spans)
	for _, call := range slices.Sorted(maps.Keys(calls)) {
		s.edges = append(s.edges, edge{call: call, to: d.id(calls[call])})
	}
	return s
}

// reach is a span of characters that leads to a place.
type reach struct {
	span
	to int32
}

// split returns edges with disjoint sets, one for each state.
func (d *subsets) split(spans []reach) []edge {
	slices.SortFunc(spans, func(a, b reach) int { return int(a.lo - b.lo) })
	var cuts []rune
	for _, r := range spans {
		cuts = append(cuts, r.lo, r.hi+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)

	byState := map[int32]class{}
	var open []reach
	for i := 0; i+1 < len(cuts); i++ {
		lo, hi := cuts[i], cuts[i+1]-1
		open = slices.DeleteFunc(open, func(r reach) bool { return r.hi < lo })
		for len(spans) > 0 && spans[0].lo == lo {
			open, spans = append(open, spans[0]), spans[1:]
		}
		spend(d.a.work, 1+len(open))
		if len(open) == 0 {
			continue
		}
		to := make([]int32, len(open))
		for i, r := range open {
			to[i] = r.to
		}
		id := d.id(to)
		byState[id] = append(byState[id], span{lo, hi})
	}
	var edges []edge
	for _, id := range slices.Sorted(maps.Keys(byState)) {
		edges = append(edges, edge{set: join(byState[id]), call: noCall, to: id})
	}
	return edges
}
