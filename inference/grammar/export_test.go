package grammar

import "math/rand"

// Reparse parses the canonical text of a grammar, which may be larger than
// what Parse takes.
func Reparse(text string) (*Grammar, error) { return parse(text, 2*MaxStates) }

// Sample returns a random answer, which comes to an end soon after limit
// characters.
func (g *Grammar) Sample(rng *rand.Rand, limit int) string {
	far := g.distances()
	var out []rune
	var walk func(s int)
	walk = func(s int) {
		for {
			here := g.states[s]
			if here.accept && (len(here.edges) == 0 || rng.Intn(4) == 0 || len(out) >= limit) {
				return
			}
			e := here.edges[rng.Intn(len(here.edges))]
			if len(out) >= limit {
				for _, o := range here.edges {
					if cost(far, o) < cost(far, e) {
						e = o
					}
				}
			}
			if e.call == noCall {
				r := e.set[rng.Intn(len(e.set))]
				out = append(out, r.lo+rune(rng.Intn(int(r.hi-r.lo)+1)))
			} else {
				walk(e.call)
			}
			s = int(e.to)
		}
	}
	walk(0)
	return string(out)
}

// distances is how many characters each state is from where its rule ends.
func (g *Grammar) distances() []int {
	far := make([]int, len(g.states))
	for i := range far {
		far[i] = 1 << 20
	}
	for changed := true; changed; {
		changed = false
		for i, s := range g.states {
			d := far[i]
			if s.accept {
				d = 0
			}
			for _, e := range s.edges {
				d = min(d, cost(far, e))
			}
			changed = changed || d < far[i]
			far[i] = d
		}
	}
	return far
}

func cost(far []int, e edge) int {
	if e.call == noCall {
		return 1 + far[e.to]
	}
	return far[e.call] + far[e.to]
}

// Size returns the number of states, and the most ranges at one place.
func (g *Grammar) Size() (states, choices int) { return len(g.states), g.choices() }

// Survivors follows all ways in which s can be understood, as libllama does,
// and returns how many there were at most after a character.
func (g *Grammar) Survivors(s string) int {
	type way struct {
		at int32
		up string // the states to go on with, the next one last
	}
	ways, most := map[way]bool{{}: true}, 0
	for _, r := range s {
		next := map[way]bool{}
		var follow func(w way)
		follow = func(w way) {
			here := g.states[w.at]
			for _, e := range here.edges {
				if e.call != noCall {
					follow(way{int32(e.call), w.up + string(rune(e.to))})
				} else if e.set.has(r) {
					next[way{e.to, w.up}] = true
				}
			}
			if up := []rune(w.up); here.accept && len(up) > 0 {
				follow(way{up[len(up)-1], string(up[:len(up)-1])})
			}
		}
		for w := range ways {
			follow(w)
		}
		ways, most = next, max(most, len(next))
	}
	return most
}
