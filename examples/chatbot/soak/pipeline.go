package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// rotate is how long the enclave gives one key out: the least that it takes.
const rotate = time.Minute

// pipeline is the chatbot's, as processes, with the clients in this one.
type pipeline struct {
	dir     string
	cluster *local.Cluster
	// kms is what all clients seal with, and kmsCalls how often.
	kms      *envelope.Client
	kmsHTTP  *http.Transport
	kmsCalls atomic.Int64
	// raw is for requests of no client: to the parent, and to the enclave.
	raw     *http.Client
	enclave *vsockrpc.Client
}

// startPipeline starts all processes. On error nothing is left running.
func startPipeline(ctx context.Context, s *settings) (_ *pipeline, err error) {
	p := &pipeline{raw: &http.Client{Transport: &http.Transport{}}}
	if p.dir, err = os.MkdirTemp("/tmp", "soak-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	image, err := local.Measure(s.chatbot, bytes.NewReader(model.GGUF))
	if err != nil {
		return nil, err
	}
	if p.cluster, err = local.Start(ctx, local.Options{
		Binary: s.chatbot, Dir: p.dir, Image: image,
		EnclaveArgs: []string{"-threads", strconv.Itoa(s.threads), "-rotate-keys", rotate.String()},
		// All clients are one address here.
		ParentArgs: []string{"-rate", "-1", "-max-concurrent-per-client", "256"},
	}); err != nil {
		return nil, err
	}
	if p.enclave, err = vsockrpc.NewClient("unix://"+filepath.Join(p.dir, "enclave.sock"), vsockrpc.ClientOptions{}); err != nil {
		return nil, err
	}
	return p, p.openKMS()
}

// counted counts requests.
type counted struct {
	http.RoundTripper
	n *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

// openKMS makes the clients' way to KMS, which they share.
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
	p.kmsHTTP = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64}
	p.kms, err = envelope.NewClient(envelope.Options{KeyID: info.SealedKeyARN, KMS: kms.New(kms.Options{
		Region: info.Region, BaseEndpoint: &info.KMSTLSEndpoint, RetryMaxAttempts: 1,
		HTTPClient:  &http.Client{Transport: counted{p.kmsHTTP, &p.kmsCalls}},
		Credentials: credentials.NewStaticCredentialsProvider(info.AccessKeyID, info.SecretAccessKey, info.SessionToken),
	})})
	return err
}

// client makes a client, which has verified no enclave yet.
func (p *pipeline) client() (*chat.Client, error) {
	return p.cluster.Client(nil, func(o *chat.Options) { o.KMS = p.kms })
}

// quiesce closes this process's connections that can be closed from outside.
// Those of the clients to the parent close by themselves, a minute later.
func (p *pipeline) quiesce() {
	p.kmsHTTP.CloseIdleConnections()
	p.raw.CloseIdleConnections()
}

func (p *pipeline) close() {
	if p.enclave != nil {
		p.enclave.Close()
	}
	if p.kmsHTTP != nil {
		p.quiesce()
	}
	if p.cluster != nil {
		p.cluster.Close()
	}
	os.RemoveAll(p.dir)
}
