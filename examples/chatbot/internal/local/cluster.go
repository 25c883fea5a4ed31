// Package local runs the chatbot's whole pipeline on one machine: KMS, parent
// and enclave as separate processes, joined by unix sockets in place of vsock,
// with a software NSM in place of the device. The processes run the same code
// as in production; only those edges differ.
package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
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
	// EnclaveArgs are further arguments of the enclave, such as -model.
	EnclaveArgs []string
	// ParentArgs are further arguments of the parent.
	ParentArgs []string
	// Steps, if not nil, gets the step lines of parent and enclave.
	// Otherwise their standard error goes to files in Dir.
	Steps io.Writer
}

// Cluster is a running pipeline. Its methods must not be called concurrently,
// except Client.
type Cluster struct {
	opts    Options
	creds   credentialSet
	kms     *process
	parent  *process
	enclave *process

	kmsReady    KMSReady
	parentReady ParentReady
	kmsRoots    *x509.CertPool
}

// The lines by which the subcommands say that they serve.
type (
	// KMSReady is the kms subcommand's.
	KMSReady struct {
		Endpoint string `json:"endpoint"`
		CAFile   string `json:"ca_file"`
		KeyARN   string `json:"key_arn"`
	}
	// ParentReady is the parent's.
	ParentReady struct {
		URL string `json:"url"`
	}
	// EnclaveReady is the enclave's.
	EnclaveReady struct {
		Listen string      `json:"listen"`
		Model  string      `json:"model"`
		PCRs   attest.PCRs `json:"pcrs"`
	}
)

// Start runs KMS, parent and enclave. On error nothing is left running.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	c := &Cluster{opts: opts}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if opts.ExpectPCRs == nil {
		opts.ExpectPCRs = opts.Image
	}
	if err := c.writeSetup(opts.ExpectPCRs); err != nil {
		return nil, err
	}
	if err := c.startKMS(ctx); err != nil {
		return nil, err
	}
	if err := c.startParent(ctx); err != nil {
		return nil, err
	}
	if err := c.StartEnclave(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cluster) path(name string) string { return filepath.Join(c.opts.Dir, name) }

// writeSetup makes the simulated NSM's certificate authority and the local
// KMS's configuration. The enclave gets the authority's key, everyone else
// only its root certificate.
func (c *Cluster) writeSetup(pcrs attest.PCRs) error {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return err
	}
	caPEM, err := ca.MarshalPEM()
	if err != nil {
		return err
	}
	policy, err := KeyPolicy(pcrs)
	if err != nil {
		return err
	}
	c.creds = newCredentialSet()
	config, err := json.MarshalIndent(KMSConfig{
		Region:     Region,
		Alias:      KeyAlias,
		Policy:     json.RawMessage(policy),
		Principals: c.creds.principals(),
		NSMRoot:    string(certPEM(ca.Root())),
	}, "", "  ")
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"nsm-ca.pem": caPEM, "kms.json": config} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startKMS(ctx context.Context) (err error) {
	log, err := c.log("kms")
	if err != nil {
		return err
	}
	c.kms, err = start(ctx, log, &c.kmsReady, c.opts.Binary, "kms", "-supervised", "-config", c.path("kms.json"), "-ca-out", c.path("kms-ca.pem"))
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

// The sockets that stand for vsock ports: the enclave listens on one, the
// parent's way to KMS on the other.
func (c *Cluster) enclaveAddr() string { return "unix://" + c.path("enclave.sock") }
func (c *Cluster) egressAddr() string  { return "unix://" + c.path("kms.sock") }

func (c *Cluster) startParent(ctx context.Context) (err error) {
	log, err := c.log("parent")
	if err != nil {
		return err
	}
	args := []string{"parent", "-supervised", "-listen", "127.0.0.1:0", "-enclave", c.enclaveAddr(),
		"-egress", c.egressAddr() + "=" + hostPort(c.kmsReady.Endpoint)}
	if c.opts.Steps != nil {
		args = append(args, "-v")
	}
	c.parent, err = start(ctx, log, &c.parentReady, c.opts.Binary, append(args, c.opts.ParentArgs...)...)
	return err
}

// StartEnclave starts the enclave, after KillEnclave for instance.
func (c *Cluster) StartEnclave(ctx context.Context) error {
	log, err := c.log("enclave")
	if err != nil {
		return err
	}
	args := []string{"enclave", "-supervised", "-listen", c.enclaveAddr(),
		"-simulate-nsm", c.path("nsm-ca.pem"),
		"-region", Region, "-key-arn", c.kmsReady.KeyARN,
		"-kms-endpoint", c.kmsReady.Endpoint, "-kms-ca", c.kmsReady.CAFile,
		"-egress", hostPort(c.kmsReady.Endpoint) + "=" + c.egressAddr()}
	if c.opts.Steps != nil {
		args = append(args, "-v")
	}
	var ready EnclaveReady
	c.enclave, err = start(ctx, log, &ready, c.opts.Binary, append(args, c.opts.EnclaveArgs...)...)
	return err
}

// KillEnclave ends the enclave's process at once, as a crash would.
func (c *Cluster) KillEnclave() {
	if c.enclave != nil {
		c.enclave.kill()
	}
}

// SetKeyPolicy replaces the PCRs that the key policy names, by KMS's
// PutKeyPolicy as the key's administrator.
func (c *Cluster) SetKeyPolicy(ctx context.Context, pcrs attest.PCRs) error {
	policy, err := KeyPolicy(pcrs)
	if err != nil {
		return err
	}
	_, err = c.kmsClient(c.creds.admin).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{
		KeyId:  aws.String(c.kmsReady.KeyARN),
		Policy: aws.String(policy),
	})
	return err
}

