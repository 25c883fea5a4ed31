package vsockrpc

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "run TestModel with this seed only")
	modelRuns = flag.Uint64("model.runs", 80, "how many seeds TestModel runs")
)

// TestModel runs calls of all kinds on one client at the same time, with
// accidents of all kinds in between, and compares what each side of each call
// sees with a model of it. -model.seed repeats a run that failed: the same
// calls and accidents, though goroutines may meet in another order.
func TestModel(t *testing.T) {
	seeds := []uint64{*modelSeed}
	if *modelSeed == 0 {
		seeds = nil
		for n := range *modelRuns {
			seeds = append(seeds, n+1)
		}
	}
	total := modelCounts{}
	for _, seed := range seeds {
		b := make([]byte, 1500)
		rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(b)
		total.add(runModel(t, b, fmt.Sprintf("-model.seed=%d", seed)))
		if t.Failed() {
			t.Fatalf("repeat it with -run TestModel -model.seed=%d", seed)
		}
	}
	t.Logf("%+v", total)
	if *modelSeed == 0 && *modelRuns >= 80 {
		for name, n := range map[string]int{"answered": total.answered, "failed": total.failed, "cancelled": total.cancelled,
			"late": total.late, "broken": total.broken, "refused": total.refused, "messages": total.messages / 50} {
			if n < 50 {
				t.Errorf("only %d %s: the model is not exercised", n, name)
			}
		}
	}
}

// FuzzInterleaving is TestModel with what happens taken from the input.
func FuzzInterleaving(f *testing.F) {
	for seed := range byte(8) {
		b := make([]byte, 200)
		rand.NewChaCha8([32]byte{seed}).Read(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 300 {
			t.Skip("long inputs are slow and show nothing new")
		}
		runModel(t, in, fmt.Sprintf("input %q", in))
	})
}

// What the model's messages are made of, and how large they may be.
var modelText = func() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{'m'}).Read(b)
	return b
}()

const modelLimit = 300 << 10

// modelSizes has those around which frames and windows end, and one that is
// too large.
var modelSizes = [...]int{0, 1, 100, 5000, maxPayload - 4, maxPayload - 3, maxPayload, maxPayload + 1, 70_000, initialWindow - frameHeader, initialWindow, modelLimit, modelLimit + 1}

// modelScript gives choices until it ends, and then always the first.
type modelScript struct{ b []byte }

func (s *modelScript) choose(n int) int {
	if len(s.b) == 0 {
		return 0
	}
	v := int(s.b[0]) % n
	s.b = s.b[1:]
	return v
}

func (s *modelScript) one(in int) bool { return s.choose(in) == in-1 }

func (s *modelScript) time() time.Duration {
	return [...]time.Duration{0, time.Microsecond, time.Millisecond, 3 * time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond}[s.choose(6)]
}

// modelCall is a call as it is planned, and what has become of it.
type modelCall struct {
	id           int
	method       string
	deadline     time.Duration // 0: none
	cancel       time.Duration // when the client cancels; 0: never
	up, down     []int         // sizes of messages
	upPause      time.Duration // before each
	downPause    time.Duration
	noEnd        bool          // the client does not say that it sends no more
	clientReads  int           // messages, then it closes the call; -1: up to the end
	handlerReads int           // messages; -1: up to the end
	stall        time.Duration // before the handler reads
	clientStall  time.Duration
	waits        bool // the handler waits until its context ends
	panics       bool
	code         Code

	mu           sync.Mutex
	began        time.Time
	client       *modelClient
	sent, got    [2]int // by direction; sent counts those that were begun
	closed       bool   // CloseSend was called
	runs         int    // of the handler
	handlerEnded time.Time
	clientEnded  time.Time
	gaveUp       bool // the client cancelled or closed it
	failedSends  bool // of the handler
}

const (
	modelUp   = 0
	modelDown = 1
)

