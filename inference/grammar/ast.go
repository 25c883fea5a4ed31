package grammar

// node is an expression of a grammar as it is written: one of the types here.
type node interface{}

type (
	// emptyNode is nothing.
	emptyNode struct{}
	// classNode is one character of a set, which is never empty.
	classNode struct{ set class }
	// seqNode is its parts one after the other.
	seqNode []node
	// altNode is any of its parts.
	altNode []node
	// repeatNode is from min to max times its part; max below 0 means no end.
	repeatNode struct {
		part     node
		min, max int
	}
	// refNode is a rule, by its index.
	refNode int
)

// rule is a rule of a grammar as it is written.
type rule struct {
	body      node
	line, col int // of its definition or, if there is none, its first use
	defined   bool
}

// literal is the text s.
func literal(s string) node {
	var parts []node
	for _, r := range s {
		parts = append(parts, classNode{single(r)})
	}
	return seq(parts...)
}

// seq, alt and repeat drop what adds nothing, so that a node is emptyNode
// whenever only rules could make it more than that.
func seq(parts ...node) node {
	var out seqNode
	for _, p := range parts {
		switch p := p.(type) {
		case emptyNode:
		case seqNode:
			out = append(out, p...)
		default:
			out = append(out, p)
		}
	}
	switch len(out) {
	case 0:
		return emptyNode{}
	case 1:
		return out[0]
	}
	return out
}

func alt(parts ...node) node {
	var out altNode
	hasEmpty := false
	for _, p := range parts {
		if _, ok := p.(emptyNode); ok {
			if hasEmpty {
				continue
			}
			hasEmpty = true
		}
		out = append(out, p)
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

func repeat(part node, least, most int) node {
	if _, ok := part.(emptyNode); ok || most == 0 {
		return emptyNode{}
	}
	if least == 1 && most == 1 {
		return part
	}
	return repeatNode{part, least, most}
}

func optional(part node) node { return repeat(part, 0, 1) }
