package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/image"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// VMOptions configures a VM.
type VMOptions struct {
	// Binary is the chatbot: the parts of the host, and the image's program.
	// Required.
	Binary string
	// Kernel is an unpacked Debian kernel package. Required.
	Kernel string
	// Vhost is the program vhost-device-vsock. Required.
	Vhost string
	// Dir is as in Options.
	Dir string
	// Steps, if not nil, gets the step lines of all parts, and what the guest
	// prints.
	Steps io.Writer
	// Progress, if not nil, is told what is being done.
	Progress func(what string)
}

// VM is the pipeline with the enclave in a virtual machine, whose kernel boots
// the ramdisks of an enclave image: QEMU emulates it, and no privileges are
// needed. KMS and parent are processes of this machine. What is not real is the
// security module, which a software NSM stands for inside of the guest: it
// states the image's measurements because it is told them.
type VM struct {
	*Cluster
	opts VMOptions
	// Built are the image's measurements, as its builder says.
	Built attest.PCRs
	// Size of the image in bytes, and what was allocated for it.
	Size       int64
	Allocation image.Allocation
	// Heartbeat is closed when the guest's init has sent its heartbeat.
	Heartbeat <-chan struct{}

	heartbeats net.Listener
	guest      *Guest
}

// Names and numbers of the machine.
const (
	vmEgressPort  = 8000
	vmEnclavePort = 5000
	vmCPUs        = 2
	// vmHost is the host's context id for guests of vhost-device-vsock. A
	// Nitro Enclave's parent has another.
	vmHost = vsockrpc.HostCID
	// unmeasured is a folder of the guest that comes from a third ramdisk,
	// which is no part of the image.
	unmeasured = "/unmeasured"
)

// NewVM starts KMS, builds the image and its policies, gives the key its policy,
// and starts the parent: the order in which one does so on AWS, since the image
// names the key, and the key's policy the image. Boot starts the enclave. On
// error nothing is left running.
func NewVM(ctx context.Context, opts VMOptions) (_ *VM, err error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	v := &VM{opts: opts, Cluster: &Cluster{enclaves: make([]*process, 1), opts: Options{
		Binary: opts.Binary, Dir: opts.Dir, Steps: opts.Steps, Alias: PostAlias,
		// Until there is an image, the key is for none.
		ExpectPCRs: attest.PCRs{0: attest.PCRFromDigest([48]byte{1})},
	}}}
	v.Cluster.opts.Reroute = func(string) string { return v.hybrid(vmEnclavePort) }
	defer func() {
		if err != nil {
			v.Close()
		}
	}()
	opts.Progress("KMS, with a key that nobody can use")
	if err := v.writeSetup(); err != nil {
		return nil, err
	}
	if err := v.startKMS(ctx); err != nil {
		return nil, err
	}
	opts.Progress("image")
	if err := v.build(ctx); err != nil {
		return nil, err
	}
	opts.Progress("key policy")
	if err := v.putKeyPolicy(ctx); err != nil {
		return nil, err
	}
	opts.Progress("parent")
	v.Cluster.opts.ParentArgs = []string{"-egress", v.hybrid(vmEgressPort) + "=" + hostPort(v.kmsReady.Endpoint)}
	if err := v.startParent(ctx); err != nil {
		return nil, err
	}
	if v.heartbeats, v.Heartbeat, err = AnswerHeartbeats(Hybrid(v.opts.Dir, heartbeatPort)); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *VM) hybrid(port int) string { return Hybrid(v.opts.Dir, port) }

// ImageFile is the image; what the builder has written beside it has its name.
func (v *VM) ImageFile() string { return v.path("chatbot.eif") }

