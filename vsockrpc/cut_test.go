package vsockrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// conversation is an exchange that is cut everywhere, and checks what of it
// arrived on both sides.
type conversation struct {
	register func(s *Server, arrived *conversationState)
	// talk returns nil only if all arrived.
	talk func(ctx context.Context, c *Client, arrived *conversationState) error
}

// conversationState counts messages that arrived whole.
type conversationState struct {
	server, client atomic.Int32
	bad            atomic.Bool // one that was not
	complete       atomic.Bool // the server's side has seen the end of the client's messages
}

// letter is the message of a number: its length follows from it, and all of
// its bytes.
func letter(n int, sizes []int) []byte {
	b := make([]byte, sizes[n%len(sizes)])
	rand.NewChaCha8([32]byte{byte(n), 1}).Read(b)
	return b
}

func (a *conversationState) take(counter *atomic.Int32, m []byte, sizes []int) {
	if n := counter.Add(1); !bytes.Equal(m, letter(int(n)-1, sizes)) {
		a.bad.Store(true)
	}
}

// receive counts messages up to the end, and returns nil if there were want.
func (a *conversationState) receive(recv func() ([]byte, error), counter *atomic.Int32, sizes []int, want int) error {
	for {
		m, err := recv()
		if err == io.EOF {
			if int(counter.Load()) != want {
				a.bad.Store(true)
				return fmt.Errorf("a whole stream of %d messages, not %d", counter.Load(), want)
			}
			return nil
		}
		if err != nil {
			return err
		}
		a.take(counter, m, sizes)
	}
}

// Messages of one frame and of several, with nothing at all and with more than
// a window.
var (
	smallLetters = []int{5, 0, 1, 40}
	largeLetters = []int{maxPayload + 1, 7, 0, initialWindow + 100}
)

func streaming(sizes []int, up, down int) conversation {
	return conversation{
		register: func(s *Server, a *conversationState) {
			s.HandleStream("talk", func(_ context.Context, st *ServerStream) error {
				if err := a.receive(st.Recv, &a.server, sizes, up); err != nil {
					return err
				}
				a.complete.Store(true)
				for n := range down {
					if err := st.Send(letter(n, sizes)); err != nil {
						return err
					}
				}
				return nil
			})
		},
		talk: func(ctx context.Context, c *Client, a *conversationState) error {
			st, err := c.Stream(ctx, "talk")
			if err != nil {
				return err
			}
			defer st.Close()
			for n := range up {
				if err := st.Send(letter(n, sizes)); err != nil && err != io.EOF {
					return err
				}
			}
			st.CloseSend()
			return a.receive(st.Recv, &a.client, sizes, down)
		},
	}
}

func unary(sizes []int) conversation {
	return conversation{
		register: func(s *Server, a *conversationState) {
			s.Handle("talk", func(_ context.Context, req []byte) ([]byte, error) {
				a.take(&a.server, req, sizes)
				a.complete.Store(true)
				return letter(0, sizes), nil
			})
		},
		talk: func(ctx context.Context, c *Client, a *conversationState) error {
			resp, err := c.AppendCall(ctx, []byte("before"), "talk", letter(0, sizes))
			if err != nil {
				return err
			}
			a.take(&a.client, resp[len("before"):], sizes)
			return nil
		},
	}
}

var conversations = map[string]conversation{
	"unary":                unary(smallLetters),
	"unary, large":         unary([]int{3 * maxFrame}),
	"client stream":        streaming(smallLetters, 4, 1),
	"server stream":        streaming(smallLetters, 0, 4),
	"both":                 streaming(smallLetters, 3, 3),
	"client stream, large": streaming(largeLetters, 4, 1),
	"server stream, large": streaming(largeLetters, 0, 4),
}

// places are the positions of a recorded direction at which it is cut: all of
// a short one; of a long one all around the frames' ends and in their headers,
// and some others.
func places(recorded []byte) (all []int) {
	if len(recorded) < 1000 {
		for at := range recorded {
			all = append(all, at)
		}
		return all
	}
	for start := 0; start < len(recorded); {
		end := start + frameHeader + int(binary.BigEndian.Uint32(recorded[start:]))
		for _, at := range []int{start - 1, start, start + 1, start + 4, start + 5, start + frameHeader - 1, start + frameHeader, start + frameHeader + 1, start + frameHeader + sizePrefix, (start + end) / 2} {
			if at >= 0 && at < min(end, len(recorded)) {
				all = append(all, at)
			}
		}
		start = end
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A connection that breaks at any place of any exchange leaves nobody with a
// message that is not whole, or a stream that looks whole and is not; the
// client's next call succeeds, and neither side keeps anything.
func TestCutInAnyConversation(t *testing.T) {
	for name, talk := range conversations {
		for _, d := range []vsocktest.Direction{vsocktest.ToServer, vsocktest.ToClient} {
			t.Run(fmt.Sprintf("%s/%d", name, d), func(t *testing.T) {
				var recorded []byte
				tap := vsocktest.Options{Tap: func(_ int, way vsocktest.Direction, p []byte) {
					if way == d {
						recorded = append(recorded, p...)
					}
				}}
				cutAt(t, talk, tap, d, nil)
				cuts := places(recorded)
				if len(cuts) < 40 {
					t.Fatalf("%d places in %d bytes", len(cuts), len(recorded))
				}
				broken := 0
				for _, at := range cuts {
					if !cutAt(t, talk, vsocktest.Options{}, d, &at) {
						broken++
					}
					if t.Failed() {
						t.Fatalf("at byte %d of %d of direction %d", at, len(recorded), d)
					}
				}
				// The call that follows in the recording is not to be cut, nor
				// what comes when all has arrived.
				if broken < len(cuts)/4 {
					t.Errorf("%d of %d cuts broke something", broken, len(cuts))
				}
			})
		}
	}
}

// cutAt has the exchange on a connection that is cut, or not, and reports
// whether all arrived.
func cutAt(t *testing.T, talk conversation, net vsocktest.Options, d vsocktest.Direction, at *int) (whole bool) {
	arrived := &conversationState{}
	inWorld(t, net, ServerOptions{MaxMessageSize: 1 << 20}, func(s *Server) { talk.register(s, arrived) }, func(w *world) {
		w.net.Set(d, vsocktest.Faults{CutAfter: at})
		c := w.client(ClientOptions{})
		began := time.Now()
		err := talk.talk(w.t.Context(), c, arrived)
		switch {
		case at == nil && err != nil:
			w.t.Errorf("without a cut: %v", err)
		case err != nil && !errors.Is(err, Unavailable):
			w.t.Errorf("not unavailable: %v", err)
		case Unprocessed(err) && arrived.server.Load() != 0:
			w.t.Errorf("unprocessed, and the handler has seen it: %v", err)
		}
		whole = err == nil
		if arrived.bad.Load() || whole && !arrived.complete.Load() {
			w.t.Error("a message or a stream that is not whole was taken for one")
		}
		if took := time.Since(began); took > time.Second {
			w.t.Errorf("it took %v to find out", took)
		}
		w.net.Set(d, vsocktest.Faults{})
		if resp, err := c.Call(w.t.Context(), "echo", []byte("next")); err != nil || string(resp) != "next" {
			w.t.Errorf("the next call: %q, %v", resp, err)
		}
		w.nothingIsLeft(c)
	})
	return whole
}
