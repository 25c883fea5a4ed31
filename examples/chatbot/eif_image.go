package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/image"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

const eifImageAbout = `
Builds the chatbot's enclave image from this program and a kernel, without
Docker: it finds the libraries that the program and libllama need, makes both
ramdisks, and writes beside the image what goes with it:

  NAME.measurements.json  as nitro-cli build-enclave prints them
  NAME.policy.json        the client's policy
  NAME.key-policy.json    the key policy, with -admin and -client
  NAME.allocator.yaml     what the parent must set aside

After "--" come the flags of "chatbot enclave". They are measured, in PCR2, with
the model, libllama and other files; PCR1 is kernel, modules and this program.
Of files that these flags name, the enclave sees those that -file has put there.

The same files give the same image, byte for byte. The C library is among them,
and is this machine's: who wants to compare builds the program with "go build
-trimpath -buildvcs=false", and the image in the same release of the same system.

The kernel must have drivers for Nitro's devices, built in or in -modules: a
bzImage of AWS has, a Debian cloud kernel (6.12 or newer) has what QEMU's Nitro
machine needs.
`

// imageFlags are those of chatbot eif image.
type imageFlags struct {
	opts                    image.Options
	name, version           string
	signingKey, signingCert string
	out                     string
	maxAge                  time.Duration
	cpus                    int
	parentCID               uint
	moreMemory              int64
	key                     *keyPolicyFlags
}

func newImageFlags(fs *flag.FlagSet) *imageFlags {
	f := &imageFlags{}
	o := &f.opts
	o.Files = map[string]string{}
	fs.StringVar(&o.Kernel, "kernel", "", "`file` with the kernel: a bzImage, or for arm64 an Image (required)")
	fs.StringVar(&o.ModulesDir, "modules", "", "`folder` with the kernel's modules, such as lib/modules of an unpacked package; empty means all is built in")
	fs.Func("module", "`name` of a module to load besides those of Nitro's devices (repeatable)", appendTo(&o.Modules))
	fs.StringVar(&o.Cmdline, "cmdline", image.DefaultCmdline, "the kernel's command line, as one `text`")
	fs.StringVar(&o.Program, "program", "", "`file` with the chatbot for the enclave; empty means this program")
	fs.StringVar(&o.Library, "llama-lib", "", "`folder` of libllama; empty means where the installer put it, or the system's")
	fs.Func("lib-dir", "`folder` to look for shared libraries in before the system's, such as those of another architecture (repeatable)", appendTo(&o.LibraryDirs))
	fs.StringVar(&o.Model, "model", "", "GGUF `file` to use in place of the embedded model")
	fs.Func("file", "`NAME=FILE`: FILE of this machine is NAME in the enclave, such as /etc/kms-ca.pem (repeatable)", func(s string) error {
		name, file, ok := strings.Cut(s, "=")
		if _, twice := o.Files[name]; !ok || file == "" || twice {
			return errors.New("must be NAME=FILE, each name once")
		}
		o.Files[name] = file
		return nil
	})
	fs.UintVar(&f.parentCID, "parent-cid", 3, "whom the heartbeat goes to: `CID` 3 on Nitro, 2 for QEMU with vhost-device-vsock")
	fs.StringVar(&o.Arch, "arch", "", "`x86_64|arm64`: what the image must be for; empty means what the program is for")
	fs.StringVar(&f.name, "name", "chatbot", "what the image calls itself: `text` that is not measured")
	fs.StringVar(&f.version, "version", "", "the image's version: `text` that is not measured")
	fs.StringVar(&f.signingKey, "signing-key", "", "PEM `file` with an ECDSA P-384 key to sign the image with; needs -signing-cert")
	fs.StringVar(&f.signingCert, "signing-cert", "", "PEM `file` with its certificate, which PCR8 measures")
	fs.StringVar(&f.out, "o", "", "`file` to write, NAME.eif (required)")
	fs.DurationVar(&f.maxAge, "max-age", 5*time.Minute, "longest age of an attestation document, for the client's policy")
	fs.IntVar(&f.cpus, "cpus", 2, "CPUs for the enclave; whole cores, so an even number on most instances")
	fs.Int64Var(&f.moreMemory, "more-memory", 0, "`MiB` of memory besides what the image needs, such as for a sealed model")
	f.key = newKeyPolicyFlags(fs)
	return f
}

