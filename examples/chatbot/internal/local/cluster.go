// Package local runs the chatbot's whole pipeline on one machine: KMS, parent
// and enclave as separate processes, joined by unix sockets in place of vsock,
// with a software NSM in place of the device. The processes run the same code
// as in production; only those edges differ.
package local

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
)

// Options configures a Cluster.
type Options struct {
	// Binary is the chatbot itself. Required.
	Binary string
	// Dir is an existing directory for sockets, keys and logs, for this user
	// only. Its path must be short, since unix socket paths are. Required.
	Dir string
	// Image is what the enclave measures, as Measure computes it. Required.
	Image attest.PCRs
	// ExpectPCRs are those that the key policy names. nil means Image.
	ExpectPCRs attest.PCRs
	// Enclaves is how many enclaves there are. 0 means 1.
	Enclaves int
	// Alias is the alias of the key, without "alias/". Empty means PostAlias.
	Alias string
	// Blog adds the insecure mode of the AWS blog post, with a key of its own.
	Blog bool
	// EnclaveArgs are further arguments of the enclaves, such as -model.
	EnclaveArgs []string
	// ParentArgs are further arguments of the parent.
	ParentArgs []string
	// Reroute, if not nil, says where the parent connects to in place of an
	// enclave's address, and an enclave in place of the parent's way to KMS:
	// for somebody who wants to look at what passes.
	Reroute func(addr string) string
	// Steps, if not nil, gets the step lines of parent and enclaves.
	// Otherwise their standard error goes to files in Dir.
	Steps io.Writer
	// Progress, if not nil, is told what is being started.
	Progress func(what string)
}

// Cluster is a running pipeline. Its methods must not be called concurrently,
// except Client.
type Cluster struct {
	opts     Options
	creds    credentialSet
	root     *x509.Certificate
	kms      *process
	parent   *process
	enclaves []*process

	kmsReady     KMSReady
	parentReady  ParentReady
	enclaveReady EnclaveReady
	kmsRoots     *x509.CertPool
}

// The lines by which the subcommands say that they serve.
type (
	// KMSReady is the kms subcommand's.
	KMSReady struct {
		Endpoint string `json:"endpoint"`
		// PlainEndpoint is the same KMS over plain HTTP, or empty.
		PlainEndpoint string `json:"plain_endpoint,omitempty"`
		CAFile        string `json:"ca_file"`
		// KeyARNs are the keys' by alias.
		KeyARNs map[string]string `json:"key_arns"`
	}
	// ParentReady is the parent's.
	ParentReady struct {
		URL      string `json:"url"`
		AdminURL string `json:"admin_url,omitempty"`
	}
	// EnclaveReady is the enclave's.
	EnclaveReady struct {
		Listen      string      `json:"listen"`
		Model       string      `json:"model"`
		ModelDigest string      `json:"model_digest"`
		PCRs        attest.PCRs `json:"pcrs"`
		// AwaitsRelease means that it serves nothing yet but the release of
		// its model; another line follows.
		AwaitsRelease bool `json:"awaits_release,omitempty"`
	}
)

