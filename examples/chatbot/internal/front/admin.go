package front

import (
	"io"
	"maps"
	"net/http"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Admin serves operators: /healthz, /readyz and /metrics. The numbers tell how
// much is asked and when, so it belongs on an address of its own that clients
// do not reach.
func (f *Front) Admin() http.Handler {
	mux := http.NewServeMux()
	f.probes(mux)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentTypeMetrics)
		f.expose().writeTo(w)
	})
	return mux
}

// probes are whether the process is up, and whether to send it requests.
func (f *Front) probes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !f.Ready() {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "not ready\n")
			return
		}
		io.WriteString(w, "ready\n")
	})
}

// Ready reports whether requests should come here: an enclave is well, and the
// front is not about to end.
func (f *Front) Ready() bool {
	return !f.draining.Load() && slices.ContainsFunc(f.opts.Targets(), func(t vsockrpc.TargetStats) bool { return t.Healthy })
}

// expose writes all numbers down.
func (f *Front) expose() *exposition {
	x := &exposition{}
	f.metrics.expose(x)
	draining := 0.0
	if f.draining.Load() {
		draining = 1
	}
	x.family("nitroseal_parent_draining", "gauge", "Whether the parent takes no more requests and lets those under way finish.")
	x.sample("nitroseal_parent_draining", nil, draining)
	exposeTargets(x, f.opts.Targets())
	exposeEgress(x, f.opts.Egress)
	exposeRuntime(x)
	return x
}

// exposeRuntime tells of this process what shows a leak before memory runs out.
func exposeRuntime(x *exposition) {
	read := []runtimemetrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(read)
	x.family("nitroseal_parent_goroutines", "gauge", "Goroutines that have not ended.")
	x.sample("nitroseal_parent_goroutines", nil, float64(read[0].Value.Uint64()))
	x.family("nitroseal_parent_live_heap_bytes", "gauge", "Bytes that the last garbage collection found in use.")
	x.sample("nitroseal_parent_live_heap_bytes", nil, float64(read[1].Value.Uint64()))
}

func (m *metrics) expose(x *exposition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x.family("nitroseal_parent_requests_total", "counter", "Requests that have ended, by endpoint and how.")
	outcomes := slices.SortedFunc(maps.Keys(m.requests), func(a, b outcome) int {
		return strings.Compare(a.endpoint+" "+a.code, b.endpoint+" "+b.code)
	})
	for _, o := range outcomes {
		x.sample("nitroseal_parent_requests_total", labels{{"endpoint", o.endpoint}, {"code", o.code}}, float64(m.requests[o]))
	}
	names := slices.Sorted(maps.Keys(m.endpoints))
	each := func(name, kind, help string, write func(string, labels, *perEndpoint)) {
		x.family(name, kind, help)
		for _, n := range names {
			write(name, labels{{"endpoint", n}}, m.endpoints[n])
		}
	}
	each("nitroseal_parent_request_duration_seconds", "histogram", "Time from a request's arrival to its end.",
		func(n string, l labels, e *perEndpoint) { x.histogram(n, l, &e.took) })
	each("nitroseal_parent_first_byte_seconds", "histogram", "Time from a request's arrival to the first segment of its answer.",
		func(n string, l labels, e *perEndpoint) { x.histogram(n, l, &e.first) })
	each("nitroseal_parent_received_bytes_total", "counter", "Bytes of request bodies.",
		func(n string, l labels, e *perEndpoint) { x.sample(n, l, float64(e.in)) })
	each("nitroseal_parent_sent_bytes_total", "counter", "Bytes of the bodies of answers.",
		func(n string, l labels, e *perEndpoint) { x.sample(n, l, float64(e.out)) })
	x.family("nitroseal_parent_limited_total", "counter", "Requests that were refused for a limit, by limit.")
	for _, which := range []string{"rate", "concurrent", "concurrent_per_client"} {
		x.sample("nitroseal_parent_limited_total", labels{{"limit", which}}, float64(m.limits[which]))
	}
	one := func(name, kind, help string, value float64) {
		x.family(name, kind, help)
		x.sample(name, nil, value)
	}
	one("nitroseal_parent_segments_total", "counter", "Sealed segments that were passed on.", float64(m.segments))
	one("nitroseal_parent_requests_in_flight", "gauge", "Requests that are being served.", float64(m.inFlight))
	one("nitroseal_parent_panics_total", "counter", "Handlers that panicked.", float64(m.panics))
	one("nitroseal_parent_connection_errors_total", "counter", "Connections that failed before a request, such as in the TLS handshake.", float64(m.errors))
	one("nitroseal_parent_certificate_reload_failures_total", "counter", "Changed certificate files that could not be used.", float64(m.reloads))
}

