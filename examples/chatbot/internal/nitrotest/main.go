// Nitrotest boots an enclave image in QEMU's machine nitro-enclave, which loads
// it as Nitro does and has a security module, and checks what the module says.
// With -pc it takes an ordinary machine, which has no module: that shows that
// the test itself, the image and vsock work. .ci/nitro-test gets what it needs.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/attest/eif"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/image"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/nitrotest/report"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// bootTimeout bounds one boot; the processor is emulated.
const bootTimeout = 3 * time.Minute

type options struct {
	qemu, vhost, kernel, program, guest string
	pc                                  bool
}

func main() {
	var o options
	flag.StringVar(&o.qemu, "qemu", "qemu-system-x86_64", "QEMU with the machine nitro-enclave")
	flag.StringVar(&o.vhost, "vhost", "vhost-device-vsock", "the program vhost-device-vsock")
	flag.StringVar(&o.kernel, "kernel", "", "an unpacked Debian kernel package with the module nsm")
	flag.StringVar(&o.program, "init", "", "the chatbot, which is init")
	flag.StringVar(&o.guest, "guest", "", "the program for the guest, linked statically")
	flag.BoolVar(&o.pc, "pc", false, "take a PC, which has no security module")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "nitro-test:", err)
		stop()
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	if !o.pc {
		out, err := exec.CommandContext(ctx, o.qemu, "-M", "help").Output()
		if err != nil {
			return fmt.Errorf("%s: %w", o.qemu, err)
		}
		if !bytes.Contains(out, []byte("nitro-enclave")) {
			return fmt.Errorf("%s has no machine nitro-enclave: name one that has in NITRO_QEMU", o.qemu)
		}
	}
	dir, err := os.MkdirTemp("", "nitro-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	built, err := o.build(dir)
	if err != nil {
		return err
	}
	fmt.Printf("image of %.1f MB, kernel %s\n", float64(built.Size)/1e6, built.Kernel)
	heartbeats, heartbeat, err := local.AnswerHeartbeats(local.Hybrid(dir, 9000))
	if err != nil {
		return err
	}
	defer heartbeats.Close()
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	serves := make(chan struct{})
	guest, err := local.Machine{
		Dir: dir, QEMU: o.qemu, Vhost: o.vhost, Image: filepath.Join(dir, "test.eif"), PCRs: built.Image.PCRs,
		MemoryMiB: 512, CPUs: 1, Nitro: !o.pc, Cmdline: o.cmdline(), Console: os.Stdout,
		Line: func(line string) {
			if line == report.Ready {
				close(serves)
			}
		},
	}.Start(ctx)
	if err != nil {
		return err
	}
	defer guest.Stop()
	select {
	case <-serves:
	case <-guest.Ended():
		return errors.New("the guest ended")
	case <-ctx.Done():
		return errors.New("the guest does not serve")
	}
	select {
	case <-heartbeat:
		fmt.Println("ok: heartbeat")
	default:
		return errors.New("the guest serves, and sent no heartbeat")
	}
	client, err := vsockrpc.NewClient(local.Hybrid(dir, report.Port), vsockrpc.ClientOptions{})
	if err != nil {
		return err
	}
	defer client.Close()
	nonce := make([]byte, 32)
	rand.Read(nonce)
	r, err := vsockrpc.Call[report.Request, report.Report](ctx, client, report.Method, report.Request{Nonce: nonce})
	if err != nil {
		return err
	}
	fmt.Println("ok: RPC over vsock")
	if o.pc {
		if !strings.Contains(r.Device, "no such file") {
			return fmt.Errorf("a PC has a security module: %+v", r)
		}
		fmt.Println("ok:", r.Device)
		return nil
	}
	return judge(r, built.Image.PCRs, nonce)
}

// build makes the image: the chatbot as init, and the guest's half as what runs.
func (o *options) build(dir string) (*image.Contents, error) {
	kernels, err := filepath.Glob(filepath.Join(o.kernel, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return nil, fmt.Errorf("%d kernels in %s, one is needed", len(kernels), o.kernel)
	}
	f, err := os.Create(filepath.Join(dir, "test.eif"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	built, err := image.Build(f, dir, image.Options{
		Program: o.program, Main: "/guest", Files: map[string]string{"/guest": o.guest},
		Kernel: kernels[0], ModulesDir: o.kernel, Modules: []string{"virtio_pci"}, ParentCID: vsockrpc.HostCID,
	})
	if err != nil {
		return nil, err
	}
	if !o.pc && !slices.Contains(built.Modules, "nsm") {
		return nil, fmt.Errorf("the kernel %s has no module nsm", built.Kernel)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	read, err := eif.Read(f)
	if err != nil {
		return nil, err
	}
	for i := range 3 {
		if !read.PCRs[i].Equal(built.Image.PCRs[i]) {
			return nil, fmt.Errorf("PCR%d of the file is not what its builder said", i)
		}
	}
	return built, f.Close()
}

// cmdline is what the kernel needs in a machine without a clock to measure the
// processor's by: how fast that of the host is, which QEMU passes on.
func (o *options) cmdline() string {
	if o.pc {
		return ""
	}
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "cpu MHz" {
			var mhz float64
			if _, err := fmt.Sscan(strings.TrimSpace(value), &mhz); err == nil && mhz > 0 {
				return fmt.Sprintf("tsc_early_khz=%.0f", mhz*1000)
			}
		}
	}
	return ""
}