// wantsKey reports whether a key policy is asked for.
func (f *imageFlags) wantsKey() bool { return len(f.key.spec.Admins)+len(f.key.spec.Clients) > 0 }

// check returns what is wrong with the flags, or "".
func (f *imageFlags) check() string {
	switch {
	case f.opts.Kernel == "" || f.out == "":
		return "-kernel and -o are required"
	case f.opts.Cmdline == "":
		return "-cmdline is empty"
	case !slices.Contains([]string{"", "x86_64", "arm64"}, f.opts.Arch):
		return fmt.Sprintf("-arch is %q, not x86_64 or arm64", f.opts.Arch)
	case (f.signingKey == "") != (f.signingCert == ""):
		return "-signing-key and -signing-cert go together"
	case f.maxAge < 0:
		return "-max-age is negative"
	case f.cpus < 1 || f.moreMemory < 0:
		return "-cpus must be at least 1, and -more-memory not negative"
	case f.parentCID < 2 || f.parentCID >= 1<<32-1:
		return "-parent-cid is no CID of a parent"
	case f.wantsKey():
		return f.key.check()
	}
	return ""
}

func runEIFImage(_ context.Context, args []string, s streams) error {
	args, enclaveArgs := cutArgs(args)
	fs := newFlags("eif image", eifImageAbout, s)
	f := newImageFlags(fs)
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if wrong := f.check(); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	if err := f.setArgs(enclaveArgs, s.err); err != nil {
		return err
	}
	if f.wantsKey() {
		// Principals that cannot be are found before the image is there.
		f.key.spec.Measurements = []attest.Measurement{{PCRs: attest.PCRs{0: attest.PCRFromDigest([48]byte{1})}}}
		if _, _, err := f.key.policy(); err != nil {
			return err
		}
	}
	if err := f.find(); err != nil {
		return err
	}
	contents, err := f.build()
	if err != nil {
		return err
	}
	if err := f.writeBeside(contents, s.err); err != nil {
		return err
	}
	f.tell(contents, s.err)
	return printJSON(s.out, measuredOf(contents.Image))
}

// cutArgs cuts off what comes after "--".
func cutArgs(args []string) (own, others []string) {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i], args[i+1:]
	}
	return args, nil
}

// setArgs takes the flags of chatbot enclave, which are checked now: in the
// enclave nobody would see what is wrong with them.
func (f *imageFlags) setArgs(args []string, errOut io.Writer) error {
	fs := command{name: "enclave", run: runEnclave}.flagSet()
	fs.SetOutput(errOut)
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 {
		return badUsage(fs, "what comes after -- must be flags of chatbot enclave")
	}
	var set []string
	fs.Visit(func(g *flag.Flag) { set = append(set, g.Name) })
	f.opts.Args = []string{"enclave"}
	for name, value := range map[string]string{"model": f.opts.Model, "llama-lib": "always"} {
		if value != "" && slices.Contains(set, name) {
			return badUsage(fs, "-%s belongs before --: the image chooses where it lies in the enclave", name)
		}
	}
	f.opts.Args = append(f.opts.Args, "-llama-lib", image.LibraryDir)
	if f.opts.Model != "" {
		f.opts.Args = append(f.opts.Args, "-model", image.ModelPath)
	}
	f.opts.Args = append(f.opts.Args, args...)
	value := func(name string) string { return fs.Lookup(name).Value.String() }
	if value("key-arn") == "" && value("without-kms") != "true" {
		return badUsage(fs, "-key-arn is required, or -without-kms")
	}
	if ca := value("kms-ca"); ca != "" && f.opts.Files[ca] == "" {
		return badUsage(fs, "-kms-ca names %s, which is not in the image: -file %s=FILE before -- puts it there", ca, ca)
	}
	for _, name := range []string{"simulate-nsm", "allow-debug"} {
		if slices.Contains(set, name) {
			fmt.Fprintf(errOut, "warning: -%s makes an image for development, which protects nothing\n", name)
		}
	}
	return nil
}

