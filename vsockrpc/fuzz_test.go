package vsockrpc

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// hostileSeeds are conversations to begin with, one for each frame type and
// each rule that has its own place in the code, with and without HELLO.
func hostileSeeds() (all [][]byte) {
	var everything []byte
	for _, frame := range golden {
		everything = append(everything, frame...)
		all = append(all, frame, concat(appendHello(nil), openFrame(1, "echo"), frame), concat(appendHello(nil), frame))
	}
	all = append(all, everything)
	for _, frames := range [][][]byte{
		{openFrame(1, "echo"), dataFrame(1, flagEndMessage|flagEndStream, "question")},
		{openFrame(1, "ignore"), firstFrame(1, 10, "abc"), dataFrame(1, flagEndMessage, "defghij"), dataFrame(1, flagEndStream, ""), append32(nil, frameReset, 1, 1)},
		{openFrame(1, "flood"), append32(nil, frameWindow, 1, 1<<20), append32(nil, frameReset, 1, 1), append32(nil, frameWindow, 1, 1)},
		{openFrame(1, "sink"), dataFrame(1, flagEndMessage, ""), dataFrame(1, flagEndMessage, "x"), openFrame(2, "none"), openFrame(3, "fail")},
		{firstFrame(1, 10, "abc"), statusFrame(frameStatus, 1, OK), dataFrame(2, flagEndMessage, "x"), statusFrame(frameRefuse, 3, Unavailable)},
		{append32(nil, frameWindow, 2, 1<<20), dataFrame(3, flagEndMessage, "answer"), statusFrame(frameStatus, 3, OK), append32(nil, frameGoAway, 0, 0)},
		{statusFrame(frameRefuse, 4, ResourceExhausted), statusFrame(frameStatus, 2, NotFound), append32(nil, frameReset, 1, 3), dataFrame(1, 0, "x")},
		{firstFrame(3, 1<<20, "large"), dataFrame(3, 0, "larger"), append64(nil, framePing, 1), append64(nil, framePong, 1)},
	} {
		all = append(all, concat(appendHello(nil), concat(frames...)))
	}
	return all
}

// mostHeld is what one connection may hold of messages in these tests, with
// what each of its streams may.
func mostHeld(c *conn, streams int) int {
	return int(c.maxHeld) + streams*ownHeld
}

// heldNow is what waits on a connection, as it is in memory.
func heldNow(c *conn) (n, streams int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		s.mu.Lock()
		n += cap(s.partial.data)
		for _, m := range s.queue[s.head:] {
			n += len(m.data)
		}
		s.mu.Unlock()
	}
	return n, len(c.streams)
}

// feed writes the hostile bytes in pieces of 1 to 256 bytes and a moment
// between them.
func feed(nc net.Conn, in []byte, look func()) {
	piece := 256
	if len(in) > 0 && len(in) < 2000 {
		piece = int(in[len(in)-1]) + 1
	}
	for len(in) > 0 {
		n := min(piece, len(in))
		if _, err := nc.Write(in[:n]); err != nil {
			return
		}
		in = in[n:]
		synctest.Wait()
		look()
	}
}

// FuzzHostileClient gives a server, with all that belongs to it, the bytes of a
// hostile client. It does not fail, keeps little memory, and serves others
// afterwards.
func FuzzHostileClient(f *testing.F) {
	for _, in := range hostileSeeds() {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 100<<10 {
			t.Skip("too long")
		}
		inWorld(t, vsocktest.Options{}, ServerOptions{MaxMessageSize: 64 << 10, MaxStreams: 8, Keepalive: time.Minute}, faultHandlers, func(w *world) {
			nc, err := w.net.Dial(w.t.Context(), worldName)
			if err != nil {
				w.t.Fatal(err)
			}
			go io.Copy(io.Discard, nc)
			synctest.Wait()
			w.remember()
			feed(nc, in, func() {
				if n := w.srv.Stats().Calls; n > 8 {
					w.t.Errorf("%d handlers run", n)
				}
				for c := range w.conns {
					if held, streams := heldNow(c); held > mostHeld(c, streams) {
						w.t.Errorf("%d bytes are held", held)
					}
				}
			})
			w.serves(0)
			nc.Close()
			w.nothingIsLeft()
			w.serves(0)
		})
	})
}

// FuzzHostileServer gives a client with calls of all kinds under way the bytes
// of a hostile server. The calls end, with an error or with what came, and the
// client's next call, on a connection to an honest server, is answered.
func FuzzHostileServer(f *testing.F) {
	for _, in := range hostileSeeds() {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 100<<10 {
			t.Skip("too long")
		}
		inWorld(t, vsocktest.Options{}, ServerOptions{}, nil, func(w *world) {
			t := w.t
			l, err := w.net.Listen("hostile")
			if err != nil {
				t.Fatal(err)
			}
			c := w.client(ClientOptions{Dial: w.to("hostile"), MaxMessageSize: 64 << 10, Keepalive: time.Minute})
			ended := make(chan string, 5)
			underWay := 0
			call := func(what string, f func() error) {
				underWay++
				go func() {
					f()
					ended <- what
				}()
				synctest.Wait() // so that the calls have these numbers
			}
			call("stream 1, received", func() error {
				st, err := c.Stream(t.Context(), "any")
				if err != nil {
					return err
				}
				defer st.Close()
				for err == nil {
					_, err = st.Recv()
				}
				return err
			})
			call("stream 2, sent and received", func() error {
				st, err := c.Stream(t.Context(), "any")
				if err != nil {
					return err
				}
				defer st.Close()
				for m := make([]byte, 50<<10); err == nil; {
					err = st.Send(m)
				}
				_, err = st.Recv()
				return err
			})
			dst := bytes.Repeat([]byte{0xee}, 1000)
			call("call 3", func() error {
				resp, err := c.AppendCall(t.Context(), dst[:4], "any", []byte("question"))
				if !bytes.Equal(resp[:4], []byte("\xee\xee\xee\xee")) || err != nil && len(resp) != 4 {
					t.Errorf("%q, %v", resp, err)
				}
				return err
			})
			call("call 4, with a deadline", func() error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				resp, err := c.Call(ctx, "any", nil)
				if err != nil && resp != nil {
					t.Errorf("%q beside %v", resp, err)
				}
				return err
			})
			call("PING", func() error { return c.Ping(t.Context()) })
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			go io.Copy(io.Discard, nc)
			synctest.Wait()
			w.remember(c)
			feed(nc, in, func() {
				for k := range w.conns {
					if held, streams := heldNow(k); held > mostHeld(k, streams) {
						t.Errorf("%d bytes are held", held)
					}
				}
			})
			nc.Close()
			for range underWay {
				select {
				case <-ended:
				case <-time.After(2 * time.Hour):
					t.Fatal("a call does not end with its connection")
				}
			}
			c.opts.Dial = w.to(worldName)
			time.Sleep(time.Minute)
			if resp, err := c.Call(t.Context(), "echo", []byte("next")); err != nil || string(resp) != "next" {
				t.Errorf("the next call: %q, %v", resp, err)
			}
			w.nothingIsLeft(c)
			c.Close()
		})
	})
}
