package vsockrpc

import "context"

// ping sends a PING and waits for its answer. Keepalive's have the number 0.
func (c *conn) ping(ctx context.Context) error {
	answer := make(chan struct{})
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.lastPing++
	n := c.lastPing
	if c.pings == nil {
		c.pings = map[uint64]chan struct{}{}
	}
	c.pings[n] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pings, n)
		c.mu.Unlock()
	}()
	// The connection's own goroutine reads while we wait.
	c.turn.mu.Lock()
	c.turn.waiting.Add(1)
	c.startReading()
	c.turn.mu.Unlock()
	defer c.turn.waiting.Add(-1)
	c.out.put(func(b []byte) []byte { return append64(b, framePing, n) })
	select {
	case <-answer:
		return nil
	case <-c.gone:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	case <-ctx.Done():
		return ctxError(ctx)
	}
}

// ponged takes a PONG. One that nobody asked for is ignored.
func (c *conn) ponged(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.pings[n]; answer != nil {
		delete(c.pings, n)
		close(answer)
	}
}
