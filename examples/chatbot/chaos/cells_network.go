package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const hopNetwork = "network client–parent"

// Manglings of a relay. Chance is seeded by position, so that each run has the
// same.
var (
	// inserted puts bytes of no meaning before every third piece.
	inserted = func(want direction) func(direction, int, []byte) []byte {
		return func(d direction, n int, b []byte) []byte {
			if d != want || n%3 != 2 {
				return b
			}
			noise := make([]byte, 64)
			r := rand.New(rand.NewPCG(uint64(n), uint64(d)))
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			return append(noise, b...)
		}
	}
	// flipped changes one bit in the last part of each piece.
	flipped = func(want direction) func(direction, int, []byte) []byte {
		return func(d direction, n int, b []byte) []byte {
			if d == want && n > 0 {
				b[len(b)-1-n%min(len(b), 32)] ^= 1 << (n % 8)
			}
			return b
		}
	}
	// doubled sends every third piece twice.
	doubled = func(want direction) func(direction, int, []byte) []byte {
		return func(d direction, n int, b []byte) []byte {
			if d == want && n%3 == 2 {
				return bytes.Repeat(b, 2)
			}
			return b
		}
	}
)

// onFront makes a fault of the network between clients and parent.
func onFront(f fault, cut bool) func(context.Context, *pipeline) (func() error, error) {
	return func(_ context.Context, p *pipeline) (func() error, error) {
		p.front.set(f)
		if cut {
			p.front.cut()
		}
		return p.front.mend(f), nil
	}
}

func networkCells() []cell {
	gone := of(wire.ReasonParent)
	// What is made of bytes that changed on the way: a nonce that did, of a
	// document over another.
	spoilt := append(of(wire.ReasonParent, wire.ReasonInternal, wire.ReasonBadRequest, wire.ReasonDeadline, wire.ReasonKeyUnknown, wire.ReasonStale),
		truncated, forged, disordered, oversized, malformed, badConfig, policyUnmet)
	return []cell{
		{
			hop: hopNetwork, fault: "cut", how: "all connections end, new ones are closed at once",
			must: gone, may: []class{truncated}, inject: onFront(fault{refuse: true}, true),
		},
		{
			hop: hopNetwork, fault: "cut once", how: "all connections end, new ones work",
			must: append(gone, truncated), inject: func(_ context.Context, p *pipeline) (func() error, error) {
				// Until one of them hits a question under way.
				ctx, cancel := context.WithCancel(context.Background())
				heal := others(ctx, 1, func(ctx context.Context, _ int) {
					for ctx.Err() == nil {
						p.front.cut()
						select {
						case <-time.After(200 * time.Millisecond):
						case <-ctx.Done():
						}
					}
				})
				return func() error { cancel(); return heal() }, nil
			},
		},
		{
			hop: hopNetwork, fault: "stalled", how: "nothing passes in either direction",
			must: of(wire.ReasonDeadline), may: gone, inject: onFront(fault{stall: [2]bool{true, true}}, false),
		},
		{
			hop: hopNetwork, fault: "answers stalled", how: "requests pass, answers do not",
			must: of(wire.ReasonDeadline), may: gone, inject: onFront(fault{stall: [2]bool{back: true}}, false),
		},
		{
			hop: hopNetwork, fault: "slow", how: "256 bytes every 5 ms",
			may: of(wire.ReasonDeadline), hold: 2 * time.Second, inject: onFront(fault{every: 5 * time.Millisecond, most: 256}, false),
		},
		{
			hop: hopNetwork, fault: "garbage to the parent", how: "64 random bytes before every third piece",
			must: spoilt, inject: onFront(fault{mangle: inserted(onward)}, true),
		},
		{
			hop: hopNetwork, fault: "garbage to the client", how: "64 random bytes before every third piece",
			must: spoilt, inject: onFront(fault{mangle: inserted(back)}, true),
		},
		{
			hop: hopNetwork, fault: "bits flipped in requests", how: "one bit in the end of each piece but the first",
			must: spoilt, inject: onFront(fault{mangle: flipped(onward), most: 1024}, true),
		},
		{
			hop: hopNetwork, fault: "bits flipped in answers", how: "one bit in the end of each piece but the first",
			must: spoilt, inject: onFront(fault{mangle: flipped(back), most: 1024}, true),
		},
		{
			hop: hopNetwork, fault: "requests doubled", how: "every third piece twice",
			must: append(of(wire.ReasonReplayed), spoilt...), inject: onFront(fault{mangle: doubled(onward)}, true),
		},
		{
			hop: hopNetwork, fault: "answers doubled", how: "every third piece twice",
			must: spoilt, inject: onFront(fault{mangle: doubled(back)}, true),
		},
		{
			hop: hopNetwork, fault: "requests replayed", how: "somebody records a client's requests and sends them again, 16 times; none may be answered again",
			inject: injectReplays,
		},
		{
			hop: hopNetwork, fault: "certificate expired", how: "the parent's TLS certificate is replaced by one of yesterday",
			kind: tls, must: of(wire.ReasonCertificate), may: append(of(wire.ReasonParent), truncated), inject: func(_ context.Context, p *pipeline) (func() error, error) {
				if err := p.fakes.writeServer(p.path("parent"), time.Now().Add(-time.Hour)); err != nil {
					return nil, err
				}
				p.front.cut()
				return func() error { return p.fakes.writeServer(p.path("parent"), time.Now().Add(time.Hour)) }, nil
			},
		},
		{
			hop: hopNetwork, fault: "certificate of a stranger", how: "somebody with another authority's certificate takes the connections",
			kind: tls, must: of(wire.ReasonCertificate), may: append(of(wire.ReasonParent), truncated), inject: injectStranger,
		},
	}
}

// injectStranger has somebody whom no client trusts take the connections.
func injectStranger(_ context.Context, p *pipeline) (func() error, error) {
	strangers, err := newStrangers()
	if err != nil {
		return nil, err
	}
	cert, err := strangers.server(time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	s := strangers.serve(cert, errorAnswer(500, ""))
	p.front.set(fault{take: s.take})
	p.front.cut()
	return func() error {
		strangers.close()
		return p.front.healCut()
	}, nil
}
