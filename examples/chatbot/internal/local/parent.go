package local

import "context"

// StartParent starts the parent again, after KillParent or StopParent. It
// serves on another port than before.
func (c *Cluster) StartParent(ctx context.Context) error { return c.startParent(ctx) }

// KillParent ends the parent's process at once, as a crash would.
func (c *Cluster) KillParent() { c.parent.kill() }

// StopParent tells the parent to stop, and waits until it has: answers under
// way get a few seconds.
func (c *Cluster) StopParent() { c.parent.stop() }
