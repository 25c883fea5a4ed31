package main

import (
	"context"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const hopEnclave = "enclave"

func enclaveCells() []cell {
	gone := of(wire.ReasonUnavailable, wire.ReasonKeyUnknown)
	elsewhere := func(o *chat.Options) { o.RetryElsewhere = true }
	return []cell{
		{
			hop: hopEnclave, fault: "killed", how: "SIGKILL, then started again, with another key",
			must: gone, may: append(of(wire.ReasonDeadline), truncated),
			inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				p.cluster.KillEnclave(0)
				return func() error { return p.cluster.StartEnclave(ctx, 0) }, nil
			},
		},
		{
			hop: hopEnclave, fault: "told to end", how: "SIGTERM: answers under way are finished; then started again",
			must: gone, may: of(wire.ReasonNotReady),
			inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				if err := syscall.Kill(p.pid("enclave"), syscall.SIGTERM); err != nil {
					return nil, err
				}
				return func() error {
					p.cluster.StopEnclave(0)
					return p.cluster.StartEnclave(ctx, 0)
				}, nil
			},
		},
		{hop: hopEnclave, fault: "frozen", how: "SIGSTOP, then SIGCONT", must: of(wire.ReasonDeadline), may: append(gone, truncated), inject: freeze("enclave")},
		{
			hop: hopEnclave, fault: "replaced", how: "another with another key takes its place at once; clients have RetryElsewhere",
			must: append(gone, truncated), may: of(wire.ReasonDeadline), edit: elsewhere,
			inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				p.cluster.KillEnclave(0)
				err := p.cluster.StartEnclave(ctx, 0)
				return func() error { return nil }, err
			},
		},
		{
			hop: hopEnclave, fault: "one of two killed", how: "SIGKILL; all go on with the other; then started again",
			enclaves: 2, hold: 3 * time.Second, must: append(gone, truncated), may: of(wire.ReasonDeadline),
			inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				p.cluster.KillEnclave(0)
				return func() error { return p.cluster.StartEnclave(ctx, 0) }, nil
			},
		},
		{
			hop: hopEnclave, fault: "one of two frozen", how: "SIGSTOP; then SIGCONT",
			enclaves: 2, must: of(wire.ReasonDeadline), may: append(gone, truncated), inject: freeze("enclave2"),
		},
		{
			hop: hopEnclave, fault: "out of descriptors", how: "its limit is 3 files (prlimit), its connections are cut",
			must: append(of(wire.ReasonUnavailable, wire.ReasonKMSUnavailable, wire.ReasonDeadline), truncated), may: gone,
			inject: outOfFiles("enclave", func(p *pipeline) {
				p.links[0].cut()
				p.egress.cut()
			}),
		},
	}
}
