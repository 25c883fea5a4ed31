package vsockrpc_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// transport is a listener and how to reach it.
type transport struct {
	net.Listener
	dial func() (net.Conn, error)
}

// connect returns both ends of a new connection.
func (tr transport) connect() (client, server net.Conn, err error) {
	accepted := make(chan error, 1)
	go func() {
		var err error
		server, err = tr.Accept()
		accepted <- err
	}()
	client, err = tr.dial()
	if err != nil {
		tr.Close() // ends Accept
		<-accepted
		return nil, nil, err
	}
	if err := <-accepted; err != nil {
		client.Close()
		return nil, nil, err
	}
	return client, server, nil
}

// pair is connect for a test, which ends the connection.
func (tr transport) pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client, server, err := tr.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// transportOf listens on a fresh address of a scheme until the test ends.
func transportOf(t *testing.T, scheme string) transport {
	t.Helper()
	switch scheme {
	case "hvsock":
		return toGuest(t)
	case "hvsock from guest":
		return fromGuest(t)
	}
	addr := "mem://" + strings.ReplaceAll(t.Name(), "/", ".")
	if scheme != "mem" {
		addr = address(t, scheme)
	}
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return transport{l, func() (net.Conn, error) { return vsockrpc.Dial(context.Background(), addr) }}
}

// eachTransport runs a test over all that a server may listen on, and over the
// network of package vsocktest.
func eachTransport(t *testing.T, test func(t *testing.T, tr transport)) {
	for _, scheme := range []string{"mem", "unix", "tcp", "vsock", "hvsock", "hvsock from guest"} {
		t.Run(scheme, func(t *testing.T) {
			if scheme == "vsock" && local != "vsock" {
				t.Skip("no vsock here: NITROSEAL_TRANSPORT=vsock says where it is, which .ci/guest does in a guest")
			}
			t.Parallel()
			test(t, transportOf(t, scheme))
		})
	}
	t.Run("vsocktest", func(t *testing.T) {
		t.Parallel()
		n := vsocktest.NewNetwork(vsocktest.Options{})
		defer n.Close()
		l, err := n.Listen("name")
		if err != nil {
			t.Fatal(err)
		}
		test(t, transport{l, func() (net.Conn, error) { return n.Dial(context.Background(), "name") }})
	})
}

// What golang.org/x/net asks of every net.Conn.
func TestConformance(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr transport) {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			c1, c2, err = tr.connect()
			return c1, c2, func() {
				c1.Close()
				c2.Close()
			}, err
		})
	})
}

// closeWrite ends one direction.
func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		t.Fatalf("%T cannot end one direction", c)
	}
	if err := h.CloseWrite(); err != nil {
		t.Error(err)
	}
}

func TestHalfClose(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr transport) {
		client, server := tr.pair(t)
		if _, err := io.WriteString(client, "question"); err != nil {
			t.Fatal(err)
		}
		closeWrite(t, client)
		if got, err := io.ReadAll(server); string(got) != "question" || err != nil {
			t.Errorf("there: %q, %v", got, err)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("after the end: %v", err)
		}
		if _, err := io.WriteString(server, "answer"); err != nil {
			t.Error(err)
		}
		closeWrite(t, server)
		if got, err := io.ReadAll(client); string(got) != "answer" || err != nil {
			t.Errorf("back: %q, %v", got, err)
		}
	})
}

