package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/front"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

const parentAbout = `
Takes sealed questions over HTTP and passes them to the enclaves, and lets the
enclaves reach KMS. It holds ciphertext only: no key, no credentials, no question
and no answer.

Each -enclave is one of several that serve the same. Attestations are spread over
those that are well; a sealed question goes to the enclave that it is sealed to.

Each -egress ADDR=HOST:PORT listens on a vsock or unix address and forwards
every connection to that one host and port. TLS stays end to end between the
enclave and KMS.

Each -offer ADDR=FILE sends the file to whoever connects to ADDR, and closes.
That is how an enclave gets a sealed model, and the credentials to open it with,
which open nothing outside of the enclave.

With -admin-listen there are /healthz, /readyz and /metrics for operators. It is
off unless asked for, since the numbers tell how much is asked and when, and is
plain HTTP: give it a loopback address, or one that only operators reach.
/healthz and /readyz are on -listen as well, for load balancers.

Certificates are read again when their files change. When it is told to end, the
parent takes no new connections and lets answers under way finish.
`

// parentFlags are the flags of the parent.
type parentFlags struct {
	listen, admin     string
	enclaves          []string
	certFile, keyFile string
	timeout, drain    time.Duration
	maxRequest        int
	limits            front.Limits
	trusted           []netip.Prefix
	egress, offers    pairs
	allowlist         string
	blog, verbose     bool
}

func (f *parentFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.listen, "listen", "127.0.0.1:5001", "`host:port` to serve clients on")
	fs.StringVar(&f.admin, "admin-listen", "", "`host:port` to serve /healthz, /readyz and /metrics on, such as 127.0.0.1:5002; empty means nowhere")
	fs.Func("enclave", "`address` of an enclave: vsock://CID:PORT, hvsock:///PATH:PORT (a guest of Firecracker or Cloud Hypervisor) or unix:///PATH (repeatable; default vsock://16:5000)", appendTo(&f.enclaves))
	fs.StringVar(&f.certFile, "tls-cert", "", "PEM `file` of the certificate to serve HTTPS with; needs -tls-key")
	fs.StringVar(&f.keyFile, "tls-key", "", "PEM `file` of its private key")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Minute, "longest time for one question, answer included; clients may ask for less")
	fs.DurationVar(&f.drain, "drain", 30*time.Second, "how long answers under way may take when the parent is told to end")
	fs.IntVar(&f.maxRequest, "max-request", session.MaxRequest, "largest sealed question, in `bytes`; each of -max-concurrent may take that much memory")
	fs.Float64Var(&f.limits.Rate, "rate", 50, "`requests` a second that one client address (IPv6: one /64) may make on average; negative means no limit")
	fs.Float64Var(&f.limits.Burst, "burst", 200, "`requests` that one client may make at once")
	fs.IntVar(&f.limits.Concurrent, "max-concurrent", 256, "requests served at a time")
	fs.IntVar(&f.limits.ConcurrentPerClient, "max-concurrent-per-client", 64, "requests of one client served at a time")
	fs.Func("trusted-proxy", "`CIDR` of proxies whose X-Forwarded-For tells the client's address; without it all that comes through a proxy is one client (repeatable)", func(s string) error {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return errors.New("must be ADDRESS/BITS")
		}
		f.trusted = append(f.trusted, p.Masked())
		return nil
	})
	fs.Var(&f.egress, "egress", "`ADDR=HOST:PORT`: let enclaves reach HOST:PORT through ADDR, such as vsock://3:8000 or hvsock:///PATH:8000 (repeatable)")
	fs.StringVar(&f.allowlist, "egress-allowlist", "", "`file` in the form of vsock-proxy.yaml; every -egress must be on it")
	fs.Var(&f.offers, "offer", "`ADDR=FILE`: send FILE to whoever connects to ADDR, such as vsock://any:8001 (repeatable)")
	fs.BoolVar(&f.blog, "insecure-blog-mode", false, "also take POST / in the form of the AWS blog post, whose requests show this process the users' AWS credentials; never with credentials that matter")
	fs.BoolVar(&f.verbose, "v", false, "tell each step")
}

// check reports what is wrong with the flags together, or "".
func (f *parentFlags) check() string {
	switch {
	case (f.certFile == "") != (f.keyFile == ""):
		return "-tls-cert and -tls-key go together"
	case f.timeout <= 0 || f.drain <= 0:
		return "-timeout and -drain must be more than 0"
	case f.maxRequest <= 0 || f.limits.Burst < 1 || f.limits.Rate == 0 || f.limits.Concurrent <= 0 || f.limits.ConcurrentPerClient <= 0:
		return "limits must be more than 0; a negative -rate means no limit"
	case f.allowlist != "" && len(f.egress) == 0:
		return "-egress-allowlist is for -egress"
	}
	return ""
}

