package vsockrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// faultHandlers are what the tests of this file call.
func faultHandlers(s *Server) {
	s.HandleStream("ignore", func(ctx context.Context, _ *ServerStream) error {
		<-ctx.Done()
		return ctx.Err()
	})
	s.HandleStream("sink", func(_ context.Context, st *ServerStream) error {
		for n := 0; ; n++ {
			switch m, err := st.Recv(); {
			case err == io.EOF:
				return st.Send([]byte{byte(n)})
			case err != nil:
				return err
			case len(m) > 0 && m[0] == 0xff:
				return errorf(Aborted, "a message that was never sent")
			}
		}
	})
	s.HandleStream("flood", func(_ context.Context, st *ServerStream) error {
		for m := make([]byte, 100<<10); ; {
			if err := st.Send(m); err != nil {
				return err
			}
		}
	})
	s.Handle("fail", func(context.Context, []byte) ([]byte, error) {
		return nil, errorf(Aborted, "%s", strings.Repeat("x", maxStatus))
	})
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// zeros is n bytes that come in one frame each of at most a payload.
func zeros(n int) string { return string(make([]byte, n)) }

// Everything that a client must not do ends its connection with GOAWAY 13,
// cancels its handlers, and harms nobody else.
func TestClientThatBreaksTheProtocol(t *testing.T) {
	open1 := openFrame(1, "ignore")
	full := bytes.Repeat(dataFrame(1, flagEndMessage, zeros(maxPayload)), initialWindow/maxFrame)
	for name, in := range map[string][]byte{
		"one byte beyond the window":    concat(open1, full, dataFrame(1, flagEndMessage, "")),
		"DATA beyond the window":        concat(open1, full, dataFrame(1, flagEndMessage, zeros(maxPayload))),
		"empty messages without end":    concat(open1, bytes.Repeat(dataFrame(1, flagEndMessage, ""), initialWindow/frameHeader+1)),
		"WINDOW 0":                      concat(open1, append32(nil, frameWindow, 1, 0)),
		"WINDOW of more than 2^30":      concat(open1, append32(nil, frameWindow, 1, maxWindow+1)),
		"WINDOW of 2^32-1":              concat(open1, append32(nil, frameWindow, 1, 1<<32-1)),
		"WINDOWs that add up":           concat(open1, append32(nil, frameWindow, 1, maxWindow-initialWindow), append32(nil, frameWindow, 1, 1)),
		"shorter than SIZE":             concat(open1, firstFrame(1, 10, "abc"), dataFrame(1, flagEndMessage, "defghi")),
		"longer than SIZE":              concat(open1, firstFrame(1, 10, "abc"), dataFrame(1, flagEndMessage, "defghijk")),
		"longer than SIZE before END":   concat(open1, firstFrame(1, 10, "abc"), dataFrame(1, 0, "defghijk")),
		"SIZE reached without END":      concat(open1, firstFrame(1, 10, "abc"), dataFrame(1, 0, "defghij")),
		"SIZE of one frame":             concat(open1, firstFrame(1, 3, "abc")),
		"SIZE 0":                        concat(open1, firstFrame(1, 0, "")),
		"SIZE in the middle":            concat(open1, firstFrame(1, 10, "abc"), firstFrame(1, 10, "abc")),
		"SIZE with END_MESSAGE":         concat(open1, dataFrame(1, flagSize|flagEndMessage, "\x00\x00\x00\x03abc")),
		"SIZE without room for it":      concat(open1, dataFrame(1, flagSize, "\x00\x00\x00")),
		"several frames without SIZE":   concat(open1, dataFrame(1, 0, "abc"), dataFrame(1, flagEndMessage, "def")),
		"END_STREAM inside a message":   concat(open1, firstFrame(1, 10, "abc"), dataFrame(1, flagEndStream, "")),
		"END_STREAM with a part":        concat(open1, firstFrame(1, 10, "abc"), dataFrame(1, flagEndStream, "def")),
		"END_STREAM with a first part":  concat(open1, dataFrame(1, flagEndStream, "abc")),
		"DATA after END_STREAM":         concat(open1, dataFrame(1, flagEndStream, ""), dataFrame(1, flagEndMessage, "abc")),
		"DATA after a last message":     concat(open1, dataFrame(1, flagEndMessage|flagEndStream, "abc"), dataFrame(1, flagEndMessage, "abc")),
		"END_STREAM twice":              concat(open1, dataFrame(1, flagEndStream, ""), dataFrame(1, flagEndStream, "")),
		"unknown flag":                  concat(open1, dataFrame(1, 8, "abc")),
		"OPEN again":                    concat(open1, open1),
		"OPEN of a lower stream":        concat(open1, openFrame(2, "ignore"), openFrame(1, "ignore")),
		"OPEN with a gap":               concat(open1, openFrame(3, "ignore")),
		"OPEN of stream 0":              concat(open1, openFrame(0, "ignore")),
		"OPEN without a method":         concat(open1, openFrame(2, "")),
		"OPEN that is cut short":        concat(open1, appendHeader(nil, header{4, frameOpen, 0, 2}), []byte("abcd")),
		"DATA on a stream of nobody":    concat(open1, dataFrame(2, flagEndMessage, "abc")),
		"RESET on a stream of nobody":   concat(open1, append32(nil, frameReset, 2, 1)),
		"WINDOW on a stream of nobody":  concat(open1, append32(nil, frameWindow, 1<<31, 1)),
		"RESET 0":                       concat(open1, append32(nil, frameReset, 1, 0)),
		"RESET of no code":              concat(open1, append32(nil, frameReset, 1, 17)),
		"STATUS from a client":          concat(open1, statusFrame(frameStatus, 1, OK)),
		"REFUSE from a client":          concat(open1, statusFrame(frameRefuse, 1, Unavailable)),
		"a second HELLO":                concat(open1, appendHello(nil)),
		"a frame too long":              concat(open1, appendHeader(nil, header{maxPayload + 1, frameData, 0, 1})),
		"a frame of 4 GiB":              concat(open1, appendHeader(nil, header{1<<32 - 1, frameData, 0, 1})),
		"WINDOW with a wrong length":    concat(open1, appendHeader(nil, header{5, frameWindow, 0, 1}), []byte("abcde")),
		"a type of the future":          concat(open1, appendHeader(nil, header{0, frameRefuse + 1, 0, 1})),
		"a message, then a broken rule": concat(open1, dataFrame(1, flagEndMessage, "abc"), dataFrame(1, 0, "abc")),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{}, ServerOptions{}, faultHandlers, func(w *world) {
				t := w.t
				p := w.peer()
				w.remember()
				p.write(in)
				if code, told := p.ended(); code != Internal || !told {
					t.Errorf("GOAWAY %v, %v", code, told)
				}
				p.Close()
				w.nothingIsLeft()
				w.serves(0)
			})
		})
	}
}

