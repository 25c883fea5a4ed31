package service_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

const (
	account     = "arn:aws:iam::111122223333:role/"
	clientRole  = account + "client"
	enclaveRole = account + "enclave"
	region      = "us-east-1"
	// canary is in all that must not leave the enclave.
	canary = "canary"
)

// ground is what all tests share, since it is slow to make: a machine with an
// NSM, and a KMS with two keys.
type ground struct {
	ca        *nsmtest.CA
	pcrs      attest.PCRs
	nsm       *attest.NSM
	recipient *envelope.Recipient
	kms       *kmstest.Server
	// key opens for this machine's enclave, and foreign for another's.
	key, foreign string
}

var sharedGround = sync.OnceValues(newGround)

func newGround() (*ground, error) {
	g := &ground{pcrs: pcrsOf(1)}
	var err error
	if g.ca, err = nsmtest.NewCA(nsmtest.CAOptions{}); err != nil {
		return nil, err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: g.ca, PCRs: g.pcrs})
	if err != nil {
		return nil, err
	}
	if g.nsm, err = attest.OpenNSM(attest.NSMOptions{Device: device.Device()}); err != nil {
		return nil, err
	}
	if g.recipient, err = envelope.NewRecipient(context.Background(), envelope.RecipientOptions{Attester: g.nsm}); err != nil {
		return nil, err
	}
	if g.kms, err = kmstest.NewServer(kmstest.Options{Region: region, AttestationRoots: []*x509.Certificate{g.ca.Root()}}); err != nil {
		return nil, err
	}
	for _, role := range []string{clientRole, enclaveRole} {
		p := kmstest.Principal{ARN: role, AccessKeyID: keyID(role), SecretAccessKey: secretOf(role), SessionToken: "token-canary"}
		if err := g.kms.AddPrincipal(p); err != nil {
			return nil, err
		}
	}
	if g.key, err = g.newKey(g.pcrs); err != nil {
		return nil, err
	}
	g.foreign, err = g.newKey(pcrsOf(2))
	return g, err
}

func (g *ground) newKey(pcrs attest.PCRs) (string, error) {
	policy, err := keypolicy.Spec{
		Admins: []string{account + "admin"}, Clients: []string{clientRole}, Enclaves: []string{enclaveRole},
		Delegated: true, SealedResponses: true, Measurements: []attest.Measurement{{PCRs: pcrs}},
	}.Policy()
	if err != nil {
		return "", err
	}
	return g.kms.CreateKey(kmstest.KeyOptions{Policy: string(policy)})
}

func pcrsOf(build byte) attest.PCRs {
	pcrs := attest.PCRs{}
	for i := range 3 {
		pcrs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{build, byte(i)}))
	}
	return pcrs
}

func keyID(role string) string    { return "AK" + strings.TrimPrefix(role, account) }
func secretOf(role string) string { return "secret-canary " + role }

func credsOf(role string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(keyID(role), secretOf(role), "token-canary")
}

// output is a log that several goroutines write.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// handled is what a service did with one request.
type handled struct {
	// before and after count the bytes of the payload that are not zero, before
	// the service and as it returned.
	before, after int
	err           error
}

// world is a service in an enclave, and a client that reaches it.
type world struct {
	*ground
	t *testing.T
	// key is the KMS key that the enclave opens.
	key    string
	svc    *service.Service
	client *session.Client
	log    output // of service and server
	steps  output
	ended  chan handled
	// returned, if not nil, is called when the service has returned, while its
	// context still lives.
	returned func()

	mu sync.Mutex
	// kmsFault takes the place of KMS, for the enclave only. Guarded by mu.
	kmsFault http.HandlerFunc
	kmsURL   string
}

type options struct {
	service.Options
	key string // empty: the ground's
	// Forms that are taken beside signed ones.
	takePlain, takeCredentials bool
	noReceipts                 bool
}

