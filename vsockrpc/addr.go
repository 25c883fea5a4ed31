package vsockrpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/mdlayher/vsock"

	"github.com/nitroseal/nitroseal/vsockrpc/internal/memnet"
)

// Context ids of vsock(7).
const (
	// AnyCID listens on every context id of the machine.
	AnyCID = math.MaxUint32
	// HostCID is the hypervisor. A Nitro Enclave's parent is not it, but
	// ParentCID.
	HostCID = 2
	// ParentCID is the parent instance of a Nitro Enclave.
	ParentCID = 3
)

// Addr is the address of a server:
//
//	vsock://CID:PORT     CID is a number, or "any" to listen on all
//	hvsock:///PATH:PORT  hybrid vsock, as Firecracker, Cloud Hypervisor and
//	                     vhost-device-vsock have it on their host: dialling
//	                     goes through the unix socket PATH to a port of the
//	                     guest; listening is on the unix socket PATH_PORT,
//	                     where the guest's connections to its host arrive
//	unix:///PATH         an absolute path
//	tcp://IP:PORT        a loopback address only, since nothing is encrypted
//	mem://NAME           within this process, for tests and examples; a name
//	                     has 1 to 255 of A-Z, a-z, 0-9, ".", "_" and "-"
//
// The name of a unix socket, PATH or PATH_PORT, has at most 107 bytes, which is
// what Linux takes; other systems take a few less, and say so later.
type Addr struct {
	// Scheme is "vsock", "hvsock", "unix", "tcp" or "mem".
	Scheme string
	// Path of a unix socket, also of hybrid vsock without the port; host:port
	// of TCP; or name in memory.
	Path string
	// CID of vsock, Port of vsock and hybrid vsock.
	CID, Port uint32
}

// ParseAddr parses an address.
func ParseAddr(s string) (Addr, error) {
	bad := func(why string) (Addr, error) {
		return Addr{}, fmt.Errorf("vsockrpc: address %q: %s", s, why)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return bad("want vsock://CID:PORT, hvsock:///PATH:PORT, unix:///PATH, tcp://IP:PORT or mem://NAME")
	}
	switch scheme {
	case "vsock":
		cid, port, ok := strings.Cut(rest, ":")
		if !ok {
			return bad("want vsock://CID:PORT")
		}
		a := Addr{Scheme: scheme, CID: AnyCID}
		if cid != "any" {
			n, err := strconv.ParseUint(cid, 10, 32)
			if err != nil || n == AnyCID {
				return bad(`the CID is no number and not "any"`)
			}
			a.CID = uint32(n)
		}
		n, err := strconv.ParseUint(port, 10, 32)
		if err != nil || n == AnyCID {
			return bad("the port is no number")
		}
		a.Port = uint32(n)
		return a, nil
	case "hvsock":
		a, why := parseHybrid(rest)
		if why != "" {
			return bad(why)
		}
		return a, nil
	case "unix":
		if why := badPath(rest); why != "" {
			return bad(why)
		}
		return Addr{Scheme: scheme, Path: rest}, nil
	case "tcp":
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return bad("want tcp://IP:PORT")
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return bad("the port is no number")
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return bad("only loopback addresses are taken: nothing is encrypted here")
		}
		return Addr{Scheme: scheme, Path: rest}, nil
	case "mem":
		if rest == "" || len(rest) > maxMemName || strings.Trim(rest, memName) != "" {
			return bad("the name is not 1 to 255 letters, digits, dots, underscores and hyphens")
		}
		return Addr{Scheme: scheme, Path: rest}, nil
	}
	return bad("unknown scheme")
}

// mostPath is the longest name of a unix socket in bytes, on Linux.
const mostPath = 107

// badPath says what is wrong with the name of a unix socket.
func badPath(path string) (why string) {
	switch {
	case !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0):
		return "the path is not absolute"
	case len(path) > mostPath:
		return fmt.Sprintf("the socket's path has %d bytes, at most %d are taken", len(path), mostPath)
	}
	return ""
}

// What names in memory are made of.
const (
	maxMemName = 255
	memName    = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
)

// memory is the name space of mem addresses.
var memory memnet.Registry

// String is the form that ParseAddr reads.
func (a Addr) String() string {
	switch {
	case a.Scheme == "hvsock":
		return fmt.Sprintf("hvsock://%s:%d", a.Path, a.Port)
	case a.Scheme != "vsock":
		return a.Scheme + "://" + a.Path
	case a.CID == AnyCID:
		return fmt.Sprintf("vsock://any:%d", a.Port)
	}
	return fmt.Sprintf("vsock://%d:%d", a.CID, a.Port)
}

// Listen listens on an address. A unix socket that no one serves any more is
// replaced; a new one can be used by this user only, who must be the one that
// runs the virtual machine where the address is of hybrid vsock.
func Listen(addr string) (net.Listener, error) {
	a, err := ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	var l net.Listener
	switch a.Scheme {
	case "vsock":
		l, err = listenVsock(a)
	case "hvsock":
		l, err = listenUnix(a.hostPath())
	case "unix":
		l, err = listenUnix(a.Path)
	case "tcp":
		l, err = net.Listen("tcp", a.Path)
	case "mem":
		l, err = memory.Listen(a.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("vsockrpc: listening on %s: %w", a, err)
	}
	return l, nil
}

func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New("the path exists and is no socket")
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return nil, syscall.EADDRINUSE
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// On Linux the socket's file takes the mode that the descriptor has when it
	// is bound; elsewhere it is set right afterwards.
	cfg := net.ListenConfig{Control: beforeBind}
	l, err := cfg.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Dial connects to an address. Where nobody listens, the error wraps
// syscall.ECONNREFUSED, or what else the system says of it; see HandshakeError
// for hybrid vsock. Cancelling ctx ends the attempt, and no connection.
func Dial(ctx context.Context, addr string) (net.Conn, error) {
	a, err := ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	c, err := a.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("vsockrpc: dialling %s: %w", a, err)
	}
	return c, nil
}

func (a Addr) dial(ctx context.Context) (net.Conn, error) {
	switch a.Scheme {
	case "unix", "tcp":
		var d net.Dialer
		return d.DialContext(ctx, a.Scheme, a.Path)
	case "hvsock":
		return dialHybrid(ctx, a)
	case "mem":
		c, err := memory.Dial(ctx, a.Path)
		if err != nil {
			return nil, err // not a nil *memnet.Conn in an interface
		}
		return c, nil
	}
	if a.CID == AnyCID {
		return nil, errors.New(`"any" is for listening`)
	}
	c, err := vsock.DialContext(ctx, a.CID, a.Port, nil)
	if err != nil {
		return nil, err // not a nil *vsock.Conn in an interface
	}
	return &vsockConn{Conn: c}, nil
}