// message is the call's message of a number.
func (p *modelCall) message(direction, n int) []byte {
	sizes := p.up
	if direction == modelDown {
		sizes = p.down
	}
	if p.method == "lent" {
		direction = modelUp // the answer is part of the request
	}
	at := (p.id*7919 + direction*104_729 + n*1_299_709) % (len(modelText) / 2)
	return modelText[at : at+sizes[n]]
}

// model is a run.
type model struct {
	t    *testing.T
	name string
	net  *vsocktest.Network

	mu      sync.Mutex
	calls   []*modelCall
	breaks  int // accidents that make calls unavailable
	delays  int // accidents that take time
	servers []*modelServer
	conns   map[*conn]string
	counts  modelCounts
}

type modelServer struct {
	*Server
	served chan error
}

type modelClient struct {
	*Client
	closed bool
}

// modelCounts says what happened.
type modelCounts struct {
	answered, failed, cancelled, late, broken, refused, messages int
}

func (c *modelCounts) add(o modelCounts) {
	c.answered += o.answered
	c.failed += o.failed
	c.cancelled += o.cancelled
	c.late += o.late
	c.broken += o.broken
	c.refused += o.refused
	c.messages += o.messages
}

// noDeadlines is a connection that cannot be read by callers.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func runModel(t *testing.T, in []byte, name string) (counts modelCounts) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil { // a deadlock of the bubble
			panic(fmt.Sprintf("%v: %v", name, v))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		s := &modelScript{in}
		m := &model{t: t, name: name, conns: map[*conn]string{}}
		m.run(s)
		counts = m.counts
	})
	return counts
}

func (m *model) errorf(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("%s: %s", m.name, fmt.Sprintf(format, args...))
}

func (m *model) run(s *modelScript) {
	m.net = vsocktest.NewNetwork(vsocktest.Options{Seed: uint64(s.choose(256)), Buffer: [...]int{0, 1000, 40_000}[s.choose(3)]})
	faults := vsocktest.Faults{}
	weather := func() {
		faults = vsocktest.Faults{
			Latency: [...]time.Duration{0, 0, time.Microsecond, time.Millisecond}[s.choose(4)],
			MaxRead: [...]int{0, 0, 700, 3000, 20_000}[s.choose(5)],
		}
		m.net.Set(vsocktest.Both, faults)
	}
	weather()
	maxStreams := [...]int{0, 0, 0, 3}[s.choose(4)]
	calm := s.one(2) // nothing makes calls unavailable
	shared := !s.one(4)
	m.serve(maxStreams)
	dial := func() *modelClient {
		c, err := NewClient("mem://model", ClientOptions{MaxMessageSize: modelLimit, Keepalive: 20 * time.Second,
			Dial: func(ctx context.Context, _ Addr) (net.Conn, error) {
				nc, err := m.net.Dial(ctx, worldName)
				if err == nil && !shared {
					nc = noDeadlines{nc}
				}
				return nc, err
			}})
		if err != nil {
			m.t.Fatal(err)
		}
		return &modelClient{Client: c}
	}
	c := dial()
	var all, accidents sync.WaitGroup
	for len(s.b) > 0 && len(m.calls) < 40 {
		m.remember(c)
		op := s.choose(24)
		if calm && op > 20 {
			op = 0
		}
		switch op {
		default:
			p := m.plan(s, c)
			all.Go(func() { m.call(p) })
		case 14, 15, 16:
			time.Sleep(s.time())
		case 17:
			synctest.Wait()
		case 18:
			weather()
		case 19:
			m.note(&m.delays)
			m.net.Set(vsocktest.Direction(1+s.choose(3)), vsocktest.Faults{Stall: true})
			f := faults
			time.AfterFunc(time.Duration(1+s.choose(200))*10*time.Millisecond, func() { m.net.Set(vsocktest.Both, f) })
		case 20:
			c := c
			all.Go(func() { // a PING is a call, too
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := c.Ping(ctx); err != nil && m.noted(&m.breaks) == 0 {
					m.errorf("PING: %v", err)
				}
			})
		case 21:
			if links := m.net.Links(); len(links) > 0 && s.one(2) {
				m.note(&m.breaks)
				links[len(links)-1].Set(vsocktest.Both, vsocktest.Faults{CutAfter: new(0)})
			}
		case 22:
			if s.one(2) {
				m.note(&m.breaks)
				old := m.servers[len(m.servers)-1]
				patience := s.time()
				accidents.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					old.Shutdown(ctx)
				})
				synctest.Wait()
				m.serve(maxStreams)
			}
		case 23:
			if s.one(4) {
				m.note(&m.breaks)
				m.mu.Lock()
				c.closed = true
				m.mu.Unlock()
				old := c
				accidents.Go(func() { old.Close() })
				c = dial()
			}
		}
	}
	m.remember(c)
	m.end(c, &all, &accidents)
}

