package envelope

import "errors"

// Limits on what the BER reader takes.
const (
	maxCMS      = 4 << 20 // bytes
	maxBERDepth = 12      // the deepest element that KMS sends is at level 10
	maxSegments = 1 << 16 // parts of a constructed OCTET STRING
)

// errBER says that the input is not the BER that was expected. It never
// leaves the package: every failure to open a message is ErrOpen.
var errBER = errors.New("bad BER")

// Tags of the message (ITU-T X.690; universal class unless said).
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30
	tagSet         = 0x31
	tagContext0    = 0x80 // primitive [0]
	tagContext1    = 0x81 // primitive [1]
	constructed    = 0x20
)

// element is one BER data value: its identifier octet and its contents, the
// end-of-contents octets of the indefinite form not included.
type element struct {
	tag     byte
	content []byte
}

// readElement splits the first element off b. Lengths may be short, long or,
// for constructed elements, indefinite (X.690, section 8.1.3), since KMS mixes
// all three. Depth bounds recursion, and every length is compared with what is
// left.
func readElement(b []byte, depth int) (e element, rest []byte, err error) {
	if len(b) < 2 || depth > maxBERDepth {
		return element{}, nil, errBER
	}
	e.tag = b[0]
	if e.tag&0x1f == 0x1f || e.tag == 0 {
		return element{}, nil, errBER // high tag numbers have no place here
	}
	first, body := b[1], b[2:]
	switch {
	case first < 0x80:
		return e.split(body, uint64(first))
	case first == 0x80:
		if e.tag&constructed == 0 {
			return element{}, nil, errBER
		}
		return e.indefinite(body, depth)
	}
	size := int(first & 0x7f)
	if size > 4 || len(body) < size {
		return element{}, nil, errBER
	}
	var n uint64
	for _, c := range body[:size] {
		n = n<<8 | uint64(c)
	}
	return e.split(body[size:], n)
}

func (e element) split(body []byte, n uint64) (element, []byte, error) {
	if n > uint64(len(body)) {
		return element{}, nil, errBER
	}
	e.content = body[:n:n]
	return e, body[n:], nil
}

// indefinite finds the end of e by walking over its contents.
func (e element) indefinite(body []byte, depth int) (element, []byte, error) {
	for rest := body; ; {
		if len(rest) >= 2 && rest[0] == 0 && rest[1] == 0 {
			n := len(body) - len(rest)
			e.content = body[:n:n]
			return e, rest[2:], nil
		}
		var err error
		if _, rest, err = readElement(rest, depth+1); err != nil {
			return element{}, nil, err
		}
	}
}

// berReader reads the elements inside a constructed one, in order.
type berReader struct {
	rest  []byte
	depth int
	err   error
}

// next returns the contents of the next element, which must have the tag.
// After a failure it returns nil, and done reports the failure.
func (r *berReader) next(tag byte) []byte {
	e := r.any()
	if r.err == nil && e.tag != tag {
		r.err = errBER
	}
	if r.err != nil {
		return nil
	}
	return e.content
}

// any returns the next element, whatever its tag.
func (r *berReader) any() element {
	if r.err != nil {
		return element{}
	}
	e, rest, err := readElement(r.rest, r.depth)
	if err != nil {
		r.err = err
		return element{}
	}
	r.rest = rest
	return e
}

// enter returns a reader of the next element's contents.
func (r *berReader) enter(tag byte) *berReader {
	content := r.next(tag)
	return &berReader{rest: content, depth: r.depth + 1, err: r.err}
}

// done reports a failure, or contents that were left over.
func (r *berReader) done() error {
	if r.err == nil && len(r.rest) != 0 {
		return errBER
	}
	return r.err
}

// octets reads an OCTET STRING under the given primitive tag: in one piece, or
// constructed from primitive OCTET STRINGs (X.690, section 8.7), which are
// joined. Segments that are constructed themselves are refused.
func (r *berReader) octets(primitive byte) []byte {
	e := r.any()
	if r.err != nil {
		return nil
	}
	if e.tag == primitive {
		return e.content
	}
	if e.tag != primitive|constructed {
		r.err = errBER
		return nil
	}
	parts := &berReader{rest: e.content, depth: r.depth + 1}
	joined := make([]byte, 0, len(e.content))
	for n := 0; len(parts.rest) > 0; n++ {
		joined = append(joined, parts.next(tagOctetString)...)
		if parts.err != nil || n >= maxSegments {
			r.err = errBER
			return nil
		}
	}
	return joined
}
