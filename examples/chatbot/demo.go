package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const demoAbout = `
Runs the whole pipeline on this machine: KMS, parent and enclave as separate
processes, and the client in this one. Unix sockets stand for vsock, a software
NSM for the device, a local server for AWS KMS; everything between those edges
is the code that runs in production.

With -q it asks once, with -serve it shows a web page and OpenAI-style endpoints
until interrupted, with -keep it asks nothing and prints one line of JSON that
tells other clients how to reach everything; otherwise it talks, a question a
line.
`

type demoFlags struct {
	talk                            *talkFlags
	serve                           *serveFlags
	breakPCR, keep, blogMode        *bool
	enclaves                        *int
	alias                           *string
	modelFile, modelDigest, library *string
}

func newDemoFlags(fs *flag.FlagSet) *demoFlags {
	return &demoFlags{
		talk:        newTalkFlags(fs),
		serve:       newServeFlags(fs),
		breakPCR:    fs.Bool("break-pcr", false, "first put a wrong PCR0 into the key policy and show the refusal, then mend it and ask again (needs -q)"),
		keep:        fs.Bool("keep", false, "ask nothing: print how to reach everything as one line of JSON and run until interrupted"),
		blogMode:    fs.Bool("insecure-blog-mode", false, "also answer the client of the AWS blog post, with a key of its own; the parent reads its credentials"),
		alias:       fs.String("key-alias", local.PostAlias, "`alias` of the local KMS's key, without \"alias/\""),
		enclaves:    fs.Int("enclaves", 1, "how many enclaves to run, 1 to 4"),
		modelFile:   fs.String("model", "", "GGUF `file` to use in place of the embedded model"),
		modelDigest: fs.String("model-digest", "", "SHA-256 or SHA-384 in hexadecimal that the -model file must have"),
		library:     fs.String("llama-lib", "", "`folder` of libllama; empty means where the installer put it, or the system's"),
	}
}

// check returns what is wrong with the flags, or "".
func (f *demoFlags) check() string {
	switch {
	case *f.breakPCR && !f.talk.once:
		return "-break-pcr needs a question: -q"
	case f.talk.once && (*f.keep || *f.serve.listen != ""):
		return "-q excludes -keep and -serve"
	case *f.enclaves < 1 || *f.enclaves > 4:
		return "-enclaves must be 1 to 4"
	}
	return f.serve.check(*f.keep || *f.serve.listen != "")
}

func runDemo(ctx context.Context, args []string, s streams) error {
	fs := newFlags("demo", demoAbout, s)
	f := newDemoFlags(fs)
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if wrong := f.check(); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	dir, err := demoDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	opts, err := f.options(dir, s)
	if err != nil {
		return err
	}
	cluster, err := startDemo(ctx, opts, s)
	if err != nil {
		return err
	}
	defer cluster.Close()
	var steps *step.Printer
	if *f.talk.verbose {
		steps = step.New(s.err, "client")
	}
	client, err := cluster.Client(steps, nil)
	if err != nil {
		return err
	}
	switch {
	case *f.keep:
		return f.runKept(ctx, cluster, client, s)
	case *f.serve.listen != "":
		return f.serve.run(ctx, client, s)
	case *f.breakPCR:
		return f.showRefusal(ctx, cluster, client, opts.Image, s)
	}
	f.talk.simulated = true
	return f.talk.run(ctx, client, s)
}

// startDemo starts everything, and tells it.
func startDemo(ctx context.Context, opts local.Options, s streams) (*local.Cluster, error) {
	start := time.Now()
	fmt.Fprint(s.err, "demo: starting as processes of this machine, with simulated NSM and KMS:")
	opts.Progress = func(what string) { fmt.Fprintf(s.err, " %s…", what) }
	cluster, err := local.Start(ctx, opts)
	if err != nil {
		fmt.Fprintln(s.err)
		return nil, err
	}
	fmt.Fprintf(s.err, " ready in %.1f s\n", time.Since(start).Seconds())
	info := cluster.Info()
	var pids []string
	for _, name := range []string{"kms", "parent", "enclave", "enclave2", "enclave3", "enclave4"} {
		if pid, ok := info.PIDs[name]; ok {
			pids = append(pids, fmt.Sprintf("%s pid %d", name, pid))
		}
	}
	fmt.Fprintf(s.err, "demo: %s; parent at %s\n", strings.Join(pids, ", "), info.ParentURL)
	fmt.Fprintf(s.err, "demo: enclave PCR0 %v\n", opts.Image[0])
	return cluster, nil
}

// runKept prints how to reach everything, the web page included, and waits.
func (f *demoFlags) runKept(ctx context.Context, cluster *local.Cluster, client *chat.Client, s streams) error {
	if *f.serve.listen == "" {
		*f.serve.listen = "127.0.0.1:0"
	}
	srv, err := f.serve.start(ctx, client, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer srv.stop()
	info := cluster.Info()
	info.WebURL = srv.url
	if err := json.NewEncoder(s.out).Encode(info); err != nil {
		return err
	}
	select {
	case err := <-srv.done:
		return err
	case <-ctx.Done():
		return nil
	}
}

// showRefusal asks under a key policy with a wrong PCR0, which must be
// refused, and again under the right one.
func (f *demoFlags) showRefusal(ctx context.Context, cluster *local.Cluster, client *chat.Client, image attest.PCRs, s streams) error {
	f.talk.simulated = true
	fmt.Fprintln(s.err, "demo: the key policy names another PCR0; asking")
	refused := *f.talk
	refused.JSON = false
	err := refused.run(ctx, client, streams{s.in, io.Discard, s.err})
	if err == nil {
		return errors.New("the question was answered although the key policy names another PCR0")
	}
	if !errors.Is(err, wire.ReasonKMSDenied) {
		return errors.New("that is not the expected refusal")
	}
	if err := cluster.SetKeyPolicy(ctx, image); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "demo: the key policy names the enclave's PCR0 again; asking the same enclave")
	return f.talk.run(ctx, client, s)
}