// What a client may do though it looks odd leaves its connection in order.
func TestClientThatIsOdd(t *testing.T) {
	big := strings.Repeat("x", 2000)
	for name, tt := range map[string]struct {
		in    []byte
		reset Code // of stream 1
	}{
		"SIZE larger than the limit": {concat(openFrame(1, "ignore"), firstFrame(1, 1001, "abc"), dataFrame(1, 0, "def")), ResourceExhausted},
		"SIZE of 4 GiB":              {concat(openFrame(1, "ignore"), firstFrame(1, 1<<32-1, "abc")), ResourceExhausted},
		"a message over the limit":   {concat(openFrame(1, "ignore"), dataFrame(1, flagEndMessage, big)), ResourceExhausted},
		"frames after RESET":         {concat(openFrame(1, "ignore"), append32(nil, frameReset, 1, 1), dataFrame(1, 0, "part"), append32(nil, frameWindow, 1, 1), append32(nil, frameReset, 1, 2)), 0},
		"RESET inside a message":     {concat(openFrame(1, "ignore"), firstFrame(1, 1000, "abc"), append32(nil, frameReset, 1, 1)), 0},
		"END_STREAM after RESET":     {concat(openFrame(1, "ignore"), append32(nil, frameReset, 1, 1), dataFrame(1, flagEndStream, "")), 0},
		"GOAWAYs":                    {concat(openFrame(1, "fail"), append32(nil, frameReset, 1, 1), bytes.Repeat(append32(nil, frameGoAway, 0, 0), 1000)), 0},
		"PONGs that nobody asked for": {concat(openFrame(1, "fail"), append32(nil, frameReset, 1, 1),
			append64(nil, framePong, 0), append64(nil, framePong, 1), bytes.Repeat(append64(nil, framePong, 1<<63), 1000)), 0},
		"empty frames in a message": {concat(openFrame(1, "ignore"), firstFrame(1, 1000, ""), bytes.Repeat(dataFrame(1, 0, ""), 100_000), append32(nil, frameReset, 1, 1)), 0},
		"a deadline of 2^64-1":      {concat(appendOpen(nil, 1, &open{timeout: 1<<64 - 1, method: []byte("ignore")}), append32(nil, frameReset, 1, 1)), 0},
		"an unknown method":         {concat(openFrame(1, "none"), dataFrame(1, flagEndMessage, "abc"), dataFrame(1, flagEndStream, "")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{}, ServerOptions{MaxMessageSize: 1000}, faultHandlers, func(w *world) {
				t := w.t
				p := w.peer()
				p.write(tt.in)
				if tt.reset != 0 {
					if b := p.await(frameReset, 1); b == nil || Code(binary.BigEndian.Uint32(b)) != tt.reset {
						t.Errorf("RESET % x", b)
					}
				}
				p.write(concat(openFrame(2, "echo"), dataFrame(2, flagEndMessage|flagEndStream, "on we go")))
				if b := p.await(frameStatus, 2); b == nil || binary.BigEndian.Uint32(b) != 0 {
					t.Errorf("a call on the same connection ended with % x", b)
				}
				w.nothingIsLeft()
				p.Close()
				w.serves(0)
			})
		})
	}
}

