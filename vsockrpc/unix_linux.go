package vsockrpc

import "syscall"

// beforeBind gives a unix socket its mode before it has a name, so that at no
// time another user can connect.
func beforeBind(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); cerr != nil {
		return cerr
	}
	return err
}
