package grammar

import "unicode/utf8"

// State is a place in an answer: what has come so far. It is immutable and
// small; the zero State accepts nothing.
type State struct {
	g  *Grammar
	at int32
	up *frame
	// cut is the beginning of a character whose end has not come yet.
	cut  [utf8.UTFMax - 1]byte
	ncut uint8
}

// frame is where to go on after the rules called have ended.
type frame struct {
	to int32
	up *frame
}

// Start returns the place before an answer's first character.
func (g *Grammar) Start() State {
	if len(g.states) == 0 {
		return State{}
	}
	return State{g: g}
}

// Match says whether s, as a whole, is an answer. The time is linear in the
// length of s, and so is the memory where rules recurse.
func (g *Grammar) Match(s string) bool {
	st, ok := g.Start().Next(s)
	return ok && st.Done()
}

// Next returns the place after text, and false if no answer goes on with text.
// Whatever the place, an answer exists that goes on from there. A character
// may be cut: its rest is then the beginning of the next text.
func (s State) Next(text string) (State, bool) {
	if s.g == nil {
		return State{}, false
	}
	if s.ncut > 0 {
		text = string(s.cut[:s.ncut]) + text
		s.ncut = 0
	}
	for text != "" {
		if !utf8.FullRuneInString(text) {
			return s.stop(text)
		}
		r, n := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && n <= 1 || !s.step(r) {
			return State{}, false
		}
		text = text[n:]
	}
	return s, true
}

// stop keeps the beginning of a character, if one that can come next begins so.
func (s State) stop(begin string) (State, bool) {
	// The first byte says how long the character is, and thereby what the
	// bytes that are missing can make of it.
	size, value := 2, rune(begin[0])&0x1F
	least := rune(0x80)
	switch {
	case begin[0] >= 0xF0:
		size, value, least = 4, rune(begin[0])&0x07, 0x10000
	case begin[0] >= 0xE0:
		size, value, least = 3, rune(begin[0])&0x0F, 0x800
	}
	for i := 1; i < len(begin); i++ {
		value = value<<6 | rune(begin[i])&0x3F
	}
	missing := 6 * (size - len(begin))
	lo, hi := value<<missing, value<<missing|(1<<missing-1)
	if !s.canStep(class{{max(lo, least), min(hi, utf8.MaxRune)}}) {
		return State{}, false
	}
	s.ncut = uint8(copy(s.cut[:], begin))
	return s, true
}

// canStep says whether any character of set can come next.
func (s *State) canStep(set class) bool {
	for at, up := s.at, s.up; ; at, up = up.to, up.up {
		here := s.g.states[at]
		for _, e := range here.edges {
			if overlap(e.set, set) {
				return true
			}
		}
		if !here.accept || up == nil {
			return false
		}
	}
}

// Done says whether what has come so far is an answer.
func (s State) Done() bool {
	if s.g == nil || s.ncut > 0 || !s.g.states[s.at].accept {
		return false
	}
	for f := s.up; f != nil; f = f.up {
		if !s.g.states[f.to].accept {
			return false
		}
	}
	return true
}

// step goes on by one character. Since the sets of edges are disjoint, and
// from those that can follow the rule, there is never a choice.
func (s *State) step(r rune) bool {
next:
	for {
		here := s.g.states[s.at]
		for _, e := range here.edges {
			if !e.set.has(r) {
				continue
			}
			if e.call == noCall {
				s.at = e.to
				return true
			}
			// Where the rule called is the last thing, there is nothing to
			// come back for.
			if after := s.g.states[e.to]; len(after.edges) > 0 || !after.accept {
				s.up = &frame{e.to, s.up}
			}
			s.at = int32(e.call)
			continue next
		}
		if !here.accept || s.up == nil {
			return false
		}
		s.at, s.up = s.up.to, s.up.up
	}
}