// Whatever a server says, a client's calls end with the right error or a whole
// answer, and its next call gets a connection that works.
func TestServerThatBreaksTheProtocol(t *testing.T) {
	const broken = Code(100) // Unavailable, since the connection was ended for a broken rule
	whole := dataFrame(1, flagEndMessage, "answer")
	done := statusFrame(frameStatus, 1, OK)
	full := bytes.Repeat(dataFrame(1, flagEndMessage, zeros(maxPayload)), initialWindow/maxFrame)
	for name, tt := range map[string]struct {
		in            []byte
		unary, stream Code
		messages      int // that the stream yields before
	}{
		"a good answer":                {concat(whole, done), OK, OK, 1},
		"no message":                   {done, Internal, OK, 0},
		"two messages":                 {concat(whole, whole, done), Internal, OK, 2},
		"STATUS twice":                 {concat(whole, done, statusFrame(frameStatus, 1, NotFound)), OK, OK, 1},
		"an error":                     {statusFrame(frameStatus, 1, NotFound), NotFound, NotFound, 0},
		"an answer and an error":       {concat(whole, statusFrame(frameStatus, 1, NotFound)), NotFound, NotFound, 1},
		"DATA after STATUS":            {concat(whole, done, whole, dataFrame(1, 0, "x")), OK, OK, 1},
		"RESET":                        {concat(whole, append32(nil, frameReset, 1, uint32(Aborted))), Aborted, Aborted, 1},
		"RESETs":                       {concat(whole, bytes.Repeat(append32(nil, frameReset, 1, uint32(Aborted)), 1000)), Aborted, Aborted, 1},
		"END_STREAM and an error":      {concat(whole, dataFrame(1, flagEndStream, ""), statusFrame(frameStatus, 1, DataLoss)), DataLoss, DataLoss, 1},
		"END_STREAM and STATUS":        {concat(dataFrame(1, flagEndMessage|flagEndStream, "answer"), done), OK, OK, 1},
		"STATUS 0 inside a message":    {concat(firstFrame(1, 10, "abc"), done), Internal, Internal, 0},
		"an error inside a message":    {concat(firstFrame(1, 10, "abc"), statusFrame(frameStatus, 1, NotFound)), NotFound, NotFound, 0},
		"a message over the limit":     {concat(firstFrame(1, 5001, "abc"), dataFrame(1, 0, "def")), ResourceExhausted, ResourceExhausted, 0},
		"REFUSE 8":                     {statusFrame(frameRefuse, 1, ResourceExhausted), ResourceExhausted, ResourceExhausted, 0},
		"REFUSE twice":                 {concat(statusFrame(frameRefuse, 1, ResourceExhausted), statusFrame(frameRefuse, 1, ResourceExhausted)), ResourceExhausted, ResourceExhausted, 0},
		"REFUSE after DATA":            {concat(whole, statusFrame(frameRefuse, 1, ResourceExhausted)), broken, broken, 1},
		"REFUSE after part of DATA":    {concat(firstFrame(1, 10, "abc"), statusFrame(frameRefuse, 1, ResourceExhausted)), broken, broken, 0},
		"REFUSE after WINDOW":          {concat(append32(nil, frameWindow, 1, 1), statusFrame(frameRefuse, 1, ResourceExhausted)), broken, broken, 0},
		"REFUSE 0":                     {statusFrame(frameRefuse, 1, OK), broken, broken, 0},
		"STATUS of no code":            {statusFrame(frameStatus, 1, 17), broken, broken, 0},
		"STATUS that is not UTF-8":     {concat(appendHeader(nil, header{5, frameStatus, 0, 1}), []byte("\x00\x00\x00\x05\xff")), broken, broken, 0},
		"STATUS too long":              {appendHeader(nil, header{4 + maxStatus + 1, frameStatus, 0, 1}), broken, broken, 0},
		"OPEN from a server":           {openFrame(2, "echo"), broken, broken, 0},
		"a second HELLO":               {appendHello(nil), broken, broken, 0},
		"STATUS of a stream of nobody": {statusFrame(frameStatus, 2, OK), broken, broken, 0},
		"DATA beyond the window":       {concat(full, whole), Internal, broken, initialWindow / maxFrame},
		"WINDOW 0":                     {append32(nil, frameWindow, 1, 0), broken, broken, 0},
		"WINDOWs that add up":          {bytes.Repeat(append32(nil, frameWindow, 1, maxWindow/2), 2), broken, broken, 0},
		"shorter than SIZE":            {concat(firstFrame(1, 10, "abc"), dataFrame(1, flagEndMessage, "def"), done), broken, broken, 0},
		"longer than SIZE":             {concat(firstFrame(1, 10, "abc"), dataFrame(1, flagEndMessage, "0123456789"), done), broken, broken, 0},
		"several frames without SIZE":  {concat(dataFrame(1, 0, "abc"), done), broken, broken, 0},
		"END_STREAM inside a message":  {concat(firstFrame(1, 10, "abc"), dataFrame(1, flagEndStream, ""), done), broken, broken, 0},
		"DATA after END_STREAM":        {concat(dataFrame(1, flagEndMessage|flagEndStream, "answer"), whole, done), broken, broken, 1},
		"END_STREAM and nothing more":  {dataFrame(1, flagEndMessage|flagEndStream, "answer"), Unavailable, Unavailable, 1},
		"half an answer":               {firstFrame(1, 10, "abc"), Unavailable, Unavailable, 0},
		"an answer without STATUS":     {whole, Unavailable, Unavailable, 1},
		"nothing":                      {nil, Unavailable, Unavailable, 0},
		"GOAWAY and nothing more":      {append32(nil, frameGoAway, 0, 0), Unavailable, Unavailable, 0},
		"GOAWAYs and an answer":        {concat(bytes.Repeat(append32(nil, frameGoAway, 0, 0), 1000), whole, done), OK, OK, 1},
	} {
		check := func(t *testing.T, c *Client, want Code, err error) {
			t.Helper()
			code := CodeOf(err)
			if errors.Is(err, errProtocol) {
				code = broken
			}
			if code != want {
				t.Errorf("%v, not %v: %v", code, want, err)
			}
			if refused := strings.HasPrefix(name, "REFUSE") && want == ResourceExhausted; Unprocessed(err) != refused {
				t.Errorf("unprocessed %v: %v", Unprocessed(err), err)
			}
		}
		hostile := func(t *testing.T, test func(w *world, c *Client)) {
			inWorld(t, vsocktest.Options{}, ServerOptions{}, nil, func(w *world) {
				t := w.t
				w.asServer("hostile", func(p *peer) {
					if p.await(frameOpen, 1) != nil {
						p.write(tt.in)
						time.Sleep(time.Second) // it is read
					}
					p.Close()
				})
				target := "hostile"
				c := w.client(ClientOptions{MaxMessageSize: 40 << 10, Keepalive: -1})
				if name == "a message over the limit" {
					c.opts.MaxMessageSize = 5000
				}
				c.opts.Dial = w.to(target)
				test(w, c)
				c.opts.Dial = w.to(worldName)
				time.Sleep(2 * time.Second) // the client finds out that the connection is over
				if resp, err := c.Call(t.Context(), "echo", []byte("next")); err != nil || string(resp) != "next" {
					t.Errorf("the next call: %q, %v", resp, err)
				}
				w.nothingIsLeft(c)
			})
		}
		t.Run(name+"/unary", func(t *testing.T) {
			hostile(t, func(w *world, c *Client) {
				t := w.t
				resp, err := c.Call(t.Context(), "any", []byte("question"))
				check(t, c, tt.unary, err)
				if err == nil && string(resp) != "answer" || err != nil && resp != nil {
					t.Errorf("%q beside %v", resp, err)
				}
				w.remember(c)
			})
		})
		t.Run(name+"/stream", func(t *testing.T) {
			hostile(t, func(w *world, c *Client) {
				t := w.t
				st, err := c.Stream(t.Context(), "any")
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				time.Sleep(time.Second / 2) // all is there, and nothing was received
				w.remember(c)
				n := 0
				for ; err == nil; n++ {
					_, err = st.Recv()
				}
				if err == io.EOF {
					err = nil
				}
				check(t, c, tt.stream, err)
				if n-1 != tt.messages {
					t.Errorf("%d messages, not %d", n-1, tt.messages)
				}
			})
		})
	}
}

