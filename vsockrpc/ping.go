package vsockrpc

import (
	"context"
	"fmt"
	"time"
)

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

// keepAlive pings a silent peer and gives up one that leaves the PING without
// an answer. The time counts from the PING, not from the last frame: a machine
// that was paused finds the peer silent, but has not asked it yet.
func (c *conn) keepAlive() {
	t := time.NewTicker(max(c.keepalive/2, 1))
	defer t.Stop()
	var heard, pinged time.Duration // since began; pinged is 0 when no PING is out
	for {
		select {
		case <-c.gone:
			return
		case <-t.C:
		}
		now, last := time.Since(c.began), time.Duration(c.lastRead.Load())
		if last != heard {
			heard, pinged = last, 0
		}
		switch {
		case pinged == 0 && now-heard >= c.keepalive:
			pinged = now
			c.out.put(func(b []byte) []byte { return append64(b, framePing, 0) })
		case pinged != 0 && now-pinged >= c.keepalive:
			c.close(&Error{Code: Unavailable, Message: fmt.Sprintf("the peer was silent for %v", (now - heard).Round(time.Second)), cause: context.DeadlineExceeded})
			return
		}
	}
}
