package main

import (
	"context"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const hopLink = "link parent–enclave"

// onLink makes a fault of the link between parent and the first enclave.
func onLink(f fault, cut bool) func(context.Context, *pipeline) (func() error, error) {
	return func(_ context.Context, p *pipeline) (func() error, error) {
		p.links[0].set(f)
		if cut {
			p.links[0].cut()
		}
		return p.links[0].mend(f), nil
	}
}

func linkCells() []cell {
	// The parent's words for a link that fails; an answer that has begun ends
	// without its last segment.
	broken := append(of(wire.ReasonUnavailable, wire.ReasonDeadline), truncated)
	spoilt := append(of(wire.ReasonInternal, wire.ReasonBadRequest, wire.ReasonKeyUnknown, wire.ReasonStale), append(broken, forged, disordered, oversized, malformed, badConfig, policyUnmet)...)
	return []cell{
		{
			hop: hopLink, fault: "cut", how: "the connection ends, new ones are closed at once",
			must: of(wire.ReasonUnavailable), may: broken, inject: onLink(fault{refuse: true}, true),
		},
		{
			hop: hopLink, fault: "stalled", how: "nothing passes in either direction",
			must: of(wire.ReasonDeadline), may: broken, inject: onLink(fault{stall: [2]bool{true, true}}, false),
		},
		{
			hop: hopLink, fault: "answers stalled", how: "requests pass, answers do not",
			must: of(wire.ReasonDeadline), may: broken, inject: onLink(fault{stall: [2]bool{back: true}}, false),
		},
		{
			hop: hopLink, fault: "slow", how: "4 KiB every 5 ms",
			may: of(wire.ReasonDeadline), hold: 2 * time.Second, inject: onLink(fault{every: 5 * time.Millisecond, most: 4096}, false),
		},
		{
			hop: hopLink, fault: "garbage to the enclave", how: "64 random bytes before every third piece",
			must: spoilt, inject: onLink(fault{mangle: inserted(onward)}, false),
		},
		{
			hop: hopLink, fault: "garbage to the parent", how: "64 random bytes before every third piece",
			must: spoilt, inject: onLink(fault{mangle: inserted(back)}, false),
		},
		{
			hop: hopLink, fault: "bits flipped in requests", how: "one bit in the end of each piece",
			must: spoilt, inject: onLink(fault{mangle: flipped(onward)}, false),
		},
		{
			hop: hopLink, fault: "bits flipped in answers", how: "one bit in the end of each piece",
			must: spoilt, inject: onLink(fault{mangle: flipped(back)}, false),
		},
		{
			hop: hopLink, fault: "requests doubled", how: "every third piece twice",
			must: append(of(wire.ReasonReplayed), spoilt...), inject: onLink(fault{mangle: doubled(onward)}, false),
		},
		{
			hop: hopLink, fault: "answers doubled", how: "every third piece twice",
			must: spoilt, inject: onLink(fault{mangle: doubled(back)}, false),
		},
	}
}