// A client that opens calls and resets them as fast as it can has no more
// handlers running than its streams, whether they notice or not, takes no
// memory, and others are served meanwhile.
func TestRapidReset(t *testing.T) {
	const most, rounds = 16, 5000
	for name, stubborn := range map[string]bool{"handlers that end": false, "handlers that go on": true} {
		t.Run(name, func(t *testing.T) {
			var running, peak atomic.Int32
			release := make(chan struct{})
			inWorld(t, vsocktest.Options{}, ServerOptions{MaxStreams: most}, func(s *Server) {
				s.HandleStream("work", func(ctx context.Context, _ *ServerStream) error {
					n := running.Add(1)
					defer running.Add(-1)
					for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
					}
					<-ctx.Done()
					if stubborn {
						time.Sleep(time.Hour)
					}
					return ctx.Err()
				})
			}, func(w *world) {
				t := w.t
				p := w.peer()
				w.remember()
				flood := make(chan struct{})
				go func() {
					defer close(flood)
					for id := uint32(1); id <= rounds; id++ {
						if err := p.write(concat(openFrame(id, "work"), dataFrame(id, flagEndMessage, "x"), append32(nil, frameReset, id, 1))); err != nil {
							t.Errorf("after %d calls: %v", id, err)
							return
						}
						if id%500 == 0 {
							w.serves(0)
						}
					}
				}()
				<-flood
				synctest.Wait()
				if n := peak.Load(); n == 0 || n > most {
					t.Errorf("%d handlers ran at a time", n)
				}
				for c := range w.conns {
					c.out.mu.Lock()
					if n := cap(c.out.buf) + cap(c.out.spare); n > 4*outboxLimit {
						t.Errorf("%d bytes of answers", n)
					}
					c.out.mu.Unlock()
				}
				if stubborn {
					if n := w.srv.Stats().Calls; n != most {
						t.Errorf("%d handlers run", n)
					}
					time.Sleep(2 * time.Hour)
				}
				close(release)
				w.nothingIsLeft()
				p.Close()
				w.serves(0)
			})
		})
	}
}

