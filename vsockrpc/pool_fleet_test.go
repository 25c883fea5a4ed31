package vsockrpc_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// Sizes of TestPoolFleet.
const (
	fleetTargets = 64
	fleetCallers = 96
	fleetCalls   = 40 // of each caller in each of three phases
	// slowTarget takes ten times as long as others.
	slowTarget = "new0"
)

// troubled is a network where one in twenty attempts to connect is refused,
// as many connections are gone before anything is read from them, and some
// break later, at a moment when the client would write.
type troubled struct {
	*vsocktest.Network
	ledger *ledger
	off    atomic.Bool

	mu                      sync.Mutex
	rand                    *rand.Rand
	refused, unread, broken int
}

// chance reports whether something that happens n times in a hundred does now,
// and counts that.
func (n *troubled) chance(in100 int, count *int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.off.Load() || n.rand.IntN(100) >= in100 {
		return false
	}
	*count++
	return true
}

func (n *troubled) dial(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) {
	if n.chance(5, &n.refused) {
		return nil, syscall.ECONNREFUSED
	}
	c, err := n.Dial(ctx, a.Path)
	if err == nil {
		if n.chance(5, &n.unread) {
			c.Close()
		}
		c = &breaking{Conn: c, net: n}
	}
	return c, err
}

// breaking is a connection that breaks when it is written to: nothing of that
// write is sent, and the client closes it. It notes which calls have left on it.
type breaking struct {
	net.Conn
	net    *troubled
	broken atomic.Bool
}

func (c *breaking) Write(p []byte) (int, error) {
	if c.net.chance(2, &c.net.broken) {
		c.broken.Store(true)
		return 0, syscall.EPIPE
	}
	n, err := c.Conn.Write(p)
	for _, id := range callInMetadata.FindAllSubmatch(p[:n], -1) {
		call, _ := strconv.Atoi(string(id[1]))
		c.net.ledger[call].left.Store(c)
	}
	return n, err
}

// callInMetadata is how a call's number can be seen in what is written.
var callInMetadata = regexp.MustCompile(`<call ([0-9]+)>`)

// ledger is what became of calls, by their numbers.
type ledger [3 * fleetCallers * fleetCalls]struct {
	left     atomic.Pointer[breaking] // the last connection on which it was sent
	reached  atomic.Int32             // servers, before their handlers
	executed atomic.Int32
	failed   error // as the caller sees it
}

// watch counts the calls that reach a server, also streams whose request does
// not come any more. It is the server's interceptor.
func (l *ledger) watch(ctx context.Context, _ string, next func(context.Context) error) error {
	var id int
	if _, err := fmt.Sscanf(vsockrpc.MetadataFrom(ctx)["call"], "<call %d>", &id); err != nil {
		return err
	}
	l[id].reached.Add(1)
	return next(ctx)
}

// judge says what is wrong with what became of a call. A call that failed and
// reached no server must have left on a connection that broke: nobody can know
// then that it did not come, and that is lost.
func (l *ledger) judge(id int) (lost bool, wrong string) {
	call := &l[id]
	left, reached, executed := call.left.Load(), call.reached.Load(), call.executed.Load()
	lost = reached == 0 && left != nil && left.broken.Load()
	switch {
	case reached > 1 || executed > reached:
		return false, "repeated, though it had come"
	case call.failed == nil && executed != 1:
		return false, "not executed, and ended well"
	case vsockrpc.Unprocessed(call.failed), call.failed != nil && reached == 0 && !lost:
		return false, "not repeated, though it could have been"
	}
	return lost && call.failed != nil, ""
}

// register adds the fleet's methods to a server: they take some milliseconds,
// and one in twenty calls fails, with errors that look as if it could be tried
// elsewhere. Which one, is the call's number's.
func (l *ledger) register(m *member, unprocessed error) {
	work := func(ctx context.Context, id uint32) error {
		m.calls.Add(1)
		l[id].executed.Add(1)
		r := rand.New(rand.NewPCG(1, uint64(id)))
		took := time.Duration(r.IntN(10_000)) * time.Microsecond
		if m.name == slowTarget {
			took *= 10
		}
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return ctx.Err()
		}
		switch r.IntN(60) {
		case 0:
			return vsockrpc.Unavailable
		case 1:
			return vsockrpc.ResourceExhausted
		case 2: // of a call that the handler made: it is no word about this one
			return unprocessed
		}
		return nil
	}
	m.Handle("work", func(ctx context.Context, req []byte) ([]byte, error) {
		return req, work(ctx, binary.BigEndian.Uint32(req))
	})
	vsockrpc.HandleServerStream(m.Server, "stream", func(ctx context.Context, id uint32) iter.Seq2[uint32, error] {
		return func(yield func(uint32, error) bool) {
			err := work(ctx, id)
			for i := uint32(0); i < 3 && err == nil && yield(id+i, nil); i++ {
			}
			if err != nil {
				yield(0, err)
			}
		}
	})
}