func newWorld(t *testing.T, opts options) *world {
	t.Helper()
	g, err := sharedGround()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ground: g, t: t, key: g.key, ended: make(chan handled, 256)}
	if opts.key != "" {
		w.key = opts.key
	}
	front := httptest.NewTLSServer(http.HandlerFunc(w.serveKMS))
	t.Cleanup(front.Close)
	w.kmsURL = front.URL

	enclave, err := session.NewEnclave(session.EnclaveOptions{Recipient: g.recipient, KEM: session.X25519})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(enclave.Close)
	courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: front.Client(), Endpoint: front.URL, KeyID: w.key, Recipient: g.recipient})
	if err != nil {
		t.Fatal(err)
	}
	opts.Data = session.DataOpener{Courier: courier, AllowPlain: opts.takePlain}
	if opts.takeCredentials {
		opts.Data.WithCredentials = func(c session.Credentials) (*envelope.Client, error) {
			creds := credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
			api := kms.New(kms.Options{Region: region, BaseEndpoint: &front.URL, HTTPClient: front.Client(), Credentials: creds, RetryMaxAttempts: 1})
			return envelope.NewClient(envelope.Options{KMS: api, KeyID: w.key, Recipient: g.recipient})
		}
	}
	if !opts.noReceipts && opts.Receipt == nil {
		opts.Receipt = enclave.Receipt
	}
	opts.PCRs = g.pcrs
	opts.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	opts.Steps = step.New(&w.steps, "enclave")
	if w.svc, err = service.New(opts.Options); err != nil {
		t.Fatal(err)
	}
	w.serve(enclave)
	return w
}

// serve starts the enclave's server, and makes the client of it.
func (w *world) serve(enclave *session.Enclave) {
	w.t.Helper()
	network := vsocktest.NewNetwork(vsocktest.Options{})
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest, Logger: slog.New(slog.NewTextHandler(&w.log, nil))})
	sessionrpc.Register(srv, enclave, func(ctx context.Context, req *session.Request, resp *session.Response) (err error) {
		count := func() int { return len(req.Payload) - bytes.Count(req.Payload, []byte{0}) }
		before := count()
		defer func() {
			if w.returned != nil {
				w.returned()
			}
			w.ended <- handled{before, count(), err}
		}()
		return w.svc.Answer(ctx, req, resp)
	})
	l, err := network.Listen("enclave")
	if err != nil {
		w.t.Fatal(err)
	}
	go srv.Serve(l)
	conn, err := vsockrpc.NewClient("mem://enclave", vsockrpc.ClientOptions{
		Dial: func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return network.Dial(ctx, a.Path) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		conn.Close()
		srv.Close()
		network.Close()
	})
	if w.client, err = session.NewClient(session.ClientOptions{Transport: sessionrpc.NewTransport(conn), Enclave: w.trust()}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) trust() attest.Options {
	return attest.Options{
		Roots:  []*x509.Certificate{w.ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{PCRs: w.pcrs}}},
	}
}

// serveKMS is KMS as the enclave reaches it.
func (w *world) serveKMS(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	fault := w.kmsFault
	w.mu.Unlock()
	if fault != nil {
		fault(rw, r)
		return
	}
	w.kms.Handler().ServeHTTP(rw, r)
}

func (w *world) failKMS(fault http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kmsFault = fault
}

// sealer is the client's own access to KMS.
func (w *world) sealer(key string) *envelope.Client {
	w.t.Helper()
	url := w.kms.URL()
	api := kms.New(kms.Options{Region: region, BaseEndpoint: &url, Credentials: credsOf(clientRole), RetryMaxAttempts: 1})
	c, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: key})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) sign() envelope.SignOptions {
	return envelope.SignOptions{Credentials: credsOf(clientRole), KeyID: w.key, Endpoint: w.kmsURL, Enclave: w.trust()}
}

// form makes data of an encoded question, for one request.
type form func(ctx context.Context, e *session.Established, id session.RequestID, encoded []byte) (session.Data, error)

// signed is the form that clients use.
func (w *world) signed(ctx context.Context, e *session.Established, id session.RequestID, encoded []byte) (session.Data, error) {
	return session.SealData(ctx, w.sealer(w.key), w.sign(), wire.RequestContext(id.String()), encoded, e.Raw)
}

func (w *world) withCredentials(ctx context.Context, _ *session.Established, id session.RequestID, encoded []byte) (session.Data, error) {
	sealed, err := w.sealer(w.key).Seal(ctx, encoded, wire.RequestContext(id.String()), envelope.StreamOptions{Workers: 1})
	return session.Data{Sealed: sealed, Credentials: &session.Credentials{
		AccessKeyID: keyID(enclaveRole), SecretAccessKey: secretOf(enclaveRole), SessionToken: "token-canary",
	}}, err
}

func plain(_ context.Context, _ *session.Established, _ session.RequestID, encoded []byte) (session.Data, error) {
	return session.Data{Plain: bytes.Clone(encoded)}, nil
}

// payload is a question in a form.
func payload(q wire.Question, f form) session.PayloadFunc {
	return func(ctx context.Context, e *session.Established, id session.RequestID) ([]byte, error) {
		encoded, err := wire.EncodeQuestion(q)
		if err != nil {
			return nil, err
		}
		data, err := f(ctx, e, id, encoded)
		if err != nil {
			return nil, err
		}
		return data.Encode()
	}
}