// A peer that never reads cannot make the server keep answers for it without
// end, whatever it asks for.
func TestPeerThatNeverReads(t *testing.T) {
	const most = 64
	for name, round := range map[string]func(id uint32) []byte{
		"calls that fail": func(id uint32) []byte {
			return concat(openFrame(id, "fail"), dataFrame(id, flagEndMessage|flagEndStream, ""))
		},
		"calls that are answered": func(id uint32) []byte {
			return concat(openFrame(id, "echo"), dataFrame(id, flagEndMessage|flagEndStream, zeros(1000)))
		},
		"messages over the limit": func(id uint32) []byte {
			return concat(openFrame(id, "ignore"), firstFrame(id, 1<<31, "x"))
		},
		"calls without time": func(id uint32) []byte {
			return concat(appendOpen(nil, id, &open{timeout: 1, method: []byte("flood")}), append32(nil, frameWindow, id, maxWindow/2))
		},
		"unknown methods": func(id uint32) []byte { return openFrame(id, "none") },
		"PING":            func(uint32) []byte { return append64(nil, framePing, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{Buffer: 64 << 10}, ServerOptions{MaxStreams: most, Keepalive: -1}, faultHandlers, func(w *world) {
				t := w.t
				nc, err := w.net.Dial(t.Context(), worldName)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				b := appendHello(nil)
				waits := 0
				rounds := uint32(20_000)
				refused := name == "PING" || name == "unknown methods" // by the reader, which ends the connection
				if refused {
					rounds *= 10
				}
				for id := uint32(1); id <= rounds && err == nil; id++ {
					b = append(b, round(id)...)
					if id%50 == 0 { // fewer than handlers may run, so that none is refused
						_, err = nc.Write(b)
						b = b[:0]
						time.Sleep(time.Millisecond) // deadlines pass
						synctest.Wait()
						w.srv.mu.Lock()
						for c := range w.srv.conns {
							c.out.mu.Lock()
							waits = max(waits, len(c.out.buf))
							c.out.mu.Unlock()
						}
						w.srv.mu.Unlock()
					}
				}
				if waits > 2<<20 {
					t.Errorf("%d bytes wait for a peer that does not read", waits)
				}
				if refused && err == nil {
					t.Errorf("all was taken, and %d bytes waited", waits)
				}
				t.Logf("%d bytes waited, and writing ended with %v", waits, err)
				w.serves(0)
				w.remember()
				nc.Close()
				w.nothingIsLeft()
			})
		})
	}
}

