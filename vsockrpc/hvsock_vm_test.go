package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// guest is a program in a virtual machine that listens on a port, and the
// machine's monitor, which has a unix socket on the host.
type guest struct {
	*net.UnixListener
	port uint32
}

// listenInGuest listens on a port of a new virtual machine, and returns the
// address that it has for the host.
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

// Accept waits for a connection to the port. Those to others are closed.
func (g guest) Accept() (net.Conn, error) {
	for {
		c, err := g.UnixListener.Accept()
		if err != nil {
			return nil, err
		}
		want := fmt.Sprintf("CONNECT %d\n", g.port)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			c.Close()
			continue
		}
		// As much in one packet as there is, so that who reads more than the
		// line takes from the stream.
		return &greeting{UnixConn: c.(*net.UnixConn), line: []byte("OK 1073741824\n")}, nil
	}
}

// greeting is a connection whose first bytes are not of the stream. They are
// sent at once, unless write comes first.
type greeting struct {
	*net.UnixConn
	line []byte
}

// toGuest is the transport from the host to a guest.
func toGuest(t *testing.T) transport {
	g, addr := listenInGuest(t, 5005)
	return transport{greeted{g}, func() (net.Conn, error) { return vsockrpc.Dial(context.Background(), addr) }}
}
