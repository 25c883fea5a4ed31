package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The heartbeat of an enclave, as the init of AWS sends it: one byte to this
// port of the parent, which sends it back. nitro-cli run-enclave waits for it.
const (
	heartbeatPort    = 9000
	heartbeatByte    = 0xb7
	heartbeatTimeout = 3 * time.Second
)

// heartbeat sends the heartbeat. An error means that nobody waits for it, which
// is no reason not to run: where somebody does, it is they who give up.
func heartbeat(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := c.Write([]byte{heartbeatByte}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	if answer[0] != heartbeatByte {
		return errors.New("another byte came back")
	}
	return nil
}
