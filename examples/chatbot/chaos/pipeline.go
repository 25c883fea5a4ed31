package main

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/usage"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// pipeline is the chatbot's, as processes, with a relay on each way between two
// of them. Its methods are not for concurrent use, except client.
type pipeline struct {
	binary  string
	dir     string
	image   attest.PCRs
	cluster *local.Cluster
	fakes   *fakes
	chosen  kind

	// front is between clients and parent, links between parent and enclaves,
	// egress between enclaves and the parent's way to KMS.
	front  *relay
	links  []*relay
	egress *relay

	// kms is what all clients seal with; its connections are ended in quiesce.
	kms     *envelope.Client
	kmsHTTP *http.Transport

	mu     sync.Mutex
	relays map[string]*relay // by the address that they stand for
	parent string            // host:port of the parent of now
	failed error             // of making a relay
}

// The arguments of all parts: one thread, since this is no benchmark, and no
// limits for single clients, since all clients are one address here.
var (
	enclaveArgs = []string{"-threads", "1"}
	parentArgs  = []string{"-rate", "-1", "-max-concurrent-per-client", "256"}
)

// startPipeline starts a pipeline of a kind.
func startPipeline(ctx context.Context, binary string, trusted *authority, k kind, enclaves int) (_ *pipeline, err error) {
	p := &pipeline{binary: binary, chosen: k, fakes: &fakes{authority: trusted}, relays: map[string]*relay{}}
	if p.dir, err = os.MkdirTemp("/tmp", "chaos-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close(false)
		}
	}()
	if p.image, err = local.Measure(binary, bytes.NewReader(model.GGUF)); err != nil {
		return nil, err
	}
	opts := local.Options{
		Binary: binary, Dir: p.dir, Image: p.image, Enclaves: enclaves, Reroute: p.reroute,
		EnclaveArgs: append([]string{"-kms-ca", p.path("kms-roots.pem")}, enclaveArgs...),
		ParentArgs:  append([]string{}, parentArgs...),
	}
	switch k {
	case narrow:
		opts.EnclaveArgs = append(opts.EnclaveArgs, "-sequences", "1")
	case tls:
		if err := p.fakes.writeServer(p.path("parent"), time.Now().Add(time.Hour)); err != nil {
			return nil, err
		}
		opts.ParentArgs = append(opts.ParentArgs, "-tls-cert", p.path("parent.pem"), "-tls-key", p.path("parent.key"))
	}
	if p.cluster, err = local.Start(ctx, opts); err != nil {
		return nil, err
	}
	if p.failed != nil {
		return nil, p.failed
	}
	for i := range enclaves {
		p.links = append(p.links, p.relays[p.enclaveAddr(i)])
	}
	p.egress = p.relays["unix://"+p.path("kms.sock")]
	p.aim()
	if err = p.openKMS(); err != nil {
		return nil, err
	}
	p.front, err = newRelay("tcp", "127.0.0.1:0", func() (net.Conn, error) {
		p.mu.Lock()
		to := p.parent
		p.mu.Unlock()
		return net.DialTimeout("tcp", to, time.Second)
	})
	return p, err
}

func (p *pipeline) path(name string) string { return filepath.Join(p.dir, name) }

func (p *pipeline) enclaveAddr(i int) string {
	return "unix://" + p.path([]string{"enclave.sock", "enclave2.sock"}[i])
}

// reroute puts a relay before a unix socket, the same each time. Enclaves are to
// believe the false KMS as well as the local one.
func (p *pipeline) reroute(addr string) string {
	path := strings.TrimPrefix(addr, "unix://")
	if _, ok := p.relays[addr]; !ok {
		r, err := newRelay("unix", path+".c", func() (net.Conn, error) { return net.Dial("unix", path) })
		if err != nil {
			p.failed = err
			return addr
		}
		p.relays[addr] = r
	}
	if strings.HasSuffix(path, "/kms.sock") {
		roots, err := os.ReadFile(p.path("kms-ca.pem"))
		if err == nil {
			err = os.WriteFile(p.path("kms-roots.pem"), append(roots, p.fakes.caPEM...), 0o600)
		}
		p.failed = errors.Join(p.failed, err)
	}
	return "unix://" + path + ".c"
}

// aim sends clients to the parent of now.
func (p *pipeline) aim() { p.aimAt(p.cluster.Info().ParentURL) }

func (p *pipeline) aimAt(parent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, err := url.Parse(parent)
	if err != nil {
		p.failed = err
		return
	}
	p.parent = u.Host
}

// openKMS makes the clients' way to KMS.
func (p *pipeline) openKMS() error {
	info := p.cluster.Info()
	pem, err := os.ReadFile(info.KMSCAFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("the local KMS wrote no certificate")
	}
	p.kmsHTTP = &http.Transport{
		TLSClientConfig: &stdtls.Config{RootCAs: roots, MinVersion: stdtls.VersionTLS12}, MaxIdleConnsPerHost: 64,
	}
	p.kms, err = envelope.NewClient(envelope.Options{KeyID: info.SealedKeyARN, KMS: kms.New(kms.Options{
		Region: info.Region, BaseEndpoint: &info.KMSTLSEndpoint, HTTPClient: &http.Client{Transport: p.kmsHTTP}, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(info.AccessKeyID, info.SecretAccessKey, info.SessionToken),
	})})
	return err
}

// client makes a client that asks through the relay.
func (p *pipeline) client(edit func(*chat.Options)) (*chat.Client, error) {
	return p.cluster.Client(nil, func(o *chat.Options) {
		scheme := "http"
		if p.chosen == tls {
			scheme = "https"
		}
		o.ParentURL = scheme + "://" + p.front.listener.Addr().String()
		o.KMS = p.kms
		if edit != nil {
			edit(o)
		}
	})
}

// quiesce ends all connections, so that what is still open afterwards is kept by
// the parts themselves.
func (p *pipeline) quiesce() {
	p.front.cut()
	p.egress.cut()
	p.kmsHTTP.CloseIdleConnections()
}

// usage is what parent and enclaves use.
func (p *pipeline) usage() map[string]used {
	all := map[string]used{}
	for name, pid := range p.cluster.Info().PIDs {
		if u, err := usage.Of(pid); err == nil && name != "kms" {
			all[name] = used{Usage: u}
		}
	}
	return all
}

func (p *pipeline) pid(name string) int { return p.cluster.Info().PIDs[name] }

// restartParent starts a parent in the place of one that has ended.
func (p *pipeline) restartParent(ctx context.Context) error {
	if err := p.cluster.StartParent(ctx); err != nil {
		return err
	}
	p.aim()
	return nil
}

func (p *pipeline) close(keepLogs bool) {
	if p.cluster != nil {
		p.cluster.Close()
	}
	if p.front != nil {
		p.front.close()
	}
	for _, r := range p.relays {
		r.close()
	}
	p.fakes.close()
	if !keepLogs {
		os.RemoveAll(p.dir)
	}
}
