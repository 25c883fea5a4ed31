package badinput

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/front"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/openai"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/web"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

const (
	region       = "us-east-1"
	role         = "arn:aws:iam::111122223333:role/client"
	accessKey    = "AKIDBADINPUT"
	secretKey    = "secret-of-the-good-client"
	sessionToken = "token-of-the-good-client"
	apiToken     = "token-of-the-local-server"
	modelName    = "tiny"
	// everything is a key policy that lets known callers do all, and nothing
	// one that lets nobody do anything.
	everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}]}`
	nothing    = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}]}`
)

// world is all that is asked: KMS, enclave, parent and the client's local server.
type world struct {
	log       log
	ends      []func() // in the order of starting
	ca        *nsmtest.CA
	pcrs      attest.PCRs
	recipient *envelope.Recipient

	kms *kmstest.Server
	// key encrypts; agreement is for key agreement; other encrypts, too; closed
	// is nobody's.
	key, agreement, other, closed string

	socket                        string // of the enclave
	rpc                           *vsockrpc.Client
	parent, admin, local, guarded string // host:port
	sessions                      *session.Client
}

// log is a log that several goroutines write.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(s))
}

func newWorld() (*world, error) {
	w := &world{pcrs: attest.PCRs{}}
	for i := range 3 {
		w.pcrs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{byte(i)}))
	}
	for _, start := range []func() error{w.startMachine, w.startKMS, w.startEnclave, w.startParent, w.startLocal} {
		if err := start(); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *world) close() {
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.ends[i]()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func (w *world) atEnd(f func()) { w.ends = append(w.ends, f) }

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (w *world) startMachine() (err error) {
	if w.ca, err = nsmtest.NewCA(nsmtest.CAOptions{}); err != nil {
		return err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: w.ca, PCRs: w.pcrs})
	if err != nil {
		return err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return err
	}
	w.atEnd(func() { nsm.Close() })
	w.recipient, err = envelope.NewRecipient(context.Background(), envelope.RecipientOptions{Attester: nsm})
	return err
}

func (w *world) startKMS() (err error) {
	if w.kms, err = kmstest.NewServer(kmstest.Options{Region: region, AttestationRoots: []*x509.Certificate{w.ca.Root()}, Logger: w.logger(), DefaultPolicy: everything}); err != nil {
		return err
	}
	w.atEnd(func() { w.kms.Close() })
	if err := w.kms.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: sessionToken}); err != nil {
		return err
	}
	if err := w.kms.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKIDEXPIRED", SecretAccessKey: secretKey, Expires: time.Now().Add(-time.Hour)}); err != nil {
		return err
	}
	for _, k := range []struct {
		arn *string
		kmstest.KeyOptions
	}{
		{&w.key, kmstest.KeyOptions{Alias: "alias/questions"}},
		{&w.agreement, kmstest.KeyOptions{Spec: "ECC_NIST_P256"}},
		{&w.other, kmstest.KeyOptions{}},
		{&w.closed, kmstest.KeyOptions{Policy: nothing}},
	} {
		if *k.arn, err = w.kms.CreateKey(k.KeyOptions); err != nil {
			return err
		}
	}
	return nil
}

func credentialsOf(id, secret, token string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, secret, token)
}

func (w *world) api(c aws.CredentialsProvider) *kms.Client {
	return kms.New(kms.Options{Region: region, BaseEndpoint: aws.String(w.kms.URL()), Credentials: c, RetryMaxAttempts: 1})
}

func (w *world) trust() attest.Options {
	return attest.Options{Roots: []*x509.Certificate{w.ca.Root()}, Policy: attest.Policy{Measurements: []attest.Measurement{{PCRs: w.pcrs}}}}
}

