// Bench measures what the chatbot's pipeline adds to the model: the same
// questions, asked of the whole pipeline in separate processes (client, parent,
// enclave, KMS, with unix sockets for vsock) and of the bare model in this
// process, with the same library, model and threads, in turns.
//
//	go build -o bin/chatbot ./examples/chatbot
//	go run ./examples/chatbot/bench -chatbot bin/chatbot
//
// It prints a table in Markdown. Nothing else should run on the machine.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference/llama"
)

type settings struct {
	chatbot, modelFile string
	threads            int
	rounds, questions  int
	maxTokens          int
	clients            []int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var s settings
	var clients string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&s.chatbot, "chatbot", "bin/chatbot", "the chatbot's `binary`")
	fs.StringVar(&s.modelFile, "model", "", "GGUF `file`; empty means the embedded model")
	fs.IntVar(&s.threads, "threads", max(1, runtime.NumCPU()/2), "threads of the model, on both sides")
	fs.IntVar(&s.rounds, "rounds", 3, "rounds; the two sides take turns in each")
	fs.IntVar(&s.questions, "questions", 96, "questions a round and side")
	fs.IntVar(&s.maxTokens, "max-tokens", 64, "most new tokens of an answer")
	fs.StringVar(&clients, "clients", "1,8,32", "numbers of clients that ask at a time")
	if err := fs.Parse(args); err != nil {
		return err
	}
	for field := range strings.SplitSeq(clients, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 256 {
			return fmt.Errorf("-clients %s: numbers of 1 to 256", clients)
		}
		s.clients = append(s.clients, n)
	}
	if s.rounds < 1 || s.questions < 1 {
		return errors.New("-rounds and -questions must be positive")
	}
	return s.measure(ctx)
}

// measure runs all numbers of clients, and prints a line for each.
func (s *settings) measure(ctx context.Context) error {
	bare, err := s.openModel(ctx)
	if err != nil {
		return err
	}
	defer bare.Close()
	dir, err := os.MkdirTemp("/tmp", "nitroseal-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := s.startCluster(ctx, dir)
	if err != nil {
		return err
	}
	defer cluster.Close()

	fmt.Printf("%s, %d CPUs, %d threads, %d rounds of %d questions, up to %d new tokens\n\n",
		bare.Info().Name, runtime.NumCPU(), s.threads, s.rounds, s.questions, s.maxTokens)
	fmt.Println("| clients | side | p50 | p99 | first token p50 | tokens/s |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for _, n := range s.clients {
		askers, err := pipelineAskers(cluster, n)
		if err != nil {
			return err
		}
		model := modelAskers(bare, n)
		// Connections, attestations and caches are made before it counts.
		for _, side := range [][]asker{askers, model} {
			if _, err := s.load(ctx, side, n); err != nil {
				return err
			}
		}
		var piped, plain result
		for range s.rounds {
			r, err := s.load(ctx, askers, s.questions)
			if err != nil {
				return err
			}
			piped.add(r)
			if r, err = s.load(ctx, model, s.questions); err != nil {
				return err
			}
			plain.add(r)
		}
		plain.print(n, "bare model")
		piped.print(n, "pipeline")
		fmt.Printf("| %d | **overhead** | %.1f ms | %.1f ms | %.1f ms | %.1f %% |\n", n,
			ms(piped.quantile(0.5)-plain.quantile(0.5)), ms(piped.quantile(0.99)-plain.quantile(0.99)),
			ms(piped.firstQuantile(0.5)-plain.firstQuantile(0.5)), 100*piped.rate()/plain.rate())
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

const sequences = 8

func (s *settings) openModel(ctx context.Context) (*llama.Model, error) {
	opts := llama.Options{Threads: s.threads, MaxSequences: sequences, ContextSize: 4352, ModelPath: s.modelFile}
	if s.modelFile == "" {
		opts.Model = model.GGUF
	}
	return llama.Open(ctx, opts)
}

func (s *settings) startCluster(ctx context.Context, dir string) (*local.Cluster, error) {
	image, err := s.image()
	if err != nil {
		return nil, err
	}
	args := []string{"-threads", strconv.Itoa(s.threads), "-sequences", strconv.Itoa(sequences)}
	if s.modelFile != "" {
		args = append(args, "-model", s.modelFile)
	}
	return local.Start(ctx, local.Options{
		Binary: s.chatbot, Dir: dir, Image: image, EnclaveArgs: args,
		// All clients are one address here.
		ParentArgs: []string{"-rate", "-1", "-max-concurrent-per-client", "256"},
	})
}

func (s *settings) image() (attest.PCRs, error) {
	if s.modelFile == "" {
		return local.Measure(s.chatbot, bytes.NewReader(model.GGUF))
	}
	f, err := os.Open(s.modelFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return local.Measure(s.chatbot, f)
}
