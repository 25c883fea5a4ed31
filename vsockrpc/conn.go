package vsockrpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of both sides.
const (
	// DefaultMaxMessageSize is how large a message may be, in bytes, where
	// options do not say.
	DefaultMaxMessageSize = 4 << 20
	// DefaultKeepalive is how long a connection may be silent before it is
	// tested, where options do not say. A peer that does not answer within as
	// long again is given up.
	DefaultKeepalive = 15 * time.Second

	// defaultMaxHeld bounds the messages that wait on one connection to be
	// received, in bytes. Calls beyond it fail, so that many streams cannot
	// together take the memory that each alone may.
	defaultMaxHeld = 64 << 20
)

// conn is one connection, seen from either side.
type conn struct {
	net       net.Conn
	out       *outbox
	limit     int // of a message, in bytes
	maxHeld   int64
	held      atomic.Int64 // bytes of messages that were not received yet, of all streams, without ownHeld of each
	keepalive time.Duration
	log       *slog.Logger
	began     time.Time
	lastRead  atomic.Int64 // nanoseconds since began, by the monotonic clock; 0 before anything was
	gone      chan struct{}
	full      chan struct{} // closed when no more calls can begin: with GOAWAY, and with the connection
	fullOnce  sync.Once

	turn    turn
	in      *bufio.Reader // belongs to whoever has the turn, as does greeted
	greeted bool          // HELLO has come
	ended   chan error    // why reading has ended; capacity 1

	// What only one side does; nil on the other.
	onOpen   func(id uint32, o open) error // server
	onReset  func(s *stream)               // server
	onStatus func(s *stream, e *Error)     // client
	onGoAway func()                        // client

	mu       sync.Mutex
	streams  map[uint32]*stream
	lastID   uint32                   // the newest stream's
	pings    map[uint64]chan struct{} // those without an answer; nil before the first
	lastPing uint64
	away     bool   // the peer takes no more calls
	err      *Error // why the connection is over
}

func newConn(nc net.Conn, limit int, keepalive time.Duration, log *slog.Logger) *conn {
	c := &conn{
		began: time.Now(), net: nc, out: newOutbox(nc), limit: limit, maxHeld: int64(max(defaultMaxHeld, 2*(limit+messageCost))), keepalive: keepalive, log: log,
		gone: make(chan struct{}), full: make(chan struct{}), ended: make(chan error, 1), streams: map[uint32]*stream{},
	}
	c.in = bufio.NewReaderSize(listener{c}, readBuffer)
	c.out.put(appendHello) // before anything else can be
	return c
}

// serve runs the connection until it ends, and returns why.
func (c *conn) serve() *Error {
	written := make(chan struct{})
	go func() {
		c.out.run()
		c.net.Close() // ends the reader, too
		close(written)
	}()
	if c.keepalive > 0 {
		go c.keepAlive()
	}
	c.turn.mu.Lock()
	if c.turn.shared {
		c.watchTurn()
	} else {
		c.startReading()
	}
	c.turn.mu.Unlock()
	err := <-c.ended
	end := &Error{Code: Unavailable, Message: "the connection broke", cause: err}
	if errors.Is(err, errProtocol) {
		c.log.Warn("vsockrpc: the peer broke the protocol", "error", err)
		// A peer that does not read must not keep the last frame waiting.
		c.net.SetWriteDeadline(time.Now().Add(time.Second))
		c.out.put(func(b []byte) []byte { return append32(b, frameGoAway, 0, uint32(Internal)) })
		c.out.close()
	} else {
		if own, ok := c.out.fail(err).(*Error); ok {
			end = own // this side ended the connection
		}
		c.net.Close() // ends a write that is under way
		<-written     // and then it is known what of it was sent, for fail to tell
	}
	e := c.fail(end)
	<-written
	c.takeNone()
	close(c.gone)
	return e
}

// takeNone lets calls go on that wait to begin. Another connection may take them.
func (c *conn) takeNone() { c.fullOnce.Do(func() { close(c.full) }) }

// fail ends the connection and every call on it. The first reason stays.
func (c *conn) fail(e *Error) *Error {
	c.mu.Lock()
	if c.err == nil {
		c.err = e
	}
	e = c.err
	all := c.streams
	c.streams = nil
	c.mu.Unlock()
	for _, s := range all {
		if c.onStatus != nil && !c.out.reached(s.opened) {
			s.end(&Error{Code: e.Code, Message: e.Message, cause: e.cause, unprocessed: true})
		} else {
			s.end(e)
		}
		if c.onReset != nil {
			c.onReset(s)
		}
	}
	return e
}

// close ends the connection at once.
func (c *conn) close(e *Error) {
	c.out.fail(e) // first, so that nothing is sent that fail finds unsent
	c.fail(e)
	c.net.Close()
	c.turn.mu.Lock()
	c.startReading() // to find that out
	c.turn.mu.Unlock()
}

// open begins a stream on the client's side. The number is taken and OPEN is
// queued under one lock, since OPENs must go out in the order of their numbers.
// In a unary call the message follows at once, so OPEN waits for it, and into
// may have room for the answer.
func (c *conn) open(o open, unary bool, into []byte) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if c.away {
		return nil, errorf(Unavailable, "the server is shutting down")
	}
	if c.lastID == 1<<32-1 {
		return nil, errorf(Unavailable, "the connection has used up its stream ids")
	}
	c.lastID++
	s := newStream(c, c.lastID)
	s.unary, s.into = unary, into
	c.streams[s.id] = s
	if !c.out.begin() { // writing has failed, and reading has not found out yet
		delete(c.streams, s.id)
		return nil, errorf(Unavailable, "the connection broke")
	}
	c.out.buf = appendOpen(c.out.buf, s.id, &o)
	s.opened = c.out.end()
	if unary {
		c.out.hold()
	} else {
		c.out.flush()
	}
	return s, nil
}