// startEnclave registers what chatbot enclave does, blog mode included.
func (w *world) startEnclave() error {
	model := inferencetest.New(inferencetest.Options{})
	w.atEnd(func() { model.Close() })
	info, err := wire.EncodeInfo(wire.Info{ModelName: modelName, ModelDigest: strings.Repeat("ab", 32), Parameters: 1, MaxTokens: 4096, Engine: "none", KeyARN: w.key})
	if err != nil {
		return err
	}
	sessions, err := session.NewEnclave(session.EnclaveOptions{Recipient: w.recipient, KEM: session.X25519, Info: info})
	if err != nil {
		return err
	}
	w.atEnd(sessions.Close)
	courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: w.kms.URL(), KeyID: w.key, Recipient: w.recipient})
	if err != nil {
		return err
	}
	answers, err := service.New(service.Options{Model: model, Data: session.DataOpener{
		Courier: courier, AllowPlain: true,
		WithCredentials: func(c session.Credentials) (*envelope.Client, error) {
			return envelope.NewClient(envelope.Options{KMS: w.api(credentialsOf(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)), KeyID: w.key, Recipient: w.recipient})
		},
	}, Logger: w.logger()})
	if err != nil {
		return err
	}
	insecure, err := blog.NewService(blog.ServiceOptions{
		Model: model, Recipient: w.recipient, KeyARN: w.key, Region: region, Logger: w.logger(),
		NewKMS: func(c aws.CredentialsProvider) envelope.KMSAPI { return w.api(c) },
	})
	if err != nil {
		return err
	}
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest, MaxStreams: 256, MaxConns: 16, Logger: w.logger()})
	sessionrpc.Register(srv, sessions, answers.Answer)
	srv.Handle(blog.Method, insecure.Ask)
	dir, err := os.MkdirTemp("", "badinput")
	if err != nil {
		return err
	}
	w.atEnd(func() { os.RemoveAll(dir) })
	w.socket = "unix://" + filepath.Join(dir, "enclave")
	l, err := vsockrpc.Listen(w.socket)
	if err != nil {
		return err
	}
	go srv.Serve(l)
	w.atEnd(func() { srv.Close() })
	w.rpc, err = vsockrpc.NewClient(w.socket, vsockrpc.ClientOptions{Logger: w.logger()})
	w.atEnd(func() { w.rpc.Close() })
	return err
}

// startParent starts what chatbot parent does, blog mode and operators' side
// included.
func (w *world) startParent() error {
	pool, err := vsockrpc.NewPool([]string{w.socket}, vsockrpc.PoolOptions{Logger: w.logger()})
	if err != nil {
		return err
	}
	w.atEnd(func() { pool.Close() })
	relay, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{Pool: pool, OnRequest: front.Observe})
	if err != nil {
		return err
	}
	f := front.New(front.Options{
		Session: relay, Blog: blog.NewParentHandler(blog.ParentOptions{Enclave: pool, Logger: w.logger()}),
		Targets: pool.Targets, Limits: front.Limits{Rate: -1}, Logger: w.logger(),
	})
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	operators, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, clients.Close())
	}
	w.parent, w.admin = clients.Addr().String(), operators.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx, front.ServeOptions{Listener: clients, Admin: operators}) }()
	w.atEnd(func() {
		cancel()
		<-served
	})
	transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: "http://" + w.parent, Client: http.DefaultClient})
	if err != nil {
		return err
	}
	w.sessions, err = session.NewClient(session.ClientOptions{Transport: transport, Enclave: w.trust()})
	return err
}

// startLocal starts what chatbot client -serve does, once without and once with
// a token.
func (w *world) startLocal() error {
	sealer, err := envelope.NewClient(envelope.Options{KMS: w.api(credentialsOf(accessKey, secretKey, sessionToken)), KeyID: w.key})
	if err != nil {
		return err
	}
	asker, err := chat.New(chat.Options{
		ParentURL: "http://" + w.parent, Enclave: w.trust(), Simulated: true, KMS: sealer,
		Sign: envelope.SignOptions{Credentials: credentialsOf(accessKey, secretKey, sessionToken), KeyID: w.key, Endpoint: w.kms.URL()},
	})
	if err != nil {
		return err
	}
	for _, s := range []struct {
		addr  *string
		token string
	}{{&w.local, ""}, {&w.guarded, apiToken}} {
		origins := []string{"https://ui.example"}
		mux := http.NewServeMux()
		mux.Handle("/v1/", openai.NewHandler(openai.Options{Asker: asker, Token: s.token, AllowedOrigins: origins, Logger: w.logger()}))
		mux.Handle("/", web.NewHandler(web.Options{Asker: asker}))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*s.addr = l.Addr().String()
		srv := &http.Server{
			Handler: openai.Guard(mux, origins...), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
			MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(w.logger().Handler(), slog.LevelError),
		}
		go srv.Serve(l)
		w.atEnd(func() { srv.Close() })
	}
	// The asker's own connections to the parent end with the parent.
	_, err = asker.Attestation(context.Background())
	if err != nil {
		return fmt.Errorf("attesting: %w", err)
	}
	return nil
}
