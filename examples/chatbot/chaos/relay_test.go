package main

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// echoed starts a relay before a server that sends back what it gets, and
// connects to it.
func echoed(t *testing.T) (*relay, func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	r, err := newRelay("tcp", "127.0.0.1:0", func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r, func() net.Conn {
		c, err := net.Dial("tcp", r.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// exchange sends text and reads as much as want has.
func exchange(t *testing.T, c net.Conn, text, want string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("not ended: %d, %v", n, err)
	}
}

func TestRelayPasses(t *testing.T) {
	r, dial := echoed(t)
	c := dial()
	exchange(t, c, "hello", "hello")
	r.cut()
	ended(t, c)
	exchange(t, dial(), "again", "again")
}

func TestRelayRefuses(t *testing.T) {
	r, dial := echoed(t)
	c := dial()
	exchange(t, c, "hello", "hello")
	r.set(fault{refuse: true})
	ended(t, dial())
	exchange(t, c, "old ones stay", "old ones stay")
	r.heal()
	exchange(t, dial(), "again", "again")
}

func TestRelayStalls(t *testing.T) {
	// What is held is passed on as the fault of that moment wants it.
	upper := fault{mangle: func(_ direction, _ int, b []byte) []byte { return bytes.ToUpper(b) }}
	for _, f := range []fault{{stall: [2]bool{onward: true}}, {stall: [2]bool{back: true}}} {
		r, dial := echoed(t)
		c := dial()
		exchange(t, c, "a", "a")
		r.set(f)
		if _, err := io.WriteString(c, "held"); err != nil {
			t.Fatal(err)
		}
		r.set(upper)
		exchange(t, c, "", "HELD")
	}
}

func TestRelayMangles(t *testing.T) {
	r, dial := echoed(t)
	c := dial()
	exchange(t, c, "a", "a")
	r.set(fault{mangle: func(d direction, n int, b []byte) []byte {
		if d == back {
			return b
		}
		return bytes.ToUpper(b)
	}})
	exchange(t, c, "shout", "SHOUT")
	r.mend(fault{mangle: inserted(back)})()
	ended(t, c)
}

func TestRelayHandsOver(t *testing.T) {
	r, dial := echoed(t)
	r.set(fault{take: func(c net.Conn) {
		io.WriteString(c, "mine")
		c.Close()
	}})
	exchange(t, dial(), "", "mine")
}

func TestRelayIsSlow(t *testing.T) {
	r, dial := echoed(t)
	r.set(fault{every: 1, most: 2})
	exchange(t, dial(), "two at a time", "two at a time")
}

func TestManglings(t *testing.T) {
	piece := bytes.Repeat([]byte{7}, 100)
	for name, tt := range map[string]struct {
		mangle func(direction, int, []byte) []byte
		long   int
	}{
		"inserted": {inserted(back), 164}, "flipped": {flipped(back), 100}, "doubled": {doubled(back), 200},
	} {
		if got := tt.mangle(onward, 2, bytes.Clone(piece)); !bytes.Equal(got, piece) {
			t.Errorf("%s: the other direction is not spared", name)
		}
		got := tt.mangle(back, 2, bytes.Clone(piece))
		if len(got) != tt.long || bytes.Equal(got, piece) {
			t.Errorf("%s: %d bytes", name, len(got))
		}
		if again := tt.mangle(back, 2, bytes.Clone(piece)); !bytes.Equal(again, got) {
			t.Errorf("%s: not the same again", name)
		}
	}
}