// A Read or Write whose deadline passes in the middle loses nothing and
// repeats nothing.
func TestDeadlineInTheMiddle(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr transport) {
		client, server := tr.pair(t)
		in := make([]byte, 8<<20)
		rand.NewChaCha8([32]byte{1}).Read(in)
		// Nobody reads: the deadline comes when everything in between is full.
		client.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		sent, err := client.Write(in)
		if !errors.Is(err, os.ErrDeadlineExceeded) || sent == 0 || sent == len(in) {
			t.Fatalf("%d bytes written to nobody, %v", sent, err)
		}
		got := make([]byte, len(in))
		n, err := io.ReadFull(server, got[:sent-1000])
		if err != nil {
			t.Fatal(n, err)
		}
		server.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		k, err := io.ReadFull(server, got[n:]) // 1000 bytes are there
		if n += k; !errors.Is(err, os.ErrDeadlineExceeded) || n > sent {
			t.Fatalf("%d of %d bytes, %v", n, sent, err)
		}
		client.SetWriteDeadline(time.Time{})
		server.SetReadDeadline(time.Time{})
		written := make(chan error, 1)
		go func() {
			_, err := client.Write(in[sent:])
			written <- err
		}()
		if _, err := io.ReadFull(server, got[n:]); err != nil || sha256.Sum256(got) != sha256.Sum256(in) {
			t.Errorf("%v, or other bytes", err)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

// Close ends what waits, and what comes later, with net.ErrClosed.
func TestCloseEndsWhatWaits(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr transport) {
		client, _ := tr.pair(t)
		var calls sync.WaitGroup
		began := make(chan struct{}, 3)
		call := func(name string, f func() error) {
			calls.Go(func() {
				began <- struct{}{}
				if err := f(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		read := func() error { _, err := client.Read(make([]byte, 1)); return err }
		write := func() error { _, err := client.Write(make([]byte, 8<<20)); return err }
		accept := func() error { _, err := tr.Accept(); return err }
		call("Read", read)
		call("Write", write)
		call("Accept", accept)
		for range cap(began) {
			<-began
		}
		client.Close()
		tr.Close()
		calls.Wait()
		for name, f := range map[string]func() error{
			"Read": read, "Write": write, "Accept": accept,
			"SetDeadline": func() error { return client.SetDeadline(time.Time{}) },
			"CloseWrite":  client.(interface{ CloseWrite() error }).CloseWrite,
		} {
			call(name+" after Close", f)
		}
		for range 5 {
			<-began
		}
		calls.Wait()
	})
}

func TestPeerCloses(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr transport) {
		client, server := tr.pair(t)
		if _, err := io.WriteString(server, "last words"); err != nil {
			t.Fatal(err)
		}
		server.Close()
		if got, err := io.ReadAll(client); string(got) != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		// Some learn only from what they write that nobody reads it.
		client.SetWriteDeadline(time.Now().Add(time.Minute))
		var err error
		for err == nil {
			_, err = client.Write([]byte("x"))
		}
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("writing to nobody: %v", err)
		}
	})
}

// Many bytes in one Write, in both directions at once, arrive as they were.
func TestLargeWrites(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr transport) {
		client, server := tr.pair(t)
		var all sync.WaitGroup
		for i, ends := range [][2]net.Conn{{client, server}, {server, client}} {
			in := make([]byte, 8<<20)
			rand.NewChaCha8([32]byte{byte(i)}).Read(in)
			all.Go(func() {
				if n, err := ends[0].Write(in); n != len(in) || err != nil {
					t.Error(n, err)
				}
				closeWrite(t, ends[0])
			})
			all.Go(func() {
				h := sha256.New()
				if n, err := io.Copy(h, ends[1]); err != nil || [32]byte(h.Sum(nil)) != sha256.Sum256(in) {
					t.Errorf("%d bytes, %v", n, err)
				}
			})
		}
		all.Wait()
	})
}