func (m *model) note(counter *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*counter++
}

func (m *model) noted(counter *int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *counter
}

// serve starts a server, in the place of one before.
func (m *model) serve(maxStreams int) {
	srv := &modelServer{NewServer(ServerOptions{MaxMessageSize: modelLimit, MaxStreams: maxStreams, Keepalive: 20 * time.Second}), make(chan error, 1)}
	srv.HandleStream("stream", m.handle)
	for _, method := range []string{"unary", "lent"} {
		h := func(ctx context.Context, req []byte) (resp []byte, err error) { return m.answer(ctx, req) }
		if method == "lent" {
			srv.HandleLent(method, h)
		} else {
			srv.Handle(method, h)
		}
	}
	l, err := m.net.Listen(worldName)
	if err != nil {
		m.t.Fatal(err)
	}
	go func() { srv.served <- srv.Serve(l) }()
	m.mu.Lock()
	m.servers = append(m.servers, srv)
	m.mu.Unlock()
}

// remember notes the connections that there are.
func (m *model) remember(c *modelClient) {
	for _, srv := range m.servers {
		srv.mu.Lock()
		for k := range srv.conns {
			m.conns[k] = "server"
		}
		srv.mu.Unlock()
	}
	c.mu.Lock()
	for k := range c.conns {
		m.conns[k] = "client"
	}
	c.mu.Unlock()
}

// plan chooses what a call does.
func (m *model) plan(s *modelScript, c *modelClient) *modelCall {
	sizes := func(n int) (all []int) {
		for range n {
			size := s.choose(4 * len(modelSizes))
			if size >= len(modelSizes) {
				size %= len(modelSizes) - 1 // few are too large
			}
			all = append(all, modelSizes[size])
		}
		return all
	}
	p := &modelCall{client: c, clientReads: -1, handlerReads: -1}
	p.method = [...]string{"stream", "stream", "unary", "lent"}[s.choose(4)]
	if s.one(4) {
		p.deadline = time.Microsecond + s.time()
	}
	if s.one(5) {
		p.cancel = time.Nanosecond + s.time()
	}
	switch p.method {
	case "unary":
		p.up, p.down = sizes(1), sizes(1)
	case "lent":
		p.up = sizes(1)
		p.down = []int{p.up[0] / (1 + s.choose(3))}
	default:
		p.up, p.down = sizes(s.choose(6)), sizes(s.choose(6))
		p.noEnd = s.one(5)
		if s.one(4) {
			p.clientReads = s.choose(4)
		}
		if s.one(4) {
			p.handlerReads = s.choose(4)
			if p.noEnd {
				p.handlerReads = min(p.handlerReads, len(p.up))
			}
		}
		if s.one(4) {
			p.upPause = s.time()
		}
		if s.one(4) {
			p.downPause = s.time()
		}
		if s.one(4) {
			p.clientStall = s.time()
		}
	}
	if s.one(4) {
		p.stall = s.time()
	}
	p.waits, p.panics = s.one(8), s.one(10)
	if s.one(4) {
		p.code = Code(s.choose(len(codeNames)))
	}
	if (p.waits || p.noEnd && p.handlerReads < 0) && p.deadline == 0 && p.cancel == 0 {
		p.deadline = time.Second // or it would never end
	}
	m.mu.Lock()
	p.id = len(m.calls)
	m.calls = append(m.calls, p)
	m.mu.Unlock()
	return p
}

