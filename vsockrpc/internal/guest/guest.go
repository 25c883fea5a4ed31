package guest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Options says what to boot and run.
type Options struct {
	// Kernel is an unpacked Debian kernel package: it has boot/vmlinuz-* and
	// lib/modules.
	Kernel string
	// Modules are names of kernel modules to load, in this order.
	Modules []string
	// Init is the program in folder init, built for Linux without cgo.
	Init []byte
	// Files are what the root file system has besides, by absolute names. All
	// can be executed.
	Files map[string][]byte
	// Args is the program and its arguments, and Env its environment.
	Args, Env []string
	// Memory of the guest in MiB. 0 means 1,024.
	Memory int
	// Console gets what the guest prints. nil discards it.
	Console io.Writer
}

// Command is what init runs; it finds it in CommandFile.
type Command struct {
	Modules   []string // paths
	Args, Env []string
}

// CommandFile is where init looks for its Command, in JSON.
const CommandFile = "/command.json"

// exitLine is what init prints at the end.
var exitLine = regexp.MustCompile(`^GUEST EXIT (-?\d+)\r?$`)

// ErrNoExit says that the guest ended, or was ended with the context, before
// the program did.
var ErrNoExit = errors.New("guest: the program did not end")

// Run boots the guest and returns the program's exit status.
func Run(ctx context.Context, o Options) (int, error) {
	if o.Memory == 0 {
		o.Memory = 1024
	}
	if o.Console == nil {
		o.Console = io.Discard
	}
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := o.writeInitrd(initrd); err != nil {
		return 0, err
	}
	kernel, err := one(filepath.Join(o.Kernel, "boot", "vmlinuz-*"))
	if err != nil {
		return 0, err
	}
	// Without cmpxchg16b: after it QEMU 7.2 leaves flags undefined, and a kernel
	// that is interrupted there dies.
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg", "-cpu", "max,-cx16", "-M", "q35", "-m", strconv.Itoa(o.Memory), "-smp", "2",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 reboot=t panic=-1 quiet")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	status, found := 0, false
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if m := exitLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			status, _ = strconv.Atoi(m[1])
			found = true
		} else if _, err := io.WriteString(o.Console, line); err != nil {
			cmd.Process.Kill()
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	switch {
	case found:
		return status, nil
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", ErrNoExit, context.Cause(ctx))
	default:
		return 0, fmt.Errorf("%w: QEMU: %v: %s", ErrNoExit, err, bytes.TrimSpace(stderr.Bytes()))
	}
}

func (o *Options) writeInitrd(name string) error {
	files := map[string][]byte{"/init": o.Init}
	c := Command{Args: o.Args, Env: o.Env}
	for _, module := range o.Modules {
		data, err := o.module(module)
		if err != nil {
			return err
		}
		file := "/modules/" + module + ".ko"
		files[file] = data
		c.Modules = append(c.Modules, file)
	}
	for name, data := range o.Files {
		files[name] = data
	}
	command, err := json.Marshal(c)
	if err != nil {
		return err
	}
	files[CommandFile] = command
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = writeCPIO(w, files)
	return errors.Join(err, w.Flush(), f.Close())
}

// module reads a module of the kernel, which may be compressed.
func (o *Options) module(name string) ([]byte, error) {
	var found string
	err := filepath.WalkDir(filepath.Join(o.Kernel, "lib", "modules"), func(path string, d os.DirEntry, err error) error {
		if base, _, _ := strings.Cut(filepath.Base(path), ".ko"); base == name && !d.IsDir() {
			found = path
			return filepath.SkipAll
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case found == "":
		return nil, fmt.Errorf("guest: the kernel has no module %s", name)
	case strings.HasSuffix(found, ".ko"):
		return os.ReadFile(found)
	case strings.HasSuffix(found, ".ko.xz"):
		return exec.Command("xz", "-dc", found).Output()
	}
	return nil, fmt.Errorf("guest: %s is compressed in an unknown way", found)
}

func one(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("guest: %d files are %s, one is needed", len(found), pattern)
	}
	return found[0], nil
}
