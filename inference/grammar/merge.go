package grammar

import "encoding/binary"

// merge makes one of all states that are alike: that accept alike and have the
// same edges. What is left is not always the smallest automaton, but making
// its text and parsing that again leads to the same one.
func (g *Grammar) merge(work *int) {
	sets := map[string]uint32{} // numbers for the sets of characters
	is := make([]int32, len(g.states))
	for i := range is {
		is[i] = int32(i)
	}
	for again := true; again; {
		again = false
		seen := make(map[string]int32, len(g.states))
		// States lead mostly to later ones, which are thus merged before.
		for i := len(g.states) - 1; i >= 0; i-- {
			if is[i] != int32(i) {
				continue
			}
			spend(work, 1+len(g.states[i].edges))
			g.states[i].edges = joinEdges(g.states[i].edges, is)
			key := g.states[i].key(sets, is)
			other, ok := seen[key]
			seen[key] = int32(i)
			if ok {
				is[other], again = int32(i), true
			}
		}
		// Let each state know the last one it was merged into.
		for i := range is {
			is[i] = is[is[i]]
		}
	}
	g.keep(is)
}

// joinEdges makes one of edges that lead to one state, where states are what is
// says.
func joinEdges(edges []edge, is []int32) []edge {
	out := edges[:0]
	at := make(map[int32]int, len(edges))
	for _, e := range edges {
		i, ok := at[is[e.to]]
		switch {
		case e.call != noCall:
			out = append(out, e)
		case ok:
			out[i].set = union(out[i].set, e.set)
		default:
			at[is[e.to]] = len(out)
			out = append(out, e)
		}
	}
	return out
}

// key is what s is alike to another by, where states are what is says.
func (s state) key(sets map[string]uint32, is []int32) string {
	var b []byte
	if s.accept {
		b = append(b, 1)
	}
	for _, e := range s.edges {
		set := make([]byte, 0, 8*len(e.set))
		for _, r := range e.set {
			set = binary.LittleEndian.AppendUint32(set, uint32(r.lo))
			set = binary.LittleEndian.AppendUint32(set, uint32(r.hi))
		}
		id, ok := sets[string(set)]
		if !ok {
			id = uint32(len(sets))
			sets[string(set)] = id
		}
		call := noCall
		if e.call != noCall {
			call = int(is[e.call])
		}
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint32(b, uint32(call))
		b = binary.LittleEndian.AppendUint32(b, uint32(is[e.to]))
	}
	return string(b)
}

// keep drops the states that were merged into others.
func (g *Grammar) keep(is []int32) {
	number := make([]int32, len(is))
	var states []state
	for i, s := range g.states {
		if is[i] == int32(i) {
			number[i] = int32(len(states))
			states = append(states, s)
		}
	}
	for _, s := range states {
		for j, e := range s.edges {
			s.edges[j].to = number[is[e.to]]
			if e.call != noCall {
				s.edges[j].call = int(number[is[e.call]])
			}
		}
	}
	g.states = states
}
