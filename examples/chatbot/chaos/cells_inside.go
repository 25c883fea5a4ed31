package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

const (
	hopNSM   = "security module"
	hopModel = "model"
	hopClock = "clock"
)

// failingModule has the security module of the one process fail.
func failingModule(f func(op string) *nsmtest.Fault) func(context.Context, *inside) (func() error, error) {
	return func(_ context.Context, in *inside) (func() error, error) {
		in.nsmFault.Store(&f)
		return func() error {
			in.nsmFault.Store(nil)
			return nil
		}, nil
	}
}

// moduleCells are faults of the security module. The enclave process's cannot be
// reached from outside, so these are in one process.
func moduleCells() []cell {
	failed := of(wire.ReasonNSM, wire.ReasonUnavailable)
	all := []cell{
		{
			hop: hopNSM, fault: "the device fails", how: "in one process: EIO for each request",
			must: failed, inside: failingModule(func(string) *nsmtest.Fault { return &nsmtest.Fault{Errno: syscall.EIO} }),
		},
		{
			hop: hopNSM, fault: "answers an error", how: "in one process: InternalError",
			must: failed, inside: failingModule(func(string) *nsmtest.Fault { return &nsmtest.Fault{Code: attest.CodeInternalError} }),
		},
		{
			hop: hopNSM, fault: "answers garbage", how: "in one process: 8 bytes that are no CBOR",
			must: failed, inside: failingModule(func(string) *nsmtest.Fault { return &nsmtest.Fault{Reply: []byte("\xff\xff\xff\xffgarb")} }),
		},
		{
			hop: hopNSM, fault: "hangs", how: "in one process: no answer until it is mended",
			must: of(wire.ReasonDeadline), may: failed, inside: func(ctx context.Context, in *inside) (func() error, error) {
				mended := make(chan struct{})
				heal, err := failingModule(func(string) *nsmtest.Fault {
					select {
					case <-mended:
					case <-ctx.Done():
					}
					return nil
				})(ctx, in)
				return func() error {
					close(mended)
					return heal()
				}, err
			},
		},
		{
			hop: hopNSM, fault: "another image is measured", how: "in one process: documents have another PCR0",
			must: []class{policyUnmet}, may: of(wire.ReasonKMSDenied), inside: func(_ context.Context, in *inside) (func() error, error) {
				in.other.Store(true)
				return func() error {
					in.other.Store(false)
					return nil
				}, nil
			},
		},
	}
	for i := range all {
		all[i].fresh = true
	}
	return all
}

func modelCells() []cell {
	return []cell{
		{
			hop: hopModel, fault: "overloaded", how: "96 more clients ask a model that runs 1 question and lets 64 wait",
			kind: narrow, must: of(wire.ReasonOverloaded, wire.ReasonDeadline), may: append(of(wire.ReasonRateLimited), truncated), inject: injectOverload, within: 30 * time.Second,
		},
		{
			hop: hopModel, fault: "prompt too long", how: "8 more clients ask what is over the model's context",
			hold: time.Second, inject: injectTooLong,
		},
		{
			hop: hopModel, fault: "fails mid-answer", how: "in one process: an error before the 20th token",
			must: of(wire.ReasonInternal), inside: steps(func(_ context.Context, n int) error {
				if n == 20 {
					return errors.New("chaos")
				}
				return nil
			}),
		},
		{
			hop: hopModel, fault: "hangs mid-answer", how: "in one process: no token until the question's deadline",
			must: of(wire.ReasonDeadline), may: []class{truncated}, inside: steps(func(ctx context.Context, n int) error {
				if n < 20 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}),
		},
		{hop: hopModel, fault: "libllama hangs or fails", skip: "a C library cannot be stalled from outside without stopping the process (the cell “enclave: frozen”); what stands around it is tried with a model that hangs or fails in one process."},
	}
}

// steps has the model of the one process call f before each token of an answer,
// with how many there were.
func steps(f func(ctx context.Context, n int) error) func(context.Context, *inside) (func() error, error) {
	return func(_ context.Context, in *inside) (func() error, error) {
		each := func(ctx context.Context) error {
			n := ctx.Value(counterKey{}).(*int)
			*n++
			return f(ctx, *n)
		}
		in.step.Store(&each)
		return func() error {
			in.step.Store(nil)
			return nil
		}, nil
	}
}

func injectOverload(ctx context.Context, p *pipeline) (func() error, error) {
	var clients []*chat.Client
	for range 96 {
		c, err := p.client(nil)
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return others(ctx, len(clients), func(ctx context.Context, i int) {
		for ctx.Err() == nil {
			name := exact.Names[i%len(exact.Names)]
			exact.Receive(clients[i].Ask(ctx, exact.Question(name)), exact.Answer(name), nil)
		}
	}), nil
}

func injectTooLong(ctx context.Context, p *pipeline) (func() error, error) {
	problems := make(chan error, 1)
	c, err := p.client(nil)
	if err != nil {
		return nil, err
	}
	long := ask.Question{Request: inference.Request{Messages: []inference.Message{
		{Role: inference.RoleUser, Content: strings.Repeat("i looked on the intranet. ", 4000)},
	}}}
	heal := others(ctx, 8, func(ctx context.Context, _ int) {
		for ctx.Err() == nil {
			err := exact.Receive(c.Ask(ctx, long), "", nil)
			if ctx.Err() == nil && (err == nil || classify(err) != class(wire.ReasonPromptTooLong)) {
				select {
				case problems <- err:
				default:
				}
			}
		}
	})
	return func() error {
		heal()
		select {
		case err := <-problems:
			return errors.Join(errors.New("a prompt that is too long: another error"), err)
		default:
			return nil
		}
	}, nil
}

// clockCells set clocks wrong by an hour.
func clockCells() []cell {
	var all []cell
	for _, x := range []struct {
		word string
		by   time.Duration
	}{{"forward", time.Hour}, {"back", -time.Hour}} {
		all = append(all, cell{
			hop: hopClock, fault: "the enclave's jumps " + x.word, how: "in one process: by an hour, then right again",
			must: of(wire.ReasonStale), may: append(of(wire.ReasonKeyUnknown), configExpired),
			inside: func(_ context.Context, in *inside) (func() error, error) {
				in.offset.Store(int64(x.by))
				return func() error {
					in.offset.Store(0)
					return nil
				}, nil
			},
		})
		var offset atomic.Int64
		clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		all = append(all, cell{
			hop: hopClock, fault: "the clients' jump " + x.word, how: "by an hour, then right again: that of verification and of signatures",
			must: append(of(wire.ReasonCredentials), documentExpired), fresh: true,
			edit: func(o *chat.Options) { o.Enclave.Clock, o.Sign.Clock = clock, clock },
			inject: func(context.Context, *pipeline) (func() error, error) {
				offset.Store(int64(x.by))
				return func() error {
					offset.Store(0)
					return nil
				}, nil
			},
		})
	}
	return all
}
