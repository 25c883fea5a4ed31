// Vmdemo runs the chatbot's whole pipeline with the enclave in a virtual
// machine, asks a question, and checks that what the enclave attests is what the
// builder of its image said. .ci/vm-demo gets what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/inference"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "vm-demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var opts local.VMOptions
	flag.StringVar(&opts.Binary, "binary", "", "the chatbot")
	flag.StringVar(&opts.Kernel, "kernel", "", "an unpacked Debian kernel package")
	flag.StringVar(&opts.Vhost, "vhost", "vhost-device-vsock", "the program vhost-device-vsock")
	question := flag.String("q", "what is my deductible?", "the question")
	verbose := flag.Bool("v", false, "show what all parts say, and the guest's console")
	flag.Parse()
	dir, err := os.MkdirTemp("", "vm-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	opts.Dir = dir
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	opts.Progress = func(what string) { say("%s", what) }
	if *verbose {
		opts.Steps = os.Stdout
	}
	vm, err := local.NewVM(ctx, opts)
	if err != nil {
		return err
	}
	defer vm.Close()
	say("the image has %.1f MB and gets %d MiB of memory and %d CPUs; booting it in QEMU, without KVM", float64(vm.Size)/1e6, vm.Allocation.MemoryMiB, vm.Allocation.CPUs)
	ready, err := vm.Boot(ctx)
	if err != nil {
		return err
	}
	select {
	case <-vm.Heartbeat:
	default:
		return errors.New("the enclave serves, and its init sent no heartbeat")
	}
	say("heartbeat answered; the enclave serves on %s of its guest with %s", ready.Listen, ready.Model)
	if err := ask1(ctx, vm, *question, say); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	console, err := vm.BootBroken(ctx)
	if err != nil {
		return err
	}
	if !strings.Contains(console, "init: the program ended with status 1") {
		return fmt.Errorf("an enclave that cannot start says:\n%s", console)
	}
	say("an enclave that cannot start switches its machine off: %q", lastLine(console))
	return nil
}

// ask1 asks one question, and compares registers.
func ask1(ctx context.Context, vm *local.VM, question string, say func(string, ...any)) error {
	client, err := vm.Client(nil, nil)
	if err != nil {
		return err
	}
	a, err := client.Attestation(ctx)
	if err != nil {
		return err
	}
	for i := range 3 {
		if !a.Document.PCRs[i].Equal(vm.Built[i]) {
			return fmt.Errorf("PCR%d: the enclave attests %v, the builder said %v", i, a.Document.PCRs[i], vm.Built[i])
		}
		say("PCR%d   %v, as the builder said", i, a.Document.PCRs[i])
	}
	say("PCR16  %v, the model", attest.PCR(a.Document.PCRs[16]))
	var answer strings.Builder
	q := ask.Question{Request: inference.Request{Messages: []inference.Message{{Role: inference.RoleUser, Content: question}}, MaxTokens: 60}}
	for chunk, err := range client.Ask(ctx, q) {
		if err != nil {
			return err
		}
		io.WriteString(&answer, chunk.Text)
	}
	say("%s", question)
	say("%s", strings.TrimSpace(answer.String()))
	if answer.Len() == 0 {
		return errors.New("the answer is empty")
	}
	return nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
