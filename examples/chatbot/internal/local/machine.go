package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/image"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Machine is a virtual machine for an enclave image, which QEMU emulates
// without KVM, with vsock by vhost-device-vsock.
type Machine struct {
	// Dir is a folder for sockets, at short paths. Only one guest at a time may
	// use it.
	Dir string
	// QEMU and Vhost are the programs.
	QEMU, Vhost string
	// Image is the image's file. Its measurements must be PCRs.
	Image string
	PCRs  attest.PCRs
	// MemoryMiB and CPUs are the machine's.
	MemoryMiB int64
	CPUs      int
	// Nitro takes QEMU's machine nitro-enclave, which loads the image as Nitro
	// does and has a security module. Otherwise the machine is a PC, whose
	// kernel is given what the image holds.
	Nitro bool
	// Cmdline goes behind the image's command line. It is not measured.
	Cmdline string
	// Unmeasured are files of this machine for a ramdisk behind the image's, by
	// their names in the guest. It is not part of the image: only a PC, not
	// Nitro, can be given one.
	Unmeasured map[string]string
	// Console, if not nil, gets what the guest prints, and Line each line.
	Console io.Writer
	Line    func(string)
}

// Guest is a running machine.
type Guest struct {
	qemu, vhost *exec.Cmd
	tail        *tail
	ended       chan struct{}
}

// heartbeatPort is where the parent of an enclave waits for its heartbeat.
const heartbeatPort = 9000

// Hybrid is the address of a port of the machine with that Dir, and of one of
// the host that the guest reaches, at CID 2.
func Hybrid(dir string, port int) string {
	return fmt.Sprintf("hvsock://%s:%d", filepath.Join(dir, "vm.vsock"), port)
}

// Start starts the machine.
func (m Machine) Start(ctx context.Context) (*Guest, error) {
	g := &Guest{tail: &tail{}, ended: make(chan struct{})}
	args, err := m.args()
	if err != nil {
		return nil, err
	}
	if err := g.startVhost(ctx, m); err != nil {
		return nil, err
	}
	g.qemu = exec.Command(m.QEMU, args...)
	g.qemu.Stderr = g.tail
	out, err := g.qemu.StdoutPipe()
	if err == nil {
		err = g.qemu.Start()
	}
	if err != nil {
		g.stopVhost()
		return nil, err
	}
	go g.read(out, m)
	return g, nil
}

// Ended is closed when the machine has ended.
func (g *Guest) Ended() <-chan struct{} { return g.ended }

// Said is the end of what the guest has printed.
func (g *Guest) Said() string { return g.tail.last().Error() }

// Stop ends the machine at once, as nitro-cli terminate-enclave does. A nil
// Guest is none.
func (g *Guest) Stop() {
	if g == nil {
		return
	}
	g.qemu.Process.Kill()
	<-g.ended
	g.stopVhost()
}

// read reads the console to its end.
func (g *Guest) read(console io.Reader, m Machine) {
	lines := bufio.NewReader(console)
	for {
		line, err := lines.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			g.tail.Write(append(line, '\n'))
			if m.Console != nil {
				fmt.Fprintf(m.Console, "%s\n", line)
			}
			if m.Line != nil {
				m.Line(string(line))
			}
		}
		if err != nil {
			break
		}
	}
	g.qemu.Wait()
	close(g.ended)
}

func (m Machine) path(name string) string { return filepath.Join(m.Dir, name) }

// processor is QEMU's best one without cmpxchg16b, after which QEMU 7.2 leaves
// flags undefined (NT among them): a kernel that is interrupted there dies of its
// next IRET, about one boot in four. Without it kernels take another path.
const processor = "max,-cx16"

// args are QEMU's. All devices that are not named are left out.
func (m Machine) args() ([]string, error) {
	memory := strconv.FormatInt(m.MemoryMiB, 10) + "M"
	args := []string{"-accel", "tcg", "-cpu", processor, "-m", memory, "-smp", strconv.Itoa(m.CPUs), "-no-reboot",
		"-chardev", "socket,id=vsock,path=" + m.path("vhost.sock")}
	if m.Nitro {
		args = append(args, "-nographic", "-M", "nitro-enclave,vsock=vsock,id=i-0123456789abcdef0-enc0123456789abcde,acpi=on", "-kernel", m.Image)
		if m.Cmdline != "" {
			args = append(args, "-append", m.Cmdline)
		}
		return args, nil
	}
	cmdline, err := m.unpack()
	if err != nil {
		return nil, err
	}
	if m.Cmdline != "" {
		cmdline += " " + m.Cmdline
	}
	return append(args, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
		"-M", "q35,memory-backend=mem", "-object", "memory-backend-memfd,id=mem,share=on,size="+memory,
		"-device", "vhost-user-vsock-pci,chardev=vsock",
		"-kernel", m.path("kernel"), "-initrd", m.path("initrd"), "-append", cmdline), nil
}

// unpack writes the kernel of the image to a file and its ramdisks to another,
// one behind the other, as Nitro's loader gives them to the kernel, and returns
// the command line. What is not the image's comes last.
func (m Machine) unpack() (cmdline string, err error) {
	f, err := os.Open(m.Image)
	if err != nil {
		return "", err
	}
	defer f.Close()
	img, err := eif.Read(f)
	if err != nil {
		return "", err
	}
	for i := range 3 {
		if !img.PCRs[i].Equal(m.PCRs[i]) {
			return "", fmt.Errorf("PCR%d of %s is not what its builder said", i, m.Image)
		}
	}
	kernel, err := os.Create(m.path("kernel"))
	if err != nil {
		return "", err
	}
	defer kernel.Close()
	initrd, err := os.Create(m.path("initrd"))
	if err != nil {
		return "", err
	}
	defer initrd.Close()
	if err := image.Unpack(f, img, kernel, initrd); err != nil {
		return "", err
	}
	if len(m.Unmeasured) > 0 {
		if err := image.WriteRamdisk(initrd, m.Unmeasured); err != nil {
			return "", err
		}
	}
	return img.Cmdline, errors.Join(kernel.Close(), initrd.Close())
}

// startVhost starts the vsock device and waits for its socket.
func (g *Guest) startVhost(ctx context.Context, m Machine) error {
	socket := m.path("vhost.sock")
	for _, name := range []string{socket, m.path("vm.vsock")} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	g.vhost = exec.Command(m.Vhost, "--vm", fmt.Sprintf("guest-cid=4,socket=%s,uds-path=%s", socket, m.path("vm.vsock")))
	g.vhost.Stderr = g.tail
	if err := g.vhost.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond) // it says nothing when it is ready
	defer tick.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.stopVhost()
			return fmt.Errorf("vhost-device-vsock made no socket: %s", g.Said())
		}
	}
}

func (g *Guest) stopVhost() {
	g.vhost.Process.Kill()
	g.vhost.Wait()
}

// AnswerHeartbeats listens on an address and answers heartbeats as nitro-cli
// does. The channel is closed with the first.
func AnswerHeartbeats(addr string) (net.Listener, <-chan struct{}, error) {
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		return nil, nil, err
	}
	first := make(chan struct{})
	var once sync.Once
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var b [1]byte
			c.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.ReadFull(c, b[:]); err == nil && b[0] == 0xb7 {
				once.Do(func() { close(first) }) // before the guest goes on
				c.Write(b[:])
			}
			c.Close()
		}
	}()
	return l, first, nil
}