// call makes the call of a number, which says what kind it is.
func (l *ledger) call(ctx context.Context, p *vsockrpc.Pool, id uint32) error {
	ctx = vsockrpc.WithMetadata(ctx, vsockrpc.Metadata{"call": fmt.Sprintf("<call %d>", id)})
	if id%4 == 0 {
		n := uint32(0)
		for got, err := range vsockrpc.CallServerStream[uint32, uint32](ctx, p, "stream", id) {
			if err != nil {
				return err
			}
			if got != id+n {
				return fmt.Errorf("message %d is %d", n, got)
			}
			n++
		}
		if n != 3 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	}
	req := binary.BigEndian.AppendUint32(nil, id)
	resp, err := p.Call(ctx, "work", req)
	if err == nil && string(resp) != string(req) {
		err = fmt.Errorf("%q for %q", resp, req)
	}
	return err
}

// phase has all callers make their calls of one phase.
func (l *ledger) phase(ctx context.Context, p *vsockrpc.Pool, phase int) {
	var all sync.WaitGroup
	for caller := range fleetCallers {
		all.Go(func() {
			for i := range fleetCalls {
				id := uint32((phase*fleetCallers+caller)*fleetCalls + i)
				l[id].failed = l.call(ctx, p, id)
			}
		})
	}
	all.Wait()
}

// All of 64 enclaves are replaced while calls go on and one in twenty of
// everything fails. No call reaches servers twice, and none fails that certainly
// reached no server: those are repeated.
func TestPoolFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		var l ledger
		n := &troubled{Network: f.net, ledger: &l, rand: rand.New(rand.NewPCG(64, 5))}
		gone, err := vsockrpc.NewClient("mem://gone", vsockrpc.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		gone.Close()
		_, unprocessed := gone.Call(t.Context(), "work", nil)
		if !vsockrpc.Unprocessed(unprocessed) {
			t.Fatal(unprocessed)
		}

		start := func(name string) *member {
			m := newMember(name, vsockrpc.ServerOptions{Interceptors: []vsockrpc.Interceptor{l.watch}})
			l.register(m, unprocessed)
			listener, err := f.net.Listen(name)
			if err != nil {
				t.Fatal(err)
			}
			m.serve(t, listener)
			return m
		}
		var names []string
		var old []*member
		for i := range fleetTargets {
			names = append(names, fmt.Sprint("old", i))
			old = append(old, start(names[i]))
		}
		opts := vsockrpc.PoolOptions{}
		opts.Client.Dial = n.dial
		addrs := make([]string, len(names))
		for i, name := range names {
			addrs[i] = "mem://" + name
		}
		p, err := vsockrpc.NewPool(addrs, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()

		// The first phase is trouble only; in the second all are replaced,
		// every other after it has shut down by itself; in the third all is
		// well.
		l.phase(t.Context(), p, 0)
		var rolling sync.WaitGroup
		young := make([]*member, fleetTargets)
		for worker := range 4 {
			rolling.Go(func() {
				for i := worker; i < fleetTargets; i += 4 {
					if i/4%2 == 0 {
						if err := old[i].Shutdown(t.Context()); err != nil {
							t.Error(err)
						}
					}
					name := fmt.Sprint("new", i)
					young[i] = start(name)
					if err := p.Replace(t.Context(), "mem://"+names[i], "mem://"+name); err != nil {
						t.Error(err)
					}
					old[i].Close()
				}
			})
		}
		l.phase(t.Context(), p, 1)
		rolling.Wait()
		n.off.Store(true)
		time.Sleep(10 * time.Second) // until all are found well
		var before []int64
		meanwhile := int64(0)
		for _, m := range young {
			before = append(before, m.calls.Load())
			meanwhile += m.calls.Load()
		}
		l.phase(t.Context(), p, 2)

		failed, lost := 0, 0
		for id := range l {
			gone, wrong := l.judge(id)
			if wrong != "" {
				t.Errorf("call %d came %d times and was executed %d times, its error is %v: %s",
					id, l[id].reached.Load(), l[id].executed.Load(), l[id].failed, wrong)
			}
			if gone {
				lost++
			}
			if l[id].failed != nil {
				failed++
			}
		}
		targets := p.Targets()
		if len(targets) != fleetTargets {
			t.Errorf("%d targets", len(targets))
		}
		for _, s := range targets {
			if !s.Healthy || s.InFlight != 0 || s.Calls == 0 {
				t.Errorf("%+v", s)
			}
		}
		// Calls go to who has the fewest, so that all have much the same, and
		// the slow one has less.
		const fair = fleetCallers * fleetCalls / fleetTargets
		least, most, slow := int64(math.MaxInt64), int64(0), int64(0)
		for i, m := range young {
			got := m.calls.Load() - before[i]
			if m.name == slowTarget {
				slow = got
				continue
			}
			least, most = min(least, got), max(most, got)
		}
		if least < fair/2 || most > fair*2 || slow > fair/2 {
			t.Errorf("targets had %d to %d calls, and the slow one %d, where %d are fair", least, most, slow, fair)
		}
		t.Logf("targets had %d to %d calls in the last phase, and the slow one %d", least, most, slow)
		t.Logf("%d calls, %d of them by new targets while these came, %d failed, %d of them on their way; %d connections were refused, %d unread, %d broken",
			len(l), meanwhile, failed, lost, n.refused, n.unread, n.broken)
		if meanwhile < 500 || lost > len(l)/200 || n.refused < 3 || n.unread < 3 || n.broken < 50 || failed < len(l)/40 || failed > len(l)/5 {
			t.Error("that is not the trouble that was meant")
		}
	})
}