// Floods of frames that need no answer change nothing.
func TestFloods(t *testing.T) {
	const n = 50_000 // of whose PONGs more may wait than there are
	for name, flood := range map[string][]byte{
		"PING":                append64(nil, framePing, 1),
		"PONG":                append64(nil, framePong, 1),
		"WINDOW":              append32(nil, frameWindow, 1, 1),
		"WINDOW of the ended": append32(nil, frameWindow, 2, 1),
		"RESET of the ended":  append32(nil, frameReset, 2, 1),
		"DATA of the ended":   dataFrame(2, flagEndMessage, ""),
		"GOAWAY":              append32(nil, frameGoAway, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{}, ServerOptions{}, faultHandlers, func(w *world) {
				t := w.t
				p := w.peer()
				w.remember()
				p.write(concat(openFrame(1, "ignore"), openFrame(2, "ignore"), append32(nil, frameReset, 2, 1)))
				served := make(chan struct{})
				go func() {
					defer close(served)
					for range 10 {
						w.serves(0)
					}
				}()
				for range n / 1000 {
					if err := p.write(bytes.Repeat(flood, 1000)); err != nil {
						t.Fatal(err)
					}
					if p.mu.Lock(); len(p.got) > 10_000 { // PONG
						p.got, p.data = nil, nil
					}
					p.mu.Unlock()
				}
				<-served
				p.write(append32(nil, frameReset, 1, 1))
				w.nothingIsLeft()
				p.Close()
			})
		})
	}
}