// find is the call that a handler serves. It notes that it runs.
func (m *model) find(ctx context.Context) *modelCall {
	id, err := strconv.Atoi(MetadataFrom(ctx)["id"])
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || id >= len(m.calls) {
		m.t.Errorf("%s: metadata %v", m.name, MetadataFrom(ctx))
		return nil
	}
	p := m.calls[id]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs++; p.runs > 1 {
		m.t.Errorf("%s: call %d was executed %d times", m.name, id, p.runs)
	}
	if deadline, ok := ctx.Deadline(); ok != (p.deadline > 0) {
		m.t.Errorf("%s: call %d has the deadline %v, %v", m.name, id, deadline, ok)
	}
	return p
}

// finish is how a handler ends.
func (m *model) finish(ctx context.Context, p *modelCall) error {
	if p.waits {
		<-ctx.Done()
	}
	if p.panics {
		panic("as planned")
	}
	if p.code != OK {
		return p.code
	}
	return nil
}

func (p *modelCall) handlerEnds() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlerEnded = time.Now()
}

// answer is the handler of unary calls.
func (m *model) answer(ctx context.Context, req []byte) ([]byte, error) {
	p := m.find(ctx)
	if p == nil {
		return nil, NotFound
	}
	defer p.handlerEnds()
	m.took(p, modelUp, req)
	time.Sleep(p.stall)
	if err := m.finish(ctx, p); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.sent[modelDown]++
	p.mu.Unlock()
	if p.method == "lent" {
		return req[:p.down[0]], nil
	}
	return p.message(modelDown, 0), nil
}

// handle is the handler of streams.
func (m *model) handle(ctx context.Context, st *ServerStream) error {
	p := m.find(ctx)
	if p == nil {
		return NotFound
	}
	defer p.handlerEnds()
	sending := make(chan error, 1)
	go func() { sending <- m.sendAll(p, modelDown, p.downPause, st.Send) }()
	time.Sleep(p.stall)
	err := m.receive(p, modelUp, p.handlerReads, st.Recv)
	if e := <-sending; e != nil {
		p.mu.Lock()
		p.failedSends = true
		p.mu.Unlock()
		m.justified(p, "the handler's Send", e)
		return e
	}
	if err != nil && err != io.EOF {
		m.justified(p, "the handler's Recv", err)
		return err
	}
	if err == io.EOF {
		p.mu.Lock()
		if !p.closed || p.got[modelUp] != len(p.up) {
			m.errorf("call %d: the handler has the end after %d of %d messages (CloseSend: %v)", p.id, p.got[modelUp], len(p.up), p.closed)
		}
		p.mu.Unlock()
	}
	return m.finish(ctx, p)
}

func (m *model) sendAll(p *modelCall, direction int, pause time.Duration, send func([]byte) error) error {
	sizes := p.up
	if direction == modelDown {
		sizes = p.down
	}
	for n := range sizes {
		time.Sleep(pause)
		p.mu.Lock()
		p.sent[direction]++
		p.mu.Unlock()
		msg := bytes.Clone(p.message(direction, n))
		err := send(msg)
		clear(msg) // the sender may use it again
		if err != nil {
			return err
		}
	}
	return nil
}

// receive receives messages, most at most, or up to the end or an error.
func (m *model) receive(p *modelCall, direction, most int, recv func() ([]byte, error)) error {
	for n := 0; n != most; n++ {
		msg, err := recv()
		if err != nil {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return err // of this side; what arrives before the call ends can still be received
			}
			// A handler that has had all messages may yet learn that the call broke.
			if again, e := recv(); again != nil || e == nil || direction == modelDown && (CodeOf(e) != CodeOf(err) || (e == io.EOF) != (err == io.EOF)) {
				m.errorf("call %d: after %v comes %d bytes, %v", p.id, err, len(again), e)
			}
			return err
		}
		m.took(p, direction, msg)
	}
	return nil
}

