package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// guest is a program in a virtual machine that listens on a port, behind the
// machine's monitor, which has a unix socket on the host.
type guest struct {
	*net.UnixListener
	port uint32
}

// listenInGuest listens on a port of a new virtual machine until the test ends,
// and returns the address that it has for the host.
func listenInGuest(t *testing.T, port uint32) (guest, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "v")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return guest{l, port}, fmt.Sprintf("hvsock://%s:%d", path, port)
}

// Accept waits for a connection to the port. Those to other ports are closed
// without a word.
func (g guest) Accept() (net.Conn, error) {
	want := fmt.Sprintf("CONNECT %d\n", g.port)
	for {
		c, err := g.UnixListener.Accept()
		if err != nil {
			return nil, err
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err == nil && string(got) == want {
			if _, err := io.WriteString(c, "OK 1073741824\n"); err == nil {
				return c, nil
			}
		}
		c.Close()
	}
}

// toGuest is the transport from the host to a guest.
func toGuest(t *testing.T) transport {
	g, addr := listenInGuest(t, 5005)
	return transport{g, func() (net.Conn, error) { return vsockrpc.Dial(context.Background(), addr) }}
}

// fromGuest is the transport from a guest to the host.
func fromGuest(t *testing.T) transport {
	path := filepath.Join(t.TempDir(), "v")
	l, err := vsockrpc.Listen("hvsock://" + path + ":8000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return transport{l, func() (net.Conn, error) { return net.Dial("unix", path+"_8000") }}
}

// Calls, also those of a pool, work through the monitors of virtual machines.
func TestCallsToGuests(t *testing.T) {
	var addrs []string
	for range 2 {
		g, addr := listenInGuest(t, 5005)
		s := newServer(vsockrpc.ServerOptions{})
		defer s.Close()
		go s.Serve(g)
		addrs = append(addrs, addr)
		if resp, err := dial(t, addr).Call(t.Context(), "echo", []byte("question")); string(resp) != "question" || err != nil {
			t.Errorf("a client: %q, %v", resp, err)
		}
	}
	p, err := vsockrpc.NewPool(addrs, vsockrpc.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 4 {
		var by string
		resp, err := p.Call(vsockrpc.ServedBy(t.Context(), &by), "echo", []byte("question"))
		if string(resp) != "question" || err != nil || by != addrs[0] && by != addrs[1] {
			t.Errorf("a pool: %q from %s, %v", resp, by, err)
		}
	}
}

// A machine that is not there, a port that nobody listens on, and a socket that
// is no machine's are told apart.
func TestDialWithoutGuest(t *testing.T) {
	_, addr := listenInGuest(t, 5005) // nobody accepts
	a, err := vsockrpc.ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := vsockrpc.Dial(canceled, addr); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	a.Path += "x"
	if _, err := vsockrpc.Dial(t.Context(), a.String()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no machine: %v", err)
	}

	g, addr := listenInGuest(t, 5005)
	go func() {
		for {
			if _, err := g.Accept(); err != nil {
				return
			}
		}
	}()
	if a, err = vsockrpc.ParseAddr(addr); err != nil {
		t.Fatal(err)
	}
	a.Port++
	if _, err := vsockrpc.Dial(t.Context(), a.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a closed port: %v", err)
	}

	// A server of this package says something else first.
	path := filepath.Join(t.TempDir(), "s")
	serve(t, "unix://"+path, vsockrpc.ServerOptions{})
	var wrong *vsockrpc.HandshakeError
	if _, err := vsockrpc.Dial(t.Context(), "hvsock://"+path+":1"); !errors.As(err, &wrong) || wrong.Port != 1 {
		t.Errorf("no machine's socket: %v", err)
	}
}

// The names of sockets are those that monitors look for, and are this user's.
func TestListenForGuest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vm.vsock")
	l, err := vsockrpc.Listen("hvsock://" + path + ":08000")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path + "_8000")
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the monitor's own name: %v", err)
	}
	if _, err := vsockrpc.Listen("hvsock://" + path + ":8000"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("two listen: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path + "_8000"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}
