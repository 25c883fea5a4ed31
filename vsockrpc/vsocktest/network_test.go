package vsocktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect returns both ends of a new connection. Whoever wants them closed
// closes the network.
func connect(t *testing.T, n *Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen("name")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = n.Dial(t.Context(), "name")
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// bubble runs a test in a bubble, where nothing may be left waiting.
func bubble(t *testing.T, opts Options, test func(t *testing.T, n *Network, client, server net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(opts)
		defer n.Close()
		client, server := connect(t, n)
		test(t, n, client, server)
	})
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := io.WriteString(c, s); n != len(s) || err != nil {
		t.Errorf("%d of %d bytes written, %v", n, len(s), err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// silent checks that there is nothing to read, not even the end.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Hour))
	if n, err := c.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
	c.SetReadDeadline(time.Time{})
}

func TestLatency(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Network, client, server net.Conn) {
		arrives := func(c net.Conn, want string, after time.Duration) {
			t.Helper()
			began := time.Now()
			if want == "" {
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
			} else {
				read(t, c, want)
			}
			if got := time.Since(began); got != after {
				t.Errorf("%q after %v, not %v", want, got, after)
			}
		}
		n.Set(ToServer, Faults{Latency: 50 * time.Millisecond})
		n.Links()[0].Set(ToClient, Faults{Latency: time.Second})
		write(t, client, "ab")
		time.Sleep(20 * time.Millisecond)
		write(t, client, "cd")
		arrives(server, "ab", 30*time.Millisecond)
		arrives(server, "cd", 20*time.Millisecond)
		write(t, server, "answer")
		arrives(client, "answer", time.Second)
		// What is under way keeps its latency, and what comes later does not
		// overtake it.
		write(t, client, "slow")
		n.Set(ToServer, Faults{})
		write(t, client, "fast")
		arrives(server, "slowfast", 50*time.Millisecond)
		write(t, client, "now")
		arrives(server, "now", 0)
		// So does the end, and only then a writer learns of it.
		n.Set(Both, Faults{Latency: 10 * time.Millisecond})
		write(t, server, "bye")
		server.Close()
		write(t, client, "into the void")
		arrives(client, "bye", 10*time.Millisecond)
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
		arrives(client, "", 0)
	})
}

func TestMaxRead(t *testing.T) {
	in := make([]byte, 10000)
	rand.NewChaCha8([32]byte{}).Read(in)
	sizes := func(seed uint64, most int) (all []int) {
		n := NewNetwork(Options{Seed: seed})
		defer n.Close()
		n.Set(ToServer, Faults{MaxRead: most})
		client, server := connect(t, n)
		go func() {
			client.Write(in)
			client.(interface{ CloseWrite() error }).CloseWrite()
		}()
		var got []byte
		for p := make([]byte, len(in)); ; {
			n, err := server.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil || n > most {
				t.Fatal(n, err)
			}
			all = append(all, n)
		}
		if !bytes.Equal(got, in) {
			t.Error("other bytes arrived")
		}
		return all
	}
	if n := len(sizes(1, 1)); n != len(in) {
		t.Errorf("%d reads of one byte", n)
	}
	seven := sizes(1, 7)
	if !slices.Equal(seven, sizes(1, 7)) || slices.Equal(seven, sizes(2, 7)) || slices.Min(seven) != 1 || slices.Max(seven) != 7 {
		t.Error("the sizes do not follow from the seed")
	}
}

func TestStall(t *testing.T) {
	bubble(t, Options{Buffer: 10}, func(t *testing.T, n *Network, client, server net.Conn) {
		n.Set(ToServer, Faults{Stall: true})
		write(t, client, "0123456789")
		silent(t, server)
		client.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := client.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the buffer is full: %d, %v", n, err)
		}
		write(t, server, "still")
		read(t, client, "still")
		client.Close()
		silent(t, server)
		time.AfterFunc(time.Second, func() { n.Set(ToServer, Faults{}) })
		began := time.Now()
		if got, err := io.ReadAll(server); string(got) != "0123456789" || err != nil || time.Since(began) != time.Second {
			t.Errorf("%q after %v, %v", got, time.Since(began), err)
		}
	})
}

func TestDrop(t *testing.T) {
	bubble(t, Options{Buffer: 10}, func(t *testing.T, n *Network, client, server net.Conn) {
		n.Set(Both, Faults{Drop: true})
		for range 100 {
			write(t, client, "more than the buffer holds")
			write(t, server, "x")
		}
		silent(t, server)
		server.Close()
		write(t, client, "nobody tells")
		silent(t, client)
		if l := n.Links()[0]; l.Passed(Both) != 0 {
			t.Errorf("%d bytes were carried", l.Passed(Both))
		}
		// What was lost stays lost, the end as well.
		n.Set(Both, Faults{})
		silent(t, client)
		write(t, client, "into the void")
	})
}