// errDone is how a call ends well.
var errDone = &Error{Code: OK}

func (c *conn) remove(s *stream) {
	c.mu.Lock()
	delete(c.streams, s.id)
	over := c.away && len(c.streams) == 0
	c.mu.Unlock()
	if over {
		c.out.close()
	}
}

// goneAway takes a server's GOAWAY. The connection ends with its last call; the
// server waits for that, so that no answer is lost, and no call that crossed
// GOAWAY without its REFUSE.
func (c *conn) goneAway() {
	c.mu.Lock()
	c.away = true
	over := len(c.streams) == 0
	c.mu.Unlock()
	c.takeNone()
	c.onGoAway()
	if over {
		c.out.close()
	}
}

// takesCalls reports whether streams can be opened, on the client's side.
func (c *conn) takesCalls() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.away
}

// find returns the stream of a frame: nil without an error for one that has
// ended already.
func (c *conn) find(id uint32) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		return s, nil
	}
	if id > c.lastID {
		return nil, protocolError("frame on stream %d, which was never opened", id)
	}
	return nil, nil
}

// listener reads from the connection and notes when something was heard.
type listener struct{ c *conn }

func (l listener) Read(p []byte) (int, error) {
	n, err := l.c.net.Read(p)
	if n > 0 {
		l.c.lastRead.Store(max(int64(time.Since(l.c.began)), 1))
	}
	return n, err
}

// step reads a frame, and handles it and all others that have arrived with it.
func (c *conn) step() error {
	for {
		h, p, err := nextFrame(c.in)
		if err != nil {
			return err
		}
		if err := c.frame(h, p); err != nil {
			return err
		}
		skipFrame(c.in, h)
		if !nextIsHere(c.in) {
			return nil
		}
	}
}

// frame handles one frame. The payload is only good until it returns.
func (c *conn) frame(h header, p []byte) error {
	if !c.greeted {
		if h.typ != frameHello || string(p) != hello {
			return protocolError("the peer speaks another protocol or version")
		}
		c.greeted = true
		return nil
	}
	switch h.typ {
	case framePing:
		return c.out.reply(func(b []byte) []byte { return append64(b, framePong, binary.BigEndian.Uint64(p)) })
	case framePong:
		c.ponged(binary.BigEndian.Uint64(p))
		return nil
	case frameGoAway:
		if c.onGoAway != nil {
			c.goneAway()
		}
		return nil
	case frameOpen:
		return c.opened(h.stream, p)
	case frameHello:
		return protocolError("a second HELLO")
	}
	s, err := c.find(h.stream)
	if err != nil || s == nil {
		return err
	}
	switch h.typ {
	case frameData:
		if len(p) == 0 && h.flags == flagEndStream {
			return s.endStream()
		}
		if err := s.data(p, h.flags, c.limit); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				return err
			}
			c.reset(s, e)
		}
	case frameWindow:
		return s.widen(binary.BigEndian.Uint32(p))
	case frameReset:
		code := Code(binary.BigEndian.Uint32(p))
		if int(code) >= len(codeNames) || code == OK {
			return protocolError("bad RESET")
		}
		c.remove(s)
		s.end(&Error{Code: code, Message: "the peer ended the call"})
		if c.onReset != nil {
			c.onReset(s)
		}
	case frameStatus, frameRefuse:
		if c.onStatus == nil {
			return protocolError("STATUS or REFUSE from a client")
		}
		code, message, err := parseStatus(p)
		if err != nil {
			return err
		}
		if h.typ == frameRefuse {
			return c.refused(s, code, message)
		}
		if code == OK && s.cut() {
			code, message = Internal, "the server ended the call inside a message"
		}
		c.remove(s)
		if code == OK {
			c.onStatus(s, errDone)
		} else {
			c.onStatus(s, &Error{Code: code, Message: message})
		}
	}
	return nil
}

// refused takes a REFUSE: the call was not begun.
func (c *conn) refused(s *stream, code Code, message string) error {
	if code == OK || s.begun() {
		return protocolError("REFUSE of a call that was begun, or with code 0")
	}
	if code == Unavailable {
		c.goneAway()
	}
	c.remove(s)
	c.onStatus(s, &Error{Code: code, Message: message, unprocessed: true})
	return nil
}

func (c *conn) opened(id uint32, p []byte) error {
	if c.onOpen == nil {
		return protocolError("OPEN from a server")
	}
	c.mu.Lock()
	next := c.lastID + 1 // 0, which is no stream, after the last
	if id == next {
		c.lastID = id
	}
	c.mu.Unlock()
	if id != next {
		return protocolError("stream %d opened where %d comes next", id, next)
	}
	o, err := parseOpen(p)
	if err != nil {
		return err
	}
	return c.onOpen(id, o)
}

// reset ends a call from this side and tells the peer.
func (c *conn) reset(s *stream, e *Error) {
	if !s.end(e) {
		return
	}
	c.kick(s)
	c.remove(s)
	c.out.put(func(b []byte) []byte { return append32(b, frameReset, s.id, uint32(e.Code)) })
	if c.onReset != nil {
		c.onReset(s)
	}
}
