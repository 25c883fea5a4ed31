//go:build !linux

package vsockrpc

import "syscall"

// beforeBind does nothing: other systems refuse to change the mode of a socket
// without a name.
func beforeBind(string, string, syscall.RawConn) error { return nil }