// find looks for what no flag names.
func (f *imageFlags) find() (err error) {
	if f.opts.Program == "" {
		if f.opts.Program, err = os.Executable(); err != nil {
			return err
		}
	}
	f.opts.ParentCID = uint32(f.parentCID)
	if f.opts.Model != "" {
		if err := checkGGUF(f.opts.Model); err != nil {
			return err
		}
	}
	f.opts.Library, err = libllama.Find(f.opts.Library)
	return err
}

// checkGGUF makes sure that a file is a model, by how it begins.
func checkGGUF(name string) error {
	model, err := openGGUF(name)
	if err != nil {
		return err
	}
	defer model.Close()
	var magic [4]byte
	if _, err := io.ReadFull(model, magic[:]); err != nil || string(magic[:]) != "GGUF" {
		return fmt.Errorf("%s is no GGUF file", name)
	}
	return nil
}

// build writes the image. A failure leaves nothing.
func (f *imageFlags) build() (contents *image.Contents, err error) {
	if f.opts.Signer, err = readSigner(f.signingKey, f.signingCert); err != nil {
		return nil, err
	}
	if f.opts.Metadata, err = newMetadata(f.name, f.version); err != nil {
		return nil, err
	}
	err = writeWhole(f.out, 0o644, func(out *os.File) error {
		contents, err = image.Build(out, filepath.Dir(f.out), f.opts)
		return err
	})
	return contents, err
}

// allocation is what the parent must set aside.
func (f *imageFlags) allocation(c *image.Contents) image.Allocation {
	return image.Allocate(c.Size, f.moreMemory, f.cpus)
}

// writeBeside writes the files that go with the image.
func (f *imageFlags) writeBeside(c *image.Contents, errOut io.Writer) error {
	base := strings.TrimSuffix(f.out, ".eif")
	builds := []attest.Measurement{imageMeasurement(c.Image)}
	policy, err := encodePolicy(attest.Policy{Measurements: builds, MaxAge: f.maxAge})
	if err != nil {
		return err
	}
	var measurements strings.Builder
	if err := printJSON(&measurements, measuredOf(c.Image)); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		".measurements.json": []byte(measurements.String()), ".policy.json": policy, ".allocator.yaml": f.allocation(c).YAML(),
	} {
		if err := writeOut(base+name, data, nil); err != nil {
			return err
		}
	}
	if !f.wantsKey() {
		return nil
	}
	f.key.spec.Measurements = builds
	return f.key.write(base+".key-policy.json", nil, errOut)
}

// tell says in words what there is.
func (f *imageFlags) tell(c *image.Contents, w io.Writer) {
	kernel := c.Kernel
	if kernel == "" {
		kernel = "of unknown release"
	}
	fmt.Fprintf(w, "%s: %.1f MB, %s, kernel %s, %d modules (%s), %d shared libraries\n", f.out, float64(c.Size)/1e6, c.Image.Arch, kernel,
		len(c.Modules), strings.Join(c.Modules, " "), len(c.Libraries))
	for _, name := range slices.Sorted(maps.Keys(c.Libraries)) {
		if !strings.Contains(name, "libggml-cpu-") {
			fmt.Fprintf(w, "  %s from %s\n", name, c.Libraries[name])
		}
	}
	a := f.allocation(c)
	fmt.Fprintf(w, "allocate %d MiB and %d CPUs, then: nitro-cli run-enclave --eif-path %s --memory %d --cpu-count %d\n",
		a.MemoryMiB, a.CPUs, f.out, a.MemoryMiB, a.CPUs)
}
