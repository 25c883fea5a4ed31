package vsocktest_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// start serves "echo" on a network of its own until the test ends.
func start(t *testing.T, opts vsocktest.Options) *vsocktest.Network {
	t.Helper()
	n := vsocktest.NewNetwork(opts)
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	srv.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
	l, err := n.Listen("enclave")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		n.Close()
		if err := <-served; err != vsockrpc.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return n
}

// client returns a client that dials through the network.
func client(t *testing.T, n *vsocktest.Network, keepalive time.Duration) *vsockrpc.Client {
	t.Helper()
	c, err := vsockrpc.NewClient("mem://enclave", vsockrpc.ClientOptions{
		Keepalive: keepalive,
		Dial:      func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return n.Dial(ctx, a.Path) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// size is how many bytes the calls of everywhere take in a direction.
func size(t *testing.T, d vsocktest.Direction) (n int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := start(t, vsocktest.Options{})
		if _, err := client(t, network, -1).Call(t.Context(), "echo", []byte("message")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n = network.Links()[0].Passed(d)
	})
	return n
}

// everywhere makes a call on a connection with a fault at every position, and
// then others with the same client and no fault, of which the first must
// succeed, or one of the first few.
func everywhere(t *testing.T, few int, fault func(at int) vsocktest.Faults, check func(t *testing.T, resp []byte, err error)) {
	for _, d := range []vsocktest.Direction{vsocktest.ToServer, vsocktest.ToClient} {
		total := size(t, d)
		if total < 40 {
			t.Fatalf("an exchange takes %d bytes", total)
		}
		for at := range total {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, vsocktest.Options{})
				n.Set(d, fault(at))
				c := client(t, n, time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				resp, err := c.Call(ctx, "echo", []byte("message"))
				check(t, resp, err)
				n.Set(d, vsocktest.Faults{})
				for range few {
					synctest.Wait()
					if resp, err = c.Call(t.Context(), "echo", []byte("again")); err == nil {
						break
					}
				}
				if err != nil || string(resp) != "again" {
					t.Errorf("the call afterwards: %q, %v", resp, err)
				}
				if t.Failed() {
					t.Fatalf("at byte %d of %d of direction %d", at, total, d)
				}
			})
		}
	}
}

// A connection that breaks anywhere before the answer is there fails the call
// at once, and the same client's next call succeeds.
func TestCutEverywhere(t *testing.T) {
	everywhere(t, 1, func(at int) vsocktest.Faults { return vsocktest.Faults{CutAfter: &at} },
		func(t *testing.T, resp []byte, err error) {
			if !errors.Is(err, vsockrpc.Unavailable) {
				t.Errorf("%q, %v", resp, err)
			}
		})
}

// Nothing here finds out about a changed byte as such: it may be one of the
// message, or make the peers wait for each other until the call's deadline. But
// they do not crash, and the client recovers.
func TestCorruptEverywhere(t *testing.T) {
	answered, failed, late := 0, 0, 0
	everywhere(t, 3, func(at int) vsocktest.Faults { return vsocktest.Faults{Corrupt: &at} },
		func(t *testing.T, resp []byte, err error) {
			switch {
			case err == nil:
				answered++
			case errors.Is(err, vsockrpc.DeadlineExceeded):
				late++
			default:
				failed++
			}
		})
	if answered == 0 || failed < late {
		t.Errorf("%d calls were answered, %d failed, and %d ended with the deadline", answered, failed, late)
	}
	t.Logf("%d calls were answered, %d failed, and %d ended with the deadline", answered, failed, late)
}

// A peer that is gone without a word is given up after the keepalive time and
// as long again.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, vsocktest.Options{})
		c := client(t, n, time.Second)
		if _, err := c.Call(t.Context(), "echo", nil); err != nil {
			t.Fatal(err)
		}
		n.Set(vsocktest.Both, vsocktest.Faults{Drop: true})
		began := time.Now()
		if _, err := c.Call(t.Context(), "echo", nil); !errors.Is(err, vsockrpc.Unavailable) || time.Since(began) > 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		n.Set(vsocktest.Both, vsocktest.Faults{})
		if _, err := c.Call(t.Context(), "echo", nil); err != nil {
			t.Errorf("on a new connection: %v", err)
		}
	})
}

// Calls come through in pieces and late, and take as long as that takes.
func TestSlowAndFragmented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, vsocktest.Options{Seed: 1, Buffer: 1000})
		n.Set(vsocktest.Both, vsocktest.Faults{Latency: time.Second, MaxRead: 5})
		c := client(t, n, 0)
		began := time.Now()
		var all sync.WaitGroup
		for i := range byte(10) {
			all.Go(func() {
				req := make([]byte, 2000)
				rand.NewChaCha8([32]byte{i}).Read(req)
				if resp, err := c.Call(t.Context(), "echo", req); err != nil || !bytes.Equal(req, resp) {
					t.Errorf("%d bytes, %v", len(resp), err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("a round trip in %v", took)
		}
	})
}

// A server that is out of descriptors for a while serves on afterwards, and a
// client that was refused does, too.
func TestNoConnectionsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vsocktest.NewNetwork(vsocktest.Options{})
		n.FailAccepts(syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED)
		l, err := n.Listen("enclave")
		if err != nil {
			t.Fatal(err)
		}
		srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
		srv.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
		go srv.Serve(l)
		defer srv.Close()
		c := client(t, n, 0)
		n.RefuseDials(true)
		if _, err := c.Call(t.Context(), "echo", nil); !errors.Is(err, vsockrpc.Unavailable) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("refused: %v", err)
		}
		n.RefuseDials(false)
		if _, err := c.Call(t.Context(), "echo", nil); err != nil {
			t.Error(err)
		}
	})
}
