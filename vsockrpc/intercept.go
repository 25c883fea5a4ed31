package vsockrpc

import (
	"context"
	"time"
)

// Interceptor stands around calls: it may change their context, refuse them
// with an error, or look at how they end. It must call next at most once on a
// server, and may call it again on a client, for a unary call, to repeat it.
// Messages do not pass through it. It runs concurrently for concurrent calls;
// one that panics on a server fails its call only.
type Interceptor func(ctx context.Context, method string, next func(context.Context) error) error

// intercept runs call inside the interceptors, the first outermost.
func intercept(ctx context.Context, all []Interceptor, method string, call func(context.Context) error) error {
	if len(all) == 0 {
		return call(ctx)
	}
	return all[0](ctx, method, func(ctx context.Context) error {
		return intercept(ctx, all[1:], method, call)
	})
}

// Traffic counts messages of one direction and their bytes, without headers.
type Traffic struct {
	Messages, Bytes int64
}

// CallStats tells of a call that has ended, for metrics. It has no content.
type CallStats struct {
	// Method is the name that the client used; on a server one that has a
	// handler.
	Method string
	// Code is how the call ended.
	Code Code
	// Began is when the call was made, or its handler started, and Took how
	// long it lasted.
	Began time.Time
	Took  time.Duration
	// Sent and Received are seen from the side that reports. A message that
	// could not be sent whole counts, with the bytes that were.
	Sent, Received Traffic
}

// stats is what is known of a call that has ended with err.
func (s *stream) stats(method string, began time.Time, code Code) CallStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return CallStats{method, code, began, time.Since(began), s.sent, s.received}
}