// For each position the bytes before arrive, then the end, on both sides.
func TestCutAfter(t *testing.T) {
	const there, back = "0123456789", "answer"
	for d, total := range map[Direction]int{ToServer: len(there), ToClient: len(back)} {
		for at := range total + 2 {
			for _, latency := range []time.Duration{0, time.Second} {
				bubble(t, Options{}, func(t *testing.T, n *Network, _, _ net.Conn) {
					n.Set(Both, Faults{Latency: latency})
					n.Set(d, Faults{Latency: latency, CutAfter: &at})
					client, server := connect(t, n)
					if d == ToClient && at > 0 {
						write(t, client, there)
						read(t, server, there)
					}
					from, to, text := client, server, there
					if d == ToClient {
						from, to, text = server, client, back
					}
					k, err := io.WriteString(from, text)
					if want := min(at, len(text)); k != want || (k < len(text)) != errors.Is(err, syscall.EPIPE) {
						t.Errorf("%d bytes at most: %d written, %v", at, k, err)
					}
					if at > len(text) {
						return // no cut yet
					}
					if got, err := io.ReadAll(to); string(got) != text[:at] || err != nil {
						t.Errorf("%d bytes at most: %q, %v", at, got, err)
					}
					for _, c := range []net.Conn{client, server} {
						if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
							t.Errorf("cut after %d: %v", at, err)
						}
						if _, err := c.Read(make([]byte, 1)); err != io.EOF {
							t.Errorf("cut after %d: %v", at, err)
						}
					}
					if got := n.Links()[1].Passed(d); got != at {
						t.Errorf("%d bytes carried, not %d", got, at)
					}
				})
			}
		}
	}
}

// A cut reaches everything that waits.
func TestCutNow(t *testing.T) {
	bubble(t, Options{Buffer: 4}, func(t *testing.T, n *Network, client, server net.Conn) {
		write(t, client, "1234")
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := client.Write([]byte("5")); !errors.Is(err, syscall.EPIPE) {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		})
		synctest.Wait()
		n.Links()[0].Set(ToServer, Faults{CutAfter: new(0)})
		all.Wait()
		if got, err := io.ReadAll(server); string(got) != "1234" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestCorruptAndTap(t *testing.T) {
	var tapped [2][2]bytes.Buffer
	tap := func(link int, d Direction, p []byte) {
		if d != ToServer && d != ToClient {
			t.Errorf("direction %d", d)
		}
		tapped[link][d-1].Write(p)
	}
	bubble(t, Options{Tap: tap}, func(t *testing.T, n *Network, _, server net.Conn) {
		n.Set(ToServer, Faults{Corrupt: new(3)})
		client, second := connect(t, n)
		in := []byte("abcdef")
		for _, p := range [][]byte{in[:2], in[2:5], in[5:]} {
			write(t, client, string(p))
		}
		read(t, second, "abc\x9bef")
		write(t, second, "answer")
		read(t, client, "answer")
		write(t, server, "first")
		n.Set(ToServer, Faults{Corrupt: new(3)}) // past already
		write(t, client, "ghi")
		read(t, second, "ghi")
		n.Set(Both, Faults{Drop: true})
		write(t, client, "lost")
		if l := n.Links()[1]; l.Passed(ToServer) != 9 || l.Passed(ToClient) != 6 || l.Passed(Both) != 15 {
			t.Errorf("%d and %d bytes", l.Passed(ToServer), l.Passed(ToClient))
		}
	})
	for i, want := range [][2]string{{"", "first"}, {"abc\x9befghi", "answer"}} {
		if there, back := tapped[i][0].String(), tapped[i][1].String(); there != want[0] || back != want[1] {
			t.Errorf("connection %d carried %q and %q", i, there, back)
		}
	}
}

// Corrupting changes what arrives, not what the writer holds.
func TestCorruptLeavesTheWritersBytes(t *testing.T) {
	n := NewNetwork(Options{})
	defer n.Close()
	n.Set(Both, Faults{Corrupt: new(0)})
	client, server := connect(t, n)
	p := []byte("a")
	if _, err := client.Write(p); err != nil || p[0] != 'a' {
		t.Errorf("%q, %v", p, err)
	}
	read(t, server, "\x9e")
}

func TestDialAndAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(Options{})
		if _, err := n.Dial(t.Context(), "name"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		l, err := n.Listen("name")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("name"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("two listen: %v", err)
		}
		if other, err := NewNetwork(Options{}).Listen("name"); err != nil {
			t.Errorf("on another network: %v", err)
		} else {
			other.Close()
		}
		n.RefuseDials(true)
		if _, err := n.Dial(t.Context(), "name"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dials are refused: %v", err)
		}
		n.RefuseDials(false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.Dial(ctx, "name"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		client, err := n.Dial(t.Context(), "name")
		if err != nil {
			t.Fatal(err)
		}
		n.FailAccepts(syscall.EMFILE, os.ErrDeadlineExceeded)
		for _, want := range []error{syscall.EMFILE, os.ErrDeadlineExceeded} {
			if _, err := l.Accept(); !errors.Is(err, want) {
				t.Errorf("%v, not %v", err, want)
			}
		}
		if server, err := l.Accept(); err != nil {
			t.Error(err)
		} else {
			write(t, server, "x")
			read(t, client, "x")
		}
		accept := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			accept <- err
		}()
		n.Set(ToClient, Faults{Stall: true})
		reading := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1))
			reading <- err
		}()
		synctest.Wait()
		n.Close()
		if err := <-accept; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if err := <-reading; err != io.EOF {
			t.Errorf("Read after Close: %v", err)
		}
		if _, err := n.Dial(t.Context(), "name"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial after Close: %v", err)
		}
		if _, err := n.Listen("name"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Close: %v", err)
		}
	})
}

// Faults that come and go while bytes flow lose none, unless they are to.
func TestChangingFaults(t *testing.T) {
	n := NewNetwork(Options{Seed: 3, Buffer: 5000})
	defer n.Close()
	client, server := connect(t, n)
	in := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{3}).Read(in)
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			n.Set(Both, []Faults{{Stall: true}, {MaxRead: 100}, {Latency: 100 * time.Microsecond}, {}}[i%4])
			select {
			case <-done:
				return
			default:
			}
		}
	})
	all.Go(func() {
		if _, err := client.Write(in); err != nil {
			t.Error(err)
		}
		client.Close()
	})
	if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, in) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	close(done)
	all.Wait()
}
