package vsockrpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// Sizes of the wire format, in bytes. PROTOCOL.md documents them.
const (
	frameHeader = 10
	// maxFrame is the largest frame with its header. It is also the most that
	// one write gives to the socket: some kernels corrupt larger writes to
	// vsock.
	maxFrame   = 32 << 10
	maxPayload = maxFrame - frameHeader
	// sizePrefix is the length of a message in front of its first frame, where
	// it has several.
	sizePrefix = 4
	// initialWindow is how many bytes of messages a side may send on a new
	// stream before the receiver grants more.
	initialWindow = 256 << 10

	maxMethod   = 255
	maxStatus   = 1024
	maxMetadata = 64 // pairs
)

// hello is the payload of the first frame in each direction.
const hello = "nitroseal-rpc/1\n"

type frameType byte

const (
	frameHello  frameType = 0
	frameOpen   frameType = 1
	frameData   frameType = 2
	frameStatus frameType = 3
	frameReset  frameType = 4
	frameWindow frameType = 5
	framePing   frameType = 6
	framePong   frameType = 7
	frameGoAway frameType = 8
	frameRefuse frameType = 9
)

// Flags of DATA.
const (
	flagEndMessage = 1 << 0
	flagEndStream  = 1 << 1
	flagSize       = 1 << 2
)

type header struct {
	length int
	typ    frameType
	flags  byte
	stream uint32
}

// errProtocol says that the peer broke the protocol. The connection ends.
var errProtocol = errors.New("protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

func appendHeader(b []byte, h header) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(h.length))
	b = append(b, byte(h.typ), h.flags)
	return binary.BigEndian.AppendUint32(b, h.stream)
}

// parseHeader checks everything about a frame that its header tells, before
// anything is allocated for it.
func parseHeader(b *[frameHeader]byte) (header, error) {
	h := header{
		length: int(binary.BigEndian.Uint32(b[:4])),
		typ:    frameType(b[4]),
		flags:  b[5],
		stream: binary.BigEndian.Uint32(b[6:]),
	}
	if h.length > maxPayload {
		return h, protocolError("frame of %d bytes", h.length)
	}
	if h.flags != 0 && (h.typ != frameData || h.flags&^(flagEndMessage|flagEndStream|flagSize) != 0) {
		return h, protocolError("unknown flags")
	}
	exact := -1
	onStream := true
	switch h.typ {
	case frameHello:
		exact, onStream = len(hello), false
	case frameOpen, frameData:
	case frameStatus, frameRefuse:
		if h.length < 4 || h.length > 4+maxStatus {
			return h, protocolError("frame type %d of %d bytes", h.typ, h.length)
		}
	case frameReset, frameWindow:
		exact = 4
	case framePing, framePong:
		exact, onStream = 8, false
	case frameGoAway:
		exact, onStream = 4, false
	default:
		return h, protocolError("unknown frame type %d", h.typ)
	}
	if h.flags&flagSize != 0 && (h.flags != flagSize || h.length < sizePrefix) {
		return h, protocolError("SIZE where a message does not begin")
	}
	if exact >= 0 && h.length != exact {
		return h, protocolError("frame type %d of %d bytes", h.typ, h.length)
	}
	if onStream != (h.stream != 0) {
		return h, protocolError("frame type %d on stream %d", h.typ, h.stream)
	}
	return h, nil
}

// readBuffer is how much is read from the socket at once, at most.
const readBuffer = 64 << 10

// nextFrame reads one frame. The payload is in the reader's buffer: it is good
// until the next frame is read, and skipFrame must be called before.
func nextFrame(r *bufio.Reader) (header, []byte, error) {
	raw, err := r.Peek(frameHeader)
	if err != nil {
		if err == io.EOF && len(raw) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return header{}, nil, err
	}
	h, err := parseHeader((*[frameHeader]byte)(raw))
	if err != nil {
		return header{}, nil, err
	}
	all, err := r.Peek(frameHeader + h.length)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return header{}, nil, err
	}
	return h, all[frameHeader:], nil
}