// exposeTargets tells of the enclaves. Their addresses are configuration, not
// secrets.
func exposeTargets(x *exposition, all []vsockrpc.TargetStats) {
	states := map[string]int{}
	for _, t := range all {
		switch {
		case t.Draining:
			states["draining"]++
		case t.Healthy:
			states["healthy"]++
		default:
			states["set_aside"]++
		}
	}
	x.family("nitroseal_parent_enclaves", "gauge", "Enclaves by state.")
	for _, s := range []string{"healthy", "set_aside", "draining"} {
		x.sample("nitroseal_parent_enclaves", labels{{"state", s}}, float64(states[s]))
	}
	each := func(name, kind, help string, value func(vsockrpc.TargetStats) float64) {
		x.family(name, kind, help)
		for _, t := range all {
			x.sample(name, labels{{"enclave", t.Addr}}, value(t))
		}
	}
	each("nitroseal_parent_enclave_calls_in_flight", "gauge", "Calls to an enclave that have not ended.",
		func(t vsockrpc.TargetStats) float64 { return float64(t.InFlight) })
	each("nitroseal_parent_enclave_calls_total", "counter", "Calls that were sent to an enclave.",
		func(t vsockrpc.TargetStats) float64 { return float64(t.Calls) })
	each("nitroseal_parent_enclave_calls_unprocessed_total", "counter", "Calls that an enclave did not see or take.",
		func(t vsockrpc.TargetStats) float64 { return float64(t.Unprocessed) })
	each("nitroseal_parent_enclave_set_aside_total", "counter", "How often an enclave was found not to be well.",
		func(t vsockrpc.TargetStats) float64 { return float64(t.SetAside) })
}

func exposeEgress(x *exposition, all []Egress) {
	each := func(name, kind, help string, value func(int) float64) {
		x.family(name, kind, help)
		for i, e := range all {
			x.sample(name, labels{{"listener", e.Listener}, {"target", e.Target}}, value(i))
		}
	}
	each("nitroseal_parent_egress_connections", "gauge", "Connections of enclaves that are open.",
		func(i int) float64 { return float64(all[i].Stats().Active) })
	each("nitroseal_parent_egress_connections_total", "counter", "Connections of enclaves that were taken on.",
		func(i int) float64 { return float64(all[i].Stats().Accepted) })
	each("nitroseal_parent_egress_refused_total", "counter", "Connections that were closed at once, for there were too many.",
		func(i int) float64 { return float64(all[i].Stats().Refused) })
	each("nitroseal_parent_egress_dial_errors_total", "counter", "Connections whose target could not be reached.",
		func(i int) float64 { return float64(all[i].Stats().DialErrors) })
	each("nitroseal_parent_egress_forbidden_total", "counter", "Of those, the ones whose target resolved to addresses of the parent only.",
		func(i int) float64 { return float64(all[i].Stats().Forbidden) })
	each("nitroseal_parent_egress_idle_timeouts_total", "counter", "Connections that ended for nothing passed on them.",
		func(i int) float64 { return float64(all[i].Stats().IdleTimeouts) })
	each("nitroseal_parent_egress_sent_bytes_total", "counter", "Bytes that were passed to the target.",
		func(i int) float64 { return float64(all[i].Stats().BytesUp) })
	each("nitroseal_parent_egress_received_bytes_total", "counter", "Bytes that were passed to enclaves.",
		func(i int) float64 { return float64(all[i].Stats().BytesDown) })
}
