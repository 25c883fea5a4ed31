package native

import "testing"

func TestUseInPlace(t *testing.T) {
	defaults := ModelParams{NGPULayers: -1, SplitMode: 1, LoadMode: -1, LazyMode: 1, Bools: [8]bool{extraBufts: true}}
	p := defaults
	if err := p.useInPlace(); err != nil {
		t.Fatal(err)
	}
	want := defaults
	want.LoadMode, want.Bools = 1, [8]bool{}
	if p != want {
		t.Errorf("%+v", p)
	}
	for name, change := range map[string]func(*ModelParams){
		"another load mode":     func(p *ModelParams) { p.LoadMode = 0 },
		"another place of ints": func(p *ModelParams) { p.NGPULayers, p.SplitMode = 1, -1 },
		"one bool more":         func(p *ModelParams) { p.Bools = [8]bool{3: true} },
		"one bool less":         func(p *ModelParams) { p.Bools = [8]bool{1: true} },
	} {
		p := defaults
		change(&p)
		before := p
		if err := p.useInPlace(); err == nil || p != before {
			t.Errorf("%s: accepted or changed: %+v", name, p)
		}
	}
}
