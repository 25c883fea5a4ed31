// Package front is the parent's HTTP server: it takes sealed requests and hands
// them, unread, to the enclaves. It holds no key, no question and no answer; what
// it has to defend is its own availability, and what it knows of who asks.
//
// Handlers do the passing on, such as a sessionrpc.Relay. The front stands around
// them with what a server that faces a network needs: limits on how often and how
// much each client may ask, and all of them together; readiness; metrics; logs
// that tell of requests and not of people; certificates that are replaced while
// it runs; and an end that lets answers finish.
//
//	relay, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{Pool: pool, OnRequest: front.Observe})
//	f := front.New(front.Options{Session: relay, Targets: pool.Targets})
//	err = f.Serve(ctx, front.ServeOptions{Listener: l, Admin: admin})
//
// # What it does not protect from
//
// The limits are for mistakes and for single clients that ask too much. Whoever
// has many addresses gets as many shares, up to the limit of all; nothing here
// knows users, since those are known to KMS only, and to nobody before that.
package front

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// Options configures a Front.
type Options struct {
	// Session serves sealed requests, at sessionrpc's paths. Its OnRequest must
	// be Observe, or its requests are counted as failures. nil: there are none.
	Session http.Handler
	// Blog serves "POST /" in the form of the AWS blog post, which shows the
	// parent the users' credentials, and bounds their bodies itself. nil: there is
	// none.
	Blog http.Handler

	// Limits bounds what clients may ask for.
	Limits Limits
	// TrustedProxies are those whose X-Forwarded-For is believed. Anybody can
	// write one, so nobody else's is.
	TrustedProxies []netip.Prefix

	// Targets tells of the enclaves, for readiness and metrics:
	// (*vsockrpc.Pool).Targets. nil: there are none, and the front is never
	// ready.
	Targets func() []vsockrpc.TargetStats
	// Egress are the forwarders to tell of in metrics.
	Egress []Egress

	// Logger gets one record a request: what kind, how it ended, sizes and
	// time; no content, no address and nothing else that tells clients apart.
	// nil is silent.
	Logger *slog.Logger
	// Steps, if not nil, is told of each request.
	Steps *step.Printer
}

// Egress is one way out of the enclaves.
type Egress struct {
	// Listener is the address that enclaves connect to, Target the host:port
	// that it leads to.
	Listener, Target string
	// Stats are its numbers: (*proxy.Forwarder).Stats.
	Stats func() proxy.Stats
}

// Front is the parent's HTTP side. It is safe for concurrent use.
type Front struct {
	opts     Options
	rates    *rates
	gate     *gate
	metrics  *metrics
	requests atomic.Uint64 // the number of the last request, for the log
	draining atomic.Bool
}

// New returns a Front that serves nothing yet.
func New(opts Options) *Front {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Targets == nil {
		opts.Targets = func() []vsockrpc.TargetStats { return nil }
	}
	l := opts.Limits.withDefaults()
	return &Front{
		opts:    opts,
		rates:   newRates(l.Rate, l.Burst, l.MaxClients),
		gate:    newGate(l.Concurrent, l.ConcurrentPerClient),
		metrics: newMetrics(),
	}
}

// Handler serves clients. /healthz and /readyz are there as well, for load
// balancers, which ask where clients do; they tell one bit.
func (f *Front) Handler() http.Handler {
	mux := http.NewServeMux()
	f.probes(mux)
	if f.opts.Session != nil {
		mux.Handle(sessionrpc.PathAttest, f.guard("attest", f.opts.Session))
		mux.Handle(sessionrpc.PathAsk, f.guard("ask", f.opts.Session))
	}
	if f.opts.Blog != nil {
		mux.Handle("POST /{$}", f.guard("blog", observed(f.opts.Blog)))
	}
	return mux
}