func runParent(ctx context.Context, args []string, s streams) error {
	fs := newFlags("parent", parentAbout, s)
	var f parentFlags
	f.register(fs)
	supervised := supervisedFlag(fs)
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if wrong := f.check(); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	if len(f.enclaves) == 0 {
		f.enclaves = []string{"vsock://16:5000"}
	}
	ctx, cancel := supervise(ctx, *supervised, s.in)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	logger := slog.New(slog.NewTextHandler(s.err, nil))
	opts := front.Options{Limits: f.limits, TrustedProxies: f.trusted, Logger: logger}
	if f.verbose {
		opts.Steps = step.New(s.err, "parent")
		opts.Logger, logger = nil, nil // the steps say it already
	}
	ways, stop, err := f.open(ctx, fail, logger)
	defer stop()
	if err != nil {
		return err
	}
	opts.Egress = ways

	pool, err := vsockrpc.NewPool(f.enclaves, vsockrpc.PoolOptions{Logger: logger})
	if err != nil {
		return err
	}
	defer pool.Close()
	opts.Targets = pool.Targets
	if opts.Session, err = sessionrpc.NewRelay(sessionrpc.RelayOptions{
		Pool: pool, MaxRequest: f.maxRequest, Timeout: f.timeout, OnRequest: front.Observe,
	}); err != nil {
		return err
	}
	if f.blog {
		fmt.Fprintln(s.err, "WARNING: -insecure-blog-mode: this process, and who controls it, can read the AWS credentials of everybody who uses POST /, and call KMS with them")
		opts.Blog = blog.NewParentHandler(blog.ParentOptions{Enclave: pool})
	}
	if err := f.serve(ctx, front.New(opts), logger, s); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause // what failed, and ended it
	}
	return nil
}

// open starts the ways out of the enclaves and the offers to them. One that
// fails later on calls fail. The caller must call stop, also after an error.
func (f *parentFlags) open(ctx context.Context, fail func(error), logger *slog.Logger) (ways []front.Egress, stop func(), err error) {
	var forwarders []*proxy.Forwarder
	stop = func() {
		for _, f := range forwarders {
			f.Close()
		}
	}
	var list *proxy.Allowlist // nil: what the operator has named is allowed
	if f.allowlist != "" {
		file, err := os.Open(f.allowlist)
		if err != nil {
			return nil, stop, err
		}
		defer file.Close()
		if list, err = proxy.ParseAllowlist(file); err != nil {
			return nil, stop, fmt.Errorf("%s: %w", f.allowlist, err)
		}
	}
	for _, e := range f.egress {
		forwarder, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: e[1], Allowlist: list, Logger: logger})
		if err != nil {
			return nil, stop, fmt.Errorf("-egress %s: %w", e[1], err)
		}
		l, err := vsockrpc.Listen(e[0])
		if err != nil {
			return nil, stop, err
		}
		forwarders = append(forwarders, forwarder)
		ways = append(ways, front.Egress{Listener: e[0], Target: e[1], Stats: forwarder.Stats})
		go func() {
			if err := forwarder.Serve(l); !errors.Is(err, proxy.ErrClosed) {
				fail(fmt.Errorf("egress to %s: %w", e[1], err))
			}
		}()
	}
	for _, o := range f.offers {
		serve, err := offer(ctx, o[0], o[1], logger)
		if err != nil {
			return nil, stop, err
		}
		go func() {
			if err := serve(); ctx.Err() == nil {
				fail(err)
			}
		}()
	}
	return ways, stop, nil
}

// serve serves clients and operators until ctx ends, and says where.
func (f *parentFlags) serve(ctx context.Context, srv *front.Front, logger *slog.Logger, s streams) error {
	opts := front.ServeOptions{Drain: f.drain}
	scheme := "http"
	if f.certFile != "" {
		scheme = "https"
		var err error
		if opts.Certificate, err = front.LoadCertificate(f.certFile, f.keyFile, logger); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	opts.Listener = l
	ready := local.ParentReady{URL: scheme + "://" + l.Addr().String()}
	if scheme == "http" && !isLocalListener(l) {
		fmt.Fprintln(s.err, "WARNING: serving plain HTTP to the network: it cannot read what is sealed, but sees who asks, when and how much, and can cut or swap answers for errors. Give -tls-cert and -tls-key.")
	}
	if f.admin != "" {
		if opts.Admin, err = net.Listen("tcp", f.admin); err != nil {
			return err
		}
		defer opts.Admin.Close()
		ready.AdminURL = "http://" + opts.Admin.Addr().String()
		if !isLocalListener(opts.Admin) {
			fmt.Fprintln(s.err, "WARNING: -admin-listen is not a loopback address: whoever reaches it learns how much is asked, and when")
		}
	}
	if err := sayReady(s.out, ready); err != nil {
		return err
	}
	if err := srv.Serve(ctx, opts); errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(s.err, "chatbot parent: answers that took longer than %v were cut\n", f.drain)
	} else if err != nil {
		return err
	}
	return nil
}

func isLocalListener(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}
