package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
)

const eifBuildAbout = `
Builds an enclave image file from a kernel, its command line and ramdisks, and
prints the measurements as nitro-cli build-enclave does. The first ramdisk boots
and is part of PCR1; the others are the application, PCR2; PCR0 is all of it.
The same input gives the same file, byte for byte, signature included.

-policy writes the client's policy for this image beside it, and -key-policy the
key policy, which needs -admin and -client. See "chatbot help policy".

nitro-cli takes x86_64 kernels as a bzImage and arm64 ones as an Image.
`

// buildFlags are those of chatbot eif build.
type buildFlags struct {
	kernel, cmdline, name, version, arch string
	ramdisks                             []string
	signingKey, signingCert              string
	out, policy, keyPolicy               string
	maxAge                               time.Duration
	key                                  *keyPolicyFlags
}

func newBuildFlags(fs *flag.FlagSet) *buildFlags {
	b := &buildFlags{}
	fs.StringVar(&b.kernel, "kernel", "", "`file` with the kernel (required)")
	fs.StringVar(&b.cmdline, "cmdline", "", "the kernel's command line, as one `text` (required)")
	fs.Func("ramdisk", "`file` with a ramdisk, a cpio archive, compressed or not (required, repeatable)", appendTo(&b.ramdisks))
	fs.StringVar(&b.name, "name", "", "what the image calls itself: `text` that is not measured")
	fs.StringVar(&b.version, "version", "", "the image's version: `text` that is not measured")
	fs.StringVar(&b.arch, "arch", "x86_64", "`x86_64|arm64`: what the kernel is for")
	fs.StringVar(&b.signingKey, "signing-key", "", "PEM `file` with an ECDSA P-384 key to sign the image with; needs -signing-cert")
	fs.StringVar(&b.signingCert, "signing-cert", "", "PEM `file` with its certificate, which PCR8 measures")
	fs.StringVar(&b.out, "o", "", "`file` to write (required)")
	fs.StringVar(&b.policy, "policy", "", "write the client's policy for this image to a `file`")
	fs.DurationVar(&b.maxAge, "max-age", 5*time.Minute, "longest age of an attestation document, for -policy")
	fs.StringVar(&b.keyPolicy, "key-policy", "", "write the KMS key policy for this image to a `file`")
	b.key = newKeyPolicyFlags(fs)
	return b
}

// check returns what is wrong with the flags, or "".
func (b *buildFlags) check() string {
	switch {
	case b.kernel == "" || b.cmdline == "" || len(b.ramdisks) == 0 || b.out == "":
		return "-kernel, -cmdline, -ramdisk and -o are required"
	case !slices.Contains([]string{"x86_64", "arm64"}, b.arch):
		return fmt.Sprintf("-arch is %q, not x86_64 or arm64", b.arch)
	case (b.signingKey == "") != (b.signingCert == ""):
		return "-signing-key and -signing-cert go together"
	case b.maxAge < 0:
		return "-max-age is negative"
	case b.keyPolicy != "":
		return b.key.check()
	}
	return ""
}

func runEIFBuild(_ context.Context, args []string, s streams) error {
	fs := newFlags("eif build", eifBuildAbout, s)
	b := newBuildFlags(fs)
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if wrong := b.check(); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	if b.keyPolicy != "" {
		// Principals that cannot be are found before the image is there.
		b.key.spec.Measurements = []attest.Measurement{{PCRs: attest.PCRs{0: attest.PCRFromDigest([48]byte{1})}}}
		if _, _, err := b.key.policy(); err != nil {
			return err
		}
	}
	image, err := b.build()
	if err != nil {
		return err
	}
	if err := b.policies(image, s.err); err != nil {
		return err
	}
	return printJSON(s.out, measuredOf(image))
}

// build opens the files and builds the image.
func (b *buildFlags) build() (*eif.Image, error) {
	opts := eif.BuildOptions{Arch: b.arch, Cmdline: b.cmdline}
	for i, name := range append([]string{b.kernel}, b.ramdisks...) {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if i == 0 {
			opts.Kernel = f
		} else {
			opts.Ramdisks = append(opts.Ramdisks, f)
		}
	}
	var err error
	if opts.Signer, err = readSigner(b.signingKey, b.signingCert); err != nil {
		return nil, err
	}
	if opts.Metadata, err = newMetadata(b.name, b.version); err != nil {
		return nil, err
	}
	return buildImage(b.out, opts)
}

// buildImage writes an image to a file. A failure leaves nothing.
func buildImage(path string, opts eif.BuildOptions) (image *eif.Image, err error) {
	err = writeWhole(path, 0o644, func(f *os.File) error {
		image, err = eif.Build(f, opts)
		return err
	})
	return image, err
}

// policies writes those that were asked for.
func (b *buildFlags) policies(image *eif.Image, errOut io.Writer) error {
	builds := []attest.Measurement{imageMeasurement(image)}
	if b.policy != "" {
		data, err := encodePolicy(attest.Policy{Measurements: builds, MaxAge: b.maxAge})
		if err == nil {
			err = writeOut(b.policy, data, nil)
		}
		if err != nil {
			return err
		}
	}
	if b.keyPolicy == "" {
		return nil
	}
	b.key.spec.Measurements = builds
	return b.key.write(b.keyPolicy, nil, errOut)
}
