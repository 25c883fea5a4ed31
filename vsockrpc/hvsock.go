package vsockrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Hybrid vsock is how Firecracker, Cloud Hypervisor, Kata Containers and
// vhost-device-vsock show a guest's vsock to their host: as a unix socket. Who
// connects to it writes "CONNECT PORT\n", and once something in the guest has
// accepted, the answer is a line "OK N\n", with the port of the host's end.
// What follows is the stream. A guest that connects to port P of its host
// reaches the unix socket that is named like the other with "_P" behind it, and
// there is no greeting.

// mostReply bounds the answer's line in bytes. The longest that is right has
// 14; more of a wrong one helps to see what was reached.
const mostReply = 64

// HandshakeError is what Dial returns for a hybrid vsock address (hvsock)
// whose socket was there and answered something else than "OK N": no virtual
// machine serves it, and trying again does not help. Where only the port is
// closed, or nothing runs in the guest yet, the error wraps
// syscall.ECONNREFUSED, as elsewhere, or is that of the context.
type HandshakeError struct {
	// Port that was asked for.
	Port uint32
	// Reply is what came, at most 64 bytes and without the end of the line.
	Reply string
}

// Error quotes the reply.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("vsockrpc: no hybrid vsock: the answer to CONNECT %d is %q", e.Port, e.Reply)
}

// parseHybrid reads PATH:PORT.
func parseHybrid(s string) (a Addr, why string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return a, "want hvsock:///PATH:PORT"
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 32)
	if err != nil || n == AnyCID {
		return a, "the port is no number"
	}
	a = Addr{Scheme: "hvsock", Path: s[:i], Port: uint32(n)}
	if why := badPath(a.hostPath()); why != "" {
		return Addr{}, why
	}
	if strings.HasSuffix(a.Path, "/") {
		return Addr{}, "the path is a folder's"
	}
	return a, ""
}

// hostPath is where the guest's connections to a port of its host arrive.
func (a Addr) hostPath() string { return fmt.Sprintf("%s_%d", a.Path, a.Port) }

// dialHybrid connects to a port of the guest.
func dialHybrid(ctx context.Context, a Addr) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", a.Path)
	if err != nil {
		return nil, err
	}
	if err := connectHybrid(ctx, c, a.Port); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connectHybrid asks for a port, and takes nothing of the stream that follows
// the answer. Without an error the connection has no deadline afterwards.
func connectHybrid(ctx context.Context, c net.Conn, port uint32) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := func() error {
		if _, err := fmt.Fprintf(c, "CONNECT %d\n", port); err != nil {
			return err
		}
		return readOK(c, port)
	}()
	if !stop() { // the deadline is set, or will be any moment
		return &net.OpError{Op: "dial", Net: "hvsock", Addr: c.RemoteAddr(), Err: ctx.Err()}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = &net.OpError{Op: "dial", Net: "hvsock", Addr: c.RemoteAddr(), Err: syscall.ECONNREFUSED}
	}
	return err
}

// readOK reads the answer, byte by byte since what follows belongs to others.
// Its error is io.EOF if there was none, and a *HandshakeError if it is wrong.
func readOK(r io.Reader, port uint32) error {
	var buf [mostReply]byte
	for n := 0; ; n++ {
		if n == len(buf) {
			return &HandshakeError{Port: port, Reply: string(buf[:])}
		}
		if _, err := io.ReadFull(r, buf[n:n+1]); err != nil {
			if n > 0 {
				return &HandshakeError{Port: port, Reply: string(buf[:n])}
			}
			return err
		}
		if buf[n] == '\n' {
			line := string(buf[:n])
			number, ok := strings.CutPrefix(line, "OK ")
			if _, err := strconv.ParseUint(number, 10, 32); !ok || err != nil {
				return &HandshakeError{Port: port, Reply: line}
			}
			return nil
		}
	}
}