// Calls work over memory as they do over sockets.
func TestCallsInMemory(t *testing.T) {
	const addr = "mem://TestCallsInMemory"
	if _, err := vsockrpc.Dial(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	serve(t, addr, vsockrpc.ServerOptions{})
	if _, err := vsockrpc.Listen(addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("two listen: %v", err)
	}
	c := dial(t, addr)
	for range 3 {
		req := make([]byte, 3<<20)
		if resp, err := c.Call(t.Context(), "echo", req); err != nil || len(resp) != len(req) {
			t.Errorf("%d bytes, %v", len(resp), err)
		}
	}
}

func TestRefusedAddresses(t *testing.T) {
	for _, tt := range []struct{ addr, says string }{
		{"", "want vsock://CID:PORT"},
		{"mem", "want vsock://CID:PORT"},
		{"mem:/name", "want vsock://CID:PORT"},
		{"://name", "unknown scheme"},
		{"MEM://name", "unknown scheme"},
		{"mem://", "the name"},
		{"mem://a b", "the name"},
		{"mem:///a", "the name"},
		{"mem://a:1", "the name"},
		{"mem://ä", "the name"},
		{"mem://a\x00", "the name"},
		{"mem://\xff", "the name"},
		{"mem://" + strings.Repeat("x", 256), "the name"},
		{"vsock://1:1:1", "the port"},
		{"vsock://-1:1", "the CID"},
		{"vsock://:1", "the CID"},
		{"vsock://1:", "the port"},
		{"vsock://ANY:1", "the CID"},
		{"vsock://0x10:1", "the CID"},
		{"unix://\x00", "not absolute"},
		{"unix:///a\x00b", "not absolute"},
		{"tcp://:80", "only loopback"},
		{"tcp://0.0.0.0:80", "only loopback"},
		{"tcp://[::]:80", "only loopback"},
		{"tcp://[::1%lo]:80", "only loopback"},
		{"tcp://::1:80", "want tcp://IP:PORT"},
		{"tcp://127.0.0.1:", "the port"},
		{"tcp://127.0.0.1:http", "the port"},
		{"tcp://127.0.0.1:-1", "the port"},
		{"unix:///" + strings.Repeat("x", 107), "has 108 bytes"},
		{"hvsock://", "want hvsock:///PATH:PORT"},
		{"hvsock:///vm.vsock", "want hvsock:///PATH:PORT"},
		{"hvsock:///vm.vsock:", "the port"},
		{"hvsock:///vm.vsock:any", "the port"},
		{"hvsock:///vm.vsock:-1", "the port"},
		{"hvsock:///vm.vsock:+1", "the port"},
		{"hvsock:///vm.vsock: 1", "the port"},
		{"hvsock:///vm.vsock:1\n", "the port"},
		{"hvsock:///vm.vsock:1/", "the port"},
		{"hvsock:///vm.vsock:4294967295", "the port"},
		{"hvsock:///vm.vsock:4294967296", "the port"},
		{"hvsock://vm.vsock:1", "not absolute"},
		{"hvsock://:1", "not absolute"},
		{"hvsock:///vm\x00:1", "not absolute"},
		{"hvsock:///:1", "a folder"},
		{"hvsock:///run/:1", "a folder"},
		{"hvsock:///" + strings.Repeat("x", 101) + ":50000", "has 108 bytes"},
	} {
		if a, err := vsockrpc.ParseAddr(tt.addr); err == nil || !strings.Contains(err.Error(), tt.says) || a != (vsockrpc.Addr{}) {
			t.Errorf("%q: %v, %v", tt.addr, a, err)
		}
	}
	for _, good := range []string{"hvsock:///run/vm.vsock:5000", "hvsock:///a:b:0", "hvsock:///a://b:4294967294", "hvsock:///" + strings.Repeat("x", 100) + ":50000",
		"unix:///" + strings.Repeat("x", 106), "mem://a", "mem://" + strings.Repeat("x", 255), "mem://AZaz09._-", "mem://..", "vsock://0:0"} {
		if a, err := vsockrpc.ParseAddr(good); err != nil || a.String() != good {
			t.Errorf("%q: %v, %v", good, a, err)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"vsock://16:5000", "vsock://any:5000", "vsock://007:08", "unix:///run/x.sock", "unix:///a://b",
		"hvsock:///run/vm.vsock:5000", "hvsock:///a:b:007", "hvsock:///:1", "hvsock:///a_1:4294967295",
		"tcp://127.0.0.1:80", "tcp://[::1]:080", "tcp://[::ffff:127.0.0.1]:0", "mem://name", "mem://a.b_c-1", "mem://a b", "", "x://y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := vsockrpc.ParseAddr(s)
		if err != nil {
			if a != (vsockrpc.Addr{}) || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
				t.Errorf("%q: %v beside %v", s, a, err)
			}
			return
		}
		again, err := vsockrpc.ParseAddr(a.String())
		if err != nil || again != a {
			t.Errorf("%q: %#v, then %#v, %v", s, a, again, err)
		}
	})
}