// A server that floods a client is read for nothing, and its calls go on.
func TestClientIsFlooded(t *testing.T) {
	for name, flood := range map[string][]byte{
		"PING":                append64(nil, framePing, 1),
		"PONG":                append64(nil, framePong, 1),
		"GOAWAY":              append32(nil, frameGoAway, 0, 0),
		"WINDOW":              append32(nil, frameWindow, 2, 1),
		"STATUS of the ended": statusFrame(frameStatus, 1, NotFound),
		"DATA of the ended":   dataFrame(1, 0, "part"),
		"RESET of the ended":  append32(nil, frameReset, 1, 1),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{}, ServerOptions{}, nil, func(w *world) {
				t := w.t
				w.asServer("hostile", func(p *peer) {
					p.await(frameOpen, 1)
					p.write(concat(dataFrame(1, flagEndMessage, "1"), statusFrame(frameStatus, 1, OK)))
					p.await(frameOpen, 2)
					for range 20 {
						p.write(bytes.Repeat(flood, 1000))
					}
					p.write(concat(dataFrame(2, flagEndMessage, "2"), statusFrame(frameStatus, 2, OK)))
					<-p.done
					p.Close()
				})
				c := w.client(ClientOptions{Dial: w.to("hostile")})
				for _, want := range []string{"1", "2"} {
					if resp, err := c.Call(t.Context(), "any", nil); err != nil || string(resp) != want {
						t.Fatalf("%q, %v, want %s", resp, err, want)
					}
				}
				w.nothingIsLeft(c)
				c.Close()
			})
		})
	}
}

// A server that refuses each call as if it shut down has no connections of the
// client's left to it.
func TestServerThatAlwaysRefuses(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, nil, func(w *world) {
		t := w.t
		w.asServer("hostile", func(p *peer) {
			p.await(frameOpen, 1)
			p.write(statusFrame(frameRefuse, 1, Unavailable))
			<-p.done // it keeps its connections
			p.Close()
		})
		c := w.client(ClientOptions{Dial: w.to("hostile"), Keepalive: -1})
		for range 20 {
			if _, err := c.Call(t.Context(), "any", nil); !errors.Is(err, Unavailable) || !Unprocessed(err) {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		c.mu.Lock()
		n := len(c.conns)
		c.mu.Unlock()
		if n > 1 {
			t.Errorf("%d connections", n)
		}
		c.Close()
	})
}

// A peer that is gone without a word is found out by whoever waits for it: by
// the server, whose handler is cancelled, and by the client. The ticks in
// between are half of the keepalive time apart.
func TestHalfOpen(t *testing.T) {
	const keepalive = 8 * time.Second
	for name, d := range map[string]vsocktest.Direction{"both": vsocktest.Both, "to the server": vsocktest.ToServer, "to the client": vsocktest.ToClient} {
		t.Run(name, func(t *testing.T) {
			cancelled := make(chan time.Time, 1)
			inWorld(t, vsocktest.Options{}, ServerOptions{Keepalive: keepalive}, func(s *Server) {
				s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
					<-ctx.Done()
					cancelled <- time.Now()
					return nil, ctx.Err()
				})
			}, func(w *world) {
				t := w.t
				c := w.client(ClientOptions{Keepalive: keepalive})
				failed := make(chan error, 1)
				go func() {
					_, err := c.Call(t.Context(), "wait", nil)
					failed <- err
				}()
				time.Sleep(keepalive + time.Second)
				w.remember(c)
				w.net.Set(d, vsocktest.Faults{Drop: true})
				began := time.Now()
				if err := <-failed; !errors.Is(err, Unavailable) {
					t.Error(err)
				}
				at := <-cancelled
				w.net.Set(d, vsocktest.Faults{})
				for side, took := range map[string]time.Duration{"client": time.Since(began), "server": at.Sub(began)} {
					if took > 5*keepalive/2 {
						t.Errorf("the %s found out after %v", side, took)
					}
				}
				time.Sleep(3 * keepalive)
				w.nothingIsLeft(c)
				w.serves(0)
			})
		})
	}
}