// took takes a message that was received: the next one, whole.
func (m *model) took(p *modelCall, direction int, msg []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.got[direction]
	p.got[direction]++
	if n >= p.sent[direction] {
		m.errorf("call %d: message %d of direction %d was never sent", p.id, n, direction)
	} else if !bytes.Equal(msg, p.message(direction, n)) {
		m.errorf("call %d: message %d of direction %d is another, of %d bytes", p.id, n, direction, len(msg))
	}
}

// justified checks that a call may have ended under its handler, or under a
// sender.
func (m *model) justified(p *modelCall, what string, err error) {
	if m.noted(&m.breaks) > 0 || p.tooLarge() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gaveUp && !p.late() {
		m.errorf("call %d: %s: %v", p.id, what, err)
	}
}

// late reports whether the call's deadline has passed, on either side: OPEN
// carries whole microseconds. It needs p.mu.
func (p *modelCall) late() bool {
	return p.deadline > 0 && time.Since(p.began) > p.deadline-time.Microsecond
}

func (p *modelCall) tooLarge() bool {
	for _, sizes := range [][]int{p.up, p.down} {
		for _, n := range sizes {
			if n > modelLimit {
				return true
			}
		}
	}
	return false
}

func (p *modelCall) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gaveUp = true
}

// call makes a call and checks how it ends.
func (m *model) call(p *modelCall) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.mu.Lock()
	p.began = time.Now()
	p.mu.Unlock()
	if p.deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.deadline)
		defer cancel()
	}
	if p.cancel > 0 {
		timer := time.AfterFunc(p.cancel, func() {
			p.giveUp()
			cancel()
		})
		defer timer.Stop()
	}
	ctx = WithMetadata(ctx, Metadata{"id": strconv.Itoa(p.id)})
	p.sentUp(p.method != "stream")
	var err error
	if p.method == "stream" {
		err = m.stream(ctx, p)
	} else {
		err = m.unary(ctx, p)
	}
	p.mu.Lock()
	p.clientEnded = time.Now()
	p.mu.Unlock()
	m.judge(p, err)
}

// sentUp notes that a unary call sends its message.
func (p *modelCall) sentUp(unary bool) {
	if unary {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sent[modelUp] = 1
	}
}

func (m *model) unary(ctx context.Context, p *modelCall) error {
	req := bytes.Clone(p.message(modelUp, 0))
	if p.id%2 == 0 {
		resp, err := p.client.Call(ctx, p.method, req)
		clear(req)
		if err == nil {
			m.took(p, modelDown, resp)
		} else if resp != nil {
			m.errorf("call %d: %d bytes beside %v", p.id, len(resp), err)
		}
		return err
	}
	room := bytes.Repeat([]byte{0xee}, 10+p.id*2000)
	dst := room[:10]
	resp, err := p.client.AppendCall(ctx, dst, p.method, req)
	clear(req)
	if !bytes.Equal(resp[:10], bytes.Repeat([]byte{0xee}, 10)) {
		m.errorf("call %d: dst was changed", p.id)
	}
	if err == nil {
		m.took(p, modelDown, resp[10:])
	}
	// Nothing is written there when the call has returned.
	after := bytes.Clone(room)
	time.Sleep(10 * time.Second)
	if !bytes.Equal(room, after) {
		m.errorf("call %d: dst was written to after AppendCall", p.id)
	}
	return err
}

func (m *model) stream(ctx context.Context, p *modelCall) error {
	st, err := p.client.Stream(ctx, p.method)
	if err != nil {
		return err
	}
	sending := make(chan error, 1)
	go func() {
		err := m.sendAll(p, modelUp, p.upPause, st.Send)
		if err == nil && !p.noEnd {
			p.mu.Lock()
			p.closed = true
			p.mu.Unlock()
			st.CloseSend()
		} else if err != nil && p.id%2 == 0 {
			st.CloseSend() // as a deferred one would; the handler must not see it
		}
		sending <- err
	}()
	time.Sleep(p.clientStall)
	err = m.receive(p, modelDown, p.clientReads, st.Recv)
	if err == nil {
		p.giveUp()
	}
	st.Close()
	if e := <-sending; e != nil && e != io.EOF && CodeOf(e) != CodeOf(err) {
		m.justified(p, "the client's Send", e)
	}
	if err == nil {
		return &Error{Code: Canceled}
	}
	return err
}

