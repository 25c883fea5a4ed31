package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/openai"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/web"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// serveFlags are how client and demo serve on this machine.
type serveFlags struct {
	listen, token *string
	origins       []string
}

func newServeFlags(fs *flag.FlagSet) *serveFlags {
	f := &serveFlags{
		listen: fs.String("serve", "", "`host:port` of this machine, such as 127.0.0.1:8080, to serve a web page and OpenAI-style endpoints on"),
		token:  fs.String("serve-token", "", "`token` that OpenAI clients must send as their API key; the web page then cannot chat"),
	}
	fs.Func("serve-origin", "`origin`, such as https://ui.example:8443, whose web pages may use the endpoints too (repeatable)", func(o string) error {
		if !openai.IsOrigin(o) {
			return errors.New("must be of the form https://HOST or https://HOST:PORT")
		}
		f.origins = append(f.origins, o)
		return nil
	})
	return f
}

// check returns what is wrong with the flags, or "". serves is whether they are
// used at all.
func (f *serveFlags) check(serves bool) string {
	if !serves && (*f.token != "" || len(f.origins) > 0) {
		return "-serve-token and -serve-origin are for -serve"
	}
	return ""
}

// localServer serves one user on this machine.
type localServer struct {
	url  string
	http *http.Server
	done chan error
}

// start begins to serve. Questions are confidential on this side: only
// loopback addresses are taken.
func (f *serveFlags) start(ctx context.Context, asker ask.Asker, logger *slog.Logger) (*localServer, error) {
	if !onThisMachine(*f.listen) {
		return nil, fmt.Errorf("-serve %s: only loopback addresses are served, since what passes here is not encrypted", *f.listen)
	}
	l, err := net.Listen("tcp", *f.listen)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{
		Handler:           f.handler(ctx, asker, logger),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s := &localServer{url: "http://" + l.Addr().String() + "/", http: srv, done: make(chan error, 1)}
	go func() { s.done <- srv.Serve(l) }()
	return s, nil
}

func (f *serveFlags) handler(ctx context.Context, asker ask.Asker, logger *slog.Logger) http.Handler {
	page := web.Options{Asker: asker, Version: version()}
	// Without an enclave the page says so; it is not a reason not to serve.
	if knowsSinglesOnly(ctx, asker) {
		page.SingleTurn = true
		page.Suggestions = []string{"What is my deductible?", "How do I reset my password?", "How many days of leave do I have?"}
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", openai.NewHandler(openai.Options{Asker: asker, Token: *f.token, AllowedOrigins: f.origins, Logger: logger}))
	mux.Handle("/", web.NewHandler(page))
	return openai.Guard(mux, f.origins...)
}

// knowsSinglesOnly reports whether the embedded model answers, which knows
// questions and no conversations. Who cannot be asked is found out later.
func knowsSinglesOnly(ctx context.Context, asker ask.Asker) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a, err := asker.Attestation(ctx)
	return err == nil && a.Model.Digest == model.Digest
}

// stop ends the server after the answers under way, or after 5 seconds.
func (s *localServer) stop() {
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.http.Shutdown(grace) != nil {
		s.http.Close()
	}
}

// run serves until ctx ends.
func (f *serveFlags) run(ctx context.Context, asker ask.Asker, s streams) error {
	srv, err := f.start(ctx, asker, slog.New(slog.NewTextHandler(s.err, nil)))
	if err != nil {
		return err
	}
	defer srv.stop()
	page, key := srv.url, "any API key"
	if *f.token != "" {
		page, key = srv.url+" (shows the enclave, and cannot chat)", "its API key is the token"
	}
	fmt.Fprintf(s.err, "web page:   %s\nOpenAI API: %sv1 (%s)\nEnd with Ctrl-C.\n", page, srv.url, key)
	select {
	case err := <-srv.done:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	case <-ctx.Done():
		return nil
	}
}