// nextIsHere reports whether a whole frame is in the reader's buffer, or a
// header that will be refused.
func nextIsHere(r *bufio.Reader) bool {
	n := r.Buffered()
	if n < frameHeader {
		return false
	}
	raw, _ := r.Peek(frameHeader)
	length := binary.BigEndian.Uint32(raw)
	return length > maxPayload || n >= frameHeader+int(length)
}

func skipFrame(r *bufio.Reader, h header) { r.Discard(frameHeader + h.length) }

func append32(b []byte, t frameType, stream, v uint32) []byte {
	b = appendHeader(b, header{4, t, 0, stream})
	return binary.BigEndian.AppendUint32(b, v)
}

func append64(b []byte, t frameType, v uint64) []byte {
	b = appendHeader(b, header{8, t, 0, 0})
	return binary.BigEndian.AppendUint64(b, v)
}

func appendHello(b []byte) []byte {
	b = appendHeader(b, header{len(hello), frameHello, 0, 0})
	return append(b, hello...)
}

// appendStatus appends a STATUS, or a REFUSE, which has the same form.
func appendStatus(b []byte, t frameType, stream uint32, code Code, message string) []byte {
	if len(message) > maxStatus {
		message = message[:maxStatus]
	}
	for !utf8.ValidString(message) { // a character that was cut in two, or was none
		message = message[:len(message)-1]
	}
	b = appendHeader(b, header{4 + len(message), t, 0, stream})
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, message...)
}

func parseStatus(p []byte) (Code, string, error) {
	code, message := binary.BigEndian.Uint32(p), p[4:]
	if int(code) >= len(codeNames) || !utf8.Valid(message) {
		return 0, "", protocolError("bad STATUS")
	}
	return Code(code), string(message), nil
}

// open is the payload of OPEN. One that was parsed has its method in the
// reader's buffer.
type open struct {
	timeout  uint64 // microseconds; 0: none
	method   []byte
	metadata Metadata
}

func appendOpen(b []byte, stream uint32, o *open) []byte {
	at := len(b)
	b = appendHeader(b, header{0, frameOpen, 0, stream})
	b = binary.BigEndian.AppendUint64(b, o.timeout)
	b = append(b, byte(len(o.method)))
	b = append(b, o.method...)
	b = append(b, byte(len(o.metadata)))
	for k, v := range o.metadata {
		b = append(b, byte(len(k)))
		b = append(b, k...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-frameHeader))
	return b
}

var errBadOpen = protocolError("bad OPEN")

func parseOpen(p []byte) (open, error) {
	take := func(n int) []byte {
		if n > len(p) {
			return nil
		}
		b := p[:n]
		p = p[n:]
		return b
	}
	head := take(9)
	if head == nil {
		return open{}, errBadOpen
	}
	o := open{timeout: binary.BigEndian.Uint64(head)}
	method := take(int(head[8]))
	count := take(1)
	if len(method) == 0 || !utf8.Valid(method) || count == nil || count[0] > maxMetadata {
		return open{}, errBadOpen
	}
	o.method = method
	if count[0] > 0 {
		o.metadata = make(Metadata, count[0])
	}
	for range count[0] {
		n := take(1)
		if n == nil {
			return open{}, errBadOpen
		}
		key := take(int(n[0]))
		size := take(2)
		if len(key) == 0 || size == nil {
			return open{}, errBadOpen
		}
		value := take(int(binary.BigEndian.Uint16(size)))
		if value == nil || !utf8.Valid(key) || !utf8.Valid(value) {
			return open{}, errBadOpen
		}
		if _, dup := o.metadata[string(key)]; dup {
			return open{}, errBadOpen
		}
		o.metadata[string(key)] = string(value)
	}
	if len(p) != 0 {
		return open{}, errBadOpen
	}
	return o, nil
}

// timeoutOf turns the microseconds of OPEN into a duration, without overflow.
func timeoutOf(us uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Microsecond)
	return time.Duration(min(us, most)) * time.Microsecond
}