// Start runs KMS, parent and enclaves. On error nothing is left running.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	if opts.ExpectPCRs == nil {
		opts.ExpectPCRs = opts.Image
	}
	if opts.Alias == "" {
		opts.Alias = PostAlias
	}
	if opts.Enclaves == 0 {
		opts.Enclaves = 1
	}
	if opts.Reroute == nil {
		opts.Reroute = func(addr string) string { return addr }
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	c := &Cluster{opts: opts, enclaves: make([]*process, opts.Enclaves)}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.writeSetup(); err != nil {
		return nil, err
	}
	opts.Progress("KMS")
	if err := c.startKMS(ctx); err != nil {
		return nil, err
	}
	opts.Progress("parent")
	if err := c.startParent(ctx); err != nil {
		return nil, err
	}
	for i := range c.enclaves {
		opts.Progress("enclave")
		if err := c.StartEnclave(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) path(name string) string { return filepath.Join(c.opts.Dir, name) }

// keyAlias is the alias of the key that questions are sealed under.
func (c *Cluster) keyAlias() string {
	if c.opts.Blog {
		return aliasPrefix + sealedAlias
	}
	return c.postAlias()
}

func (c *Cluster) postAlias() string { return aliasPrefix + c.opts.Alias }

func (c *Cluster) keyARN() string { return c.kmsReady.KeyARNs[c.keyAlias()] }

func (c *Cluster) startKMS(ctx context.Context) (err error) {
	log, err := c.log("kms")
	if err != nil {
		return err
	}
	c.kms, err = start(ctx, log, &c.kmsReady, c.opts.Binary, "kms", "-supervised", "-config", c.path("kms.json"),
		"-plain-listen", "127.0.0.1:0", "-ca-out", c.path("kms-ca.pem"))
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(c.kmsReady.CAFile)
	if err != nil {
		return err
	}
	c.kmsRoots = x509.NewCertPool()
	if !c.kmsRoots.AppendCertsFromPEM(pem) {
		return errors.New("the local KMS wrote no certificate")
	}
	return nil
}

// The sockets that stand for vsock ports: each enclave listens on one, the
// parent's way to KMS is another.
func (c *Cluster) enclaveAddr(i int) string { return "unix://" + c.path(enclaveName(i)+".sock") }
func (c *Cluster) egressAddr() string       { return "unix://" + c.path("kms.sock") }

func (c *Cluster) startParent(ctx context.Context) (err error) {
	log, err := c.log("parent")
	if err != nil {
		return err
	}
	args := []string{"parent", "-supervised", "-listen", "127.0.0.1:0", "-admin-listen", "127.0.0.1:0",
		"-egress", c.egressAddr() + "=" + hostPort(c.kmsReady.Endpoint)}
	for i := range c.enclaves {
		args = append(args, "-enclave", c.opts.Reroute(c.enclaveAddr(i)))
	}
	if c.opts.Blog {
		args = append(args, "-insecure-blog-mode")
	}
	if c.opts.Steps != nil {
		args = append(args, "-v")
	}
	c.parent, err = start(ctx, log, &c.parentReady, c.opts.Binary, append(args, c.opts.ParentArgs...)...)
	return err
}

// StartEnclave starts enclave i, after KillEnclave for instance.
func (c *Cluster) StartEnclave(ctx context.Context, i int) error {
	log, err := c.log(enclaveName(i))
	if err != nil {
		return err
	}
	args := []string{"enclave", "-supervised", "-listen", c.enclaveAddr(i),
		"-simulate-nsm", c.path("nsm-ca.pem"),
		"-region", Region, "-key-arn", c.keyARN(),
		"-kms-endpoint", c.kmsReady.Endpoint, "-kms-ca", c.kmsReady.CAFile,
		"-egress", hostPort(c.kmsReady.Endpoint) + "=" + c.opts.Reroute(c.egressAddr())}
	if c.opts.Blog {
		args = append(args, "-insecure-blog-mode", "-blog-key-arn", c.kmsReady.KeyARNs[c.postAlias()])
	}
	if c.opts.Steps != nil {
		args = append(args, "-v")
	}
	c.enclaves[i], err = start(ctx, log, &c.enclaveReady, c.opts.Binary, append(args, c.opts.EnclaveArgs...)...)
	return err
}

// KillEnclave ends the process of enclave i at once, as a crash would.
func (c *Cluster) KillEnclave(i int) {
	if c.enclaves[i] != nil {
		c.enclaves[i].kill()
	}
}

// StopEnclave tells enclave i to stop, and waits until it has: answers under way
// get a few seconds.
func (c *Cluster) StopEnclave(i int) { c.enclaves[i].stop() }

// Close stops everything that Start started, in the order in which requests
// flow.
func (c *Cluster) Close() {
	c.parent.stop()
	for _, e := range c.enclaves {
		e.stop()
	}
	c.kms.stop()
}

// log is where a part's standard error goes.
func (c *Cluster) log(name string) (io.Writer, error) {
	if c.opts.Steps != nil {
		return c.opts.Steps, nil
	}
	return os.OpenFile(c.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func hostPort(endpoint string) string { return strings.TrimPrefix(endpoint, "https://") }