// A connection on which nobody says HELLO does not stay, nor one on which HELLO
// comes as slowly as keepalive lets it.
func TestNoHello(t *testing.T) {
	const keepalive = 8 * time.Second
	for name, tt := range map[string]struct {
		dribble bool
		most    time.Duration
	}{
		"silence":             {false, 5 * keepalive / 2},
		"a byte now and then": {true, 28 * keepalive},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, vsocktest.Options{}, ServerOptions{Keepalive: keepalive}, nil, func(w *world) {
				t := w.t
				began := time.Now()
				p := w.mute()
				w.remember()
				if tt.dribble {
					for _, b := range concat(appendHello(nil)[:frameHeader+len(hello)-1], []byte("x")) {
						p.write([]byte{b})
						time.Sleep(keepalive)
					}
				}
				<-p.done
				if took := time.Since(began); took > tt.most {
					t.Errorf("it stayed for %v", took)
				}
				p.Close()
				w.nothingIsLeft()
			})
		})
	}
}

// A client and a server whose other side sends one byte at each tick, or takes
// one at a time, do what they would otherwise.
func TestByteAtATime(t *testing.T) {
	slowly := func(p *peer, b []byte) {
		for i := range b {
			if p.write(b[i:i+1]) != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	t.Run("client", func(t *testing.T) {
		inWorld(t, vsocktest.Options{}, ServerOptions{}, faultHandlers, func(w *world) {
			t := w.t
			p := w.mute()
			slowly(p, concat(appendHello(nil), openFrame(1, "sink"), dataFrame(1, flagEndMessage, "abc"), firstFrame(1, 6, "abc"),
				dataFrame(1, flagEndMessage, "def"), openFrame(2, "echo"), dataFrame(1, flagEndMessage, ""), dataFrame(1, flagEndStream, ""),
				append64(nil, framePing, 7), dataFrame(2, flagEndMessage|flagEndStream, "hello")))
			if b := p.await(frameData, 1); string(b) != "\x03" {
				t.Errorf("%q messages arrived", b)
			}
			if b := p.await(frameData, 2); string(b) != "hello" {
				t.Errorf("%q", b)
			}
			if b := p.await(framePong, 0); b == nil {
				t.Error("no PONG")
			}
			w.nothingIsLeft()
			p.Close()
		})
	})
	t.Run("server", func(t *testing.T) {
		inWorld(t, vsocktest.Options{}, ServerOptions{}, nil, func(w *world) {
			t := w.t
			w.asServer("slow", func(p *peer) {
				p.await(frameOpen, 1)
				slowly(p, concat(firstFrame(1, 6, "abc"), append64(nil, framePing, 1), append32(nil, frameWindow, 1, 100_000), dataFrame(1, flagEndMessage, "def"), statusFrame(frameStatus, 1, OK)))
				<-p.done
				p.Close()
			})
			c := w.client(ClientOptions{Dial: w.to("slow")})
			if resp, err := c.Call(t.Context(), "any", nil); err != nil || string(resp) != "abcdef" {
				t.Errorf("%q, %v", resp, err)
			}
			w.nothingIsLeft(c)
			c.Close()
		})
	})
	t.Run("both ways", func(t *testing.T) {
		inWorld(t, vsocktest.Options{Buffer: 10, Seed: 1}, ServerOptions{}, nil, func(w *world) {
			t := w.t
			w.net.Set(vsocktest.Both, vsocktest.Faults{MaxRead: 1})
			c := w.client(ClientOptions{})
			var all sync.WaitGroup
			for i := range byte(4) {
				all.Go(func() {
					req := bytes.Repeat([]byte{i}, 3000)
					if resp, err := c.Call(t.Context(), "echo", req); err != nil || !bytes.Equal(resp, req) {
						t.Errorf("%d bytes, %v", len(resp), err)
					}
				})
			}
			all.Wait()
			w.nothingIsLeft(c)
		})
	})
}