// Client returns a client with the user's credentials.
func (c *Cluster) Client(steps *step.Printer) (*chat.Client, error) {
	api, err := envelope.NewClient(envelope.Options{KMS: c.kmsClient(c.creds.client), KeyID: c.kmsReady.KeyARN})
	if err != nil {
		return nil, err
	}
	return chat.New(chat.Options{
		ParentURL: c.parentReady.URL,
		KMS:       api,
		Delegate:  c.creds.enclave.provider(),
		Region:    Region,
		Steps:     steps,
	})
}

func (c *Cluster) kmsClient(who Identity) *kms.Client {
	return kms.New(kms.Options{
		Region:       Region,
		BaseEndpoint: aws.String(c.kmsReady.Endpoint),
		Credentials:  who.provider(),
		HTTPClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: c.kmsRoots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
		}},
	})
}

// Info is what another client needs in order to use the pipeline.
type Info struct {
	ParentURL       string         `json:"parent_url"`
	KMSEndpoint     string         `json:"kms_endpoint"`
	KMSCAFile       string         `json:"kms_ca_file"`
	Region          string         `json:"region"`
	KeyAlias        string         `json:"key_alias"`
	KeyARN          string         `json:"key_arn"`
	AccessKeyID     string         `json:"access_key_id"`
	SecretAccessKey string         `json:"secret_access_key"`
	SessionToken    string         `json:"session_token"`
	CredentialsFile string         `json:"credentials_file"`
	DelegateFile    string         `json:"delegate_file"`
	PIDs            map[string]int `json:"pids"`
}

// Info writes the credential files and tells how to reach everything.
func (c *Cluster) Info() (Info, error) {
	i := Info{
		ParentURL:       c.parentReady.URL,
		KMSEndpoint:     c.kmsReady.Endpoint,
		KMSCAFile:       c.kmsReady.CAFile,
		Region:          Region,
		KeyAlias:        KeyAlias,
		KeyARN:          c.kmsReady.KeyARN,
		AccessKeyID:     c.creds.client.AccessKeyID,
		SecretAccessKey: c.creds.client.SecretAccessKey,
		SessionToken:    c.creds.client.SessionToken,
		CredentialsFile: c.path("client-credentials.json"),
		DelegateFile:    c.path("delegate-credentials.json"),
		PIDs: map[string]int{
			"kms":     c.kms.cmd.Process.Pid,
			"parent":  c.parent.cmd.Process.Pid,
			"enclave": c.enclave.cmd.Process.Pid,
		},
	}
	for file, who := range map[string]Identity{i.CredentialsFile: c.creds.client, i.DelegateFile: c.creds.enclave} {
		if err := os.WriteFile(file, who.processJSON(), 0o600); err != nil {
			return Info{}, err
		}
	}
	return i, nil
}

// Close stops everything that Start started, in the order in which requests
// flow.
func (c *Cluster) Close() {
	c.parent.stop()
	c.enclave.stop()
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
