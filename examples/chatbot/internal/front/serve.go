package front

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"time"
)

// Timeouts of the HTTP servers. None bounds a whole answer, which may be long:
// a relay bounds each write, and each request as a whole.
const (
	headerTimeout = 10 * time.Second
	// bodyTimeout ends connections whose request does not arrive. Once a handler
	// has read the body to its end, net/http takes it off.
	bodyTimeout = 30 * time.Second
	idleTimeout = 2 * time.Minute
	// adminTimeout bounds an answer to operators, and how long they may be
	// waited for at the end.
	adminTimeout = 10 * time.Second
	maxHeader    = 16 << 10 // bytes
	// maxStreams bounds the requests of one HTTP/2 connection at a time.
	maxStreams = 100
)

// ServeOptions configures Serve.
type ServeOptions struct {
	// Listener takes clients' connections. Required. Serve closes it.
	Listener net.Listener
	// Admin takes operators' connections, over plain HTTP. nil: there are none.
	Admin net.Listener
	// Certificate makes the clients' side HTTPS, and HTTP/2 where they speak
	// it. nil means plain HTTP.
	Certificate *Certificate
	// Drain bounds how long requests under way may take after ctx has ended. 0
	// means 30 seconds.
	Drain time.Duration
}

// Serve serves until ctx ends, or a listener fails. At the end it takes no new
// connections, is not ready any more, and waits for the requests under way, but
// no longer than Drain; the admin side goes on until then. It returns nil if
// all have ended well, and context.DeadlineExceeded if some were cut. It must be
// called once.
func (f *Front) Serve(ctx context.Context, opts ServeOptions) error {
	if opts.Drain <= 0 {
		opts.Drain = 30 * time.Second
	}
	failed := make(chan error, 2)
	srv := f.server(f.Handler())
	if opts.Certificate != nil {
		opts.Certificate.mu.Lock()
		opts.Certificate.failed = f.metrics.failedReload
		opts.Certificate.mu.Unlock()
		srv.TLSConfig = opts.Certificate.Config()
		go func() { failed <- srv.ServeTLS(opts.Listener, "", "") }()
	} else {
		go func() { failed <- srv.Serve(opts.Listener) }()
	}
	if opts.Admin != nil {
		admin := f.server(f.Admin())
		admin.WriteTimeout = adminTimeout
		go func() { failed <- admin.Serve(opts.Admin) }()
		defer admin.Close()
	}
	select {
	case err := <-failed:
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	f.draining.Store(true)
	f.opts.Logger.Info("draining", "at_most", opts.Drain)
	grace, cancel := context.WithTimeout(context.Background(), opts.Drain)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		srv.Close()
		return err
	}
	return nil
}

func (f *Front) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What net/http logs names addresses. How often is all that is kept.
		ErrorLog: log.New(errorCounter{f.metrics}, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      bodyTimeout,
			PingTimeout:          headerTimeout,
			WriteByteTimeout:     bodyTimeout,
		},
	}
}

// errorCounter counts lines of a log and forgets them.
type errorCounter struct{ m *metrics }

func (c errorCounter) Write(b []byte) (int, error) {
	c.m.failedToServe()
	return len(b), nil
}