// judge checks that a call may end as it did.
func (m *model) judge(p *modelCall, err error) {
	if err == io.EOF {
		err = nil
	}
	breaks := m.noted(&m.breaks)
	m.mu.Lock()
	closed := p.client.closed
	m.mu.Unlock()
	counter, messages := m.compare(p, err, breaks, closed)
	m.mu.Lock()
	*counter++
	m.counts.messages += messages
	m.mu.Unlock()
}

// compare is judge for who knows what happened meanwhile. It returns what to
// count the call as, and its messages.
func (m *model) compare(p *modelCall, err error, breaks int, closed bool) (*int, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := CodeOf(err)
	counter := &m.counts.failed
	whole := p.runs == 1 && !p.handlerEnded.IsZero() && !p.failedSends && p.got[modelDown] == p.sent[modelDown]
	allowed := false
	switch code {
	case OK:
		counter = &m.counts.answered
		allowed = whole && p.code == OK && !p.panics && p.got[modelDown] == len(p.down)
	case Canceled:
		counter = &m.counts.cancelled
		allowed = p.gaveUp || closed
	case DeadlineExceeded:
		counter = &m.counts.late
		allowed = p.late()
	case Unavailable:
		counter = &m.counts.broken
		allowed = breaks > 0
	case ResourceExhausted:
		counter = &m.counts.refused
		allowed = Unprocessed(err) && p.runs == 0 || p.tooLarge()
	case Internal:
		allowed = p.panics && whole
	}
	if code != OK && code == p.code && !p.panics && whole {
		allowed = true
	}
	if !allowed {
		m.errorf("call %d: %v; got %v of %v sent, %d runs, code %v, panics %v, gave up %v, too large %v, %d breaks", p.id, err, p.got, p.sent, p.runs, p.code, p.panics, p.gaveUp, p.tooLarge(), breaks)
		m.t.Logf("deadline %v, after %v; cancel %v", p.deadline, time.Since(p.began), p.cancel)
	}
	if Unprocessed(err) && p.runs > 0 {
		m.errorf("call %d: a handler ran, and yet: %v", p.id, err)
	}
	return counter, p.got[modelUp] + p.got[modelDown]
}

// end waits for all calls and checks that nothing is left of them.
func (m *model) end(c *modelClient, all, accidents *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		all.Wait()
		accidents.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Hour): // keepalive's clock runs on, so the bubble does not see a deadlock
		stacks := make([]byte, 1<<20)
		panic(fmt.Sprintf("a call never ends:\n%s", stacks[:runtime.Stack(stacks, true)]))
	}
	m.net.Set(vsocktest.Both, vsocktest.Faults{})
	time.Sleep(8 * time.Second) // for what the calls left, and less than keepalive takes
	synctest.Wait()
	m.remember(c)
	for _, srv := range m.servers {
		if n := srv.Stats().Calls; n != 0 {
			m.errorf("%d handlers run", n)
		}
	}
	for k, side := range m.conns {
		checkEmpty(m.t, m.name+": "+side, k)
	}
	for _, p := range m.calls {
		p.mu.Lock()
		if late := p.handlerEnded.Sub(p.clientEnded); p.runs > 0 && late > 5*time.Second {
			m.errorf("call %d: the handler ended %v after the call", p.id, late)
		}
		p.mu.Unlock()
	}
	if m.breaks == 0 && len(m.net.Links()) > 1 {
		m.errorf("%d connections", len(m.net.Links()))
	}
	if err := c.Ping(m.t.Context()); err != nil {
		m.errorf("PING at the end: %v", err)
	}
	c.Close()
	for _, srv := range m.servers {
		srv.Close()
		if err := <-srv.served; err != ErrServerClosed {
			m.errorf("Serve: %v", err)
		}
	}
	m.net.Close()
}