// build makes the image for the key that there is, with the subcommand for it.
func (v *VM) build(ctx context.Context) error {
	kernel, err := one(v.opts.Kernel, "boot/vmlinuz-*")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, v.opts.Binary, "eif", "image", "-o", v.ImageFile(),
		"-kernel", kernel, "-modules", v.opts.Kernel, "-module", "virtio_pci", "-parent-cid", strconv.Itoa(vmHost),
		"-file", "/etc/kms-ca.pem="+v.kmsReady.CAFile, "-admin", adminRole, "-client", clientRole, "-cpus", strconv.Itoa(vmCPUs),
		// One thread: those of an emulated processor wait for each other.
		"--", "-v", "-threads", "1", "-region", Region, "-key-arn", v.keyARN(), "-kms-endpoint", v.kmsReady.Endpoint, "-kms-ca", "/etc/kms-ca.pem",
		"-egress", fmt.Sprintf("%s=vsock://%d:%d", hostPort(v.kmsReady.Endpoint), vmHost, vmEgressPort),
		"-simulate-nsm", unmeasured+"/nsm-ca.pem", "-simulate-pcrs", unmeasured+"/measurements.json")
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	if v.opts.Steps != nil {
		v.opts.Steps.Write(out)
	}
	if err != nil {
		return fmt.Errorf("eif image: %w: %s", err, bytes.TrimSpace(out))
	}
	data, err := os.ReadFile(v.path("chatbot.measurements.json"))
	if err != nil {
		return err
	}
	said, err := attest.ParsePolicy(data)
	if err != nil {
		return err
	}
	v.Built = said.Measurements[0].PCRs
	v.Cluster.opts.Image = v.Built
	info, err := os.Stat(v.ImageFile())
	if err != nil {
		return err
	}
	v.Size, v.Allocation = info.Size(), image.Allocate(info.Size(), 0, vmCPUs)
	return nil
}

// putKeyPolicy gives the key the policy that the builder made.
func (v *VM) putKeyPolicy(ctx context.Context) error {
	policy, err := os.ReadFile(v.path("chatbot.key-policy.json"))
	if err != nil {
		return err
	}
	_, err = v.kmsClient(v.creds.admin).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: aws.String(v.keyARN()), Policy: aws.String(string(policy))})
	return err
}

// Boot starts the guest and waits until the enclave in it serves.
func (v *VM) Boot(ctx context.Context) (EnclaveReady, error) {
	said := make(chan EnclaveReady, 1)
	m := v.machine()
	m.Unmeasured = map[string]string{
		unmeasured + "/nsm-ca.pem": v.path("nsm-ca.pem"), unmeasured + "/measurements.json": v.path("chatbot.measurements.json"),
	}
	m.Line = func(line string) {
		var ready EnclaveReady
		if json.Unmarshal([]byte(line), &ready) == nil && ready.Listen != "" && len(said) == 0 {
			said <- ready
		}
	}
	if err := v.start(ctx, m); err != nil {
		return EnclaveReady{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case ready := <-said:
		return ready, nil
	case <-v.guest.Ended():
		return EnclaveReady{}, fmt.Errorf("the guest ended: %s", v.guest.Said())
	case <-ctx.Done():
		return EnclaveReady{}, fmt.Errorf("the enclave was not ready in time: %s", v.guest.Said())
	}
}

// BootBroken starts the guest without the third ramdisk, so that its enclave
// cannot start, and returns what it has printed when it has ended by itself.
func (v *VM) BootBroken(ctx context.Context) (string, error) {
	if err := v.start(ctx, v.machine()); err != nil {
		return "", err
	}
	select {
	case <-v.guest.Ended():
		return v.guest.Said(), nil
	case <-ctx.Done():
		return "", fmt.Errorf("the guest hangs: %s", v.guest.Said())
	}
}

// machine is for the image, with what is to be allocated for it.
func (v *VM) machine() Machine {
	return Machine{
		Dir: v.opts.Dir, QEMU: "qemu-system-x86_64", Vhost: v.opts.Vhost, Image: v.ImageFile(), PCRs: v.Built,
		MemoryMiB: v.Allocation.MemoryMiB, CPUs: v.Allocation.CPUs, Console: v.opts.Steps,
	}
}

// start starts a guest in the place of one that may run.
func (v *VM) start(ctx context.Context, m Machine) (err error) {
	v.guest.Stop()
	v.guest, err = m.Start(ctx)
	return err
}

// Close stops everything.
func (v *VM) Close() {
	v.parent.stop()
	v.guest.Stop()
	if v.heartbeats != nil {
		v.heartbeats.Close()
	}
	v.Cluster.kms.stop()
}

// one returns the one file of a folder that matches a pattern.
func one(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%d files are %s in %s, one is needed", len(found), pattern, dir)
	}
	return found[0], nil
}
