package chat_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"io"
	"iter"
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
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

const (
	account    = "arn:aws:iam::111122223333:role/"
	clientRole = account + "client"
	region     = "us-east-1"
	canary     = "canary"
)

// ground is what all tests share, since it is slow to make: an authority, a KMS
// with a key, and two machines with an NSM each.
type ground struct {
	ca       *nsmtest.CA
	pcrs     attest.PCRs
	kms      *kmstest.Server
	key      string
	machines [2]machine
}

type machine struct {
	nsm       *attest.NSM
	recipient *envelope.Recipient
}

var sharedGround = sync.OnceValues(newGround)

func newGround() (*ground, error) {
	g := &ground{pcrs: pcrsOf(1)}
	var err error
	if g.ca, err = nsmtest.NewCA(nsmtest.CAOptions{}); err != nil {
		return nil, err
	}
	for i := range g.machines {
		device, err := nsmtest.New(nsmtest.Options{CA: g.ca, PCRs: g.pcrs, ModuleID: "i-0123456789abcdef0-enc0123456789abcd" + string(rune('0'+i))})
		if err != nil {
			return nil, err
		}
		m := &g.machines[i]
		if m.nsm, err = attest.OpenNSM(attest.NSMOptions{Device: device.Device()}); err != nil {
			return nil, err
		}
		if m.recipient, err = envelope.NewRecipient(context.Background(), envelope.RecipientOptions{Attester: m.nsm}); err != nil {
			return nil, err
		}
	}
	if g.kms, err = kmstest.NewServer(kmstest.Options{Region: region, AttestationRoots: []*x509.Certificate{g.ca.Root()}}); err != nil {
		return nil, err
	}
	if err := g.kms.AddPrincipal(kmstest.Principal{ARN: clientRole, AccessKeyID: "AKclient", SecretAccessKey: "secret-canary", SessionToken: "token-canary"}); err != nil {
		return nil, err
	}
	policy, err := keypolicy.Spec{
		Admins: []string{account + "admin"}, Clients: []string{clientRole},
		Delegated: true, SealedResponses: true, Measurements: []attest.Measurement{{PCRs: g.pcrs}},
	}.Policy()
	if err != nil {
		return nil, err
	}
	g.key, err = g.kms.CreateKey(kmstest.KeyOptions{Policy: string(policy)})
	return g, err
}

func pcrsOf(build byte) attest.PCRs {
	pcrs := attest.PCRs{}
	for i := range 3 {
		pcrs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{build, byte(i)}))
	}
	return pcrs
}

func creds() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AKclient", "secret-canary", "token-canary")
}

// world is a parent, whose enclave a test chooses, and what passes through it.
type world struct {
	*ground
	t     *testing.T
	front *httptest.Server
	steps output

	mu      sync.Mutex
	handler http.Handler // what answers, guarded by mu
	seen    map[string]int
	bodies  bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	g, err := sharedGround()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ground: g, t: t, seen: map[string]int{}}
	w.front = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.front.Close)
	return w
}

// serve is the parent, which looks at what it can.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	w.seen[r.URL.Path]++
	w.bodies.Write(body)
	h := w.handler
	w.mu.Unlock()
	h.ServeHTTP(rw, r)
}

// use makes h answer from now on.
func (w *world) use(h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

// requests counts those for a path.
func (w *world) requests(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[path]
}

// silent checks that parent and steps saw nothing of a question or an answer.
func (w *world) silent() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if bytes.Contains(w.bodies.Bytes(), []byte(canary)) {
		w.t.Error("the parent can read it")
	}
	if s := w.steps.String(); strings.Contains(s, canary) {
		w.t.Errorf("the steps tell: %s", s)
	}
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

// enclave configures one.
type enclave struct {
	machine int
	model   inference.Model
	info    wire.Info
	// handler takes the service's place.
	handler func(*session.Enclave) sessionrpc.Handler
	// Forms that are taken beside signed ones.
	takePlain, takeCredentials bool
}

// ownKey stands for the ARN of the world's own key.
const ownKey = "own"

var modelInfo = wire.Info{
	ModelName: "tiny", ModelDigest: strings.Repeat("ab", 32), Parameters: 7, MaxTokens: 4096, Engine: "none", KeyARN: ownKey,
}

// start starts an enclave and returns the parent's way to it.
func (w *world) start(e enclave) http.Handler {
	w.t.Helper()
	m := w.machines[e.machine]
	if e.info == (wire.Info{}) {
		e.info = modelInfo
	}
	if e.info.KeyARN == ownKey {
		e.info.KeyARN = w.key
	}
	info, err := wire.EncodeInfo(e.info)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := session.NewEnclave(session.EnclaveOptions{Recipient: m.recipient, KEM: session.X25519, Info: info})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	if e.handler == nil {
		e.handler = func(s *session.Enclave) sessionrpc.Handler { return w.service(e, m, s).Answer }
	}
	network := vsocktest.NewNetwork(vsocktest.Options{})
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest})
	sessionrpc.Register(srv, s, e.handler(s))
	l, err := network.Listen("enclave")
	if err != nil {
		w.t.Fatal(err)
	}
	go srv.Serve(l)
	pool, err := vsockrpc.NewPool([]string{"mem://enclave"}, vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{
		Dial: func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return network.Dial(ctx, a.Path) },
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		pool.Close()
		srv.Close()
		network.Close()
	})
	relay, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{Pool: pool})
	if err != nil {
		w.t.Fatal(err)
	}
	return relay
}

// service is the real one.
func (w *world) service(e enclave, m machine, s *session.Enclave) *service.Service {
	w.t.Helper()
	courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: w.kms.URL(), KeyID: w.key, Recipient: m.recipient})
	if err != nil {
		w.t.Fatal(err)
	}
	data := session.DataOpener{Courier: courier, AllowPlain: e.takePlain}
	if e.takeCredentials {
		data.WithCredentials = func(c session.Credentials) (*envelope.Client, error) {
			p := credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
			return envelope.NewClient(envelope.Options{KMS: w.api(p), KeyID: w.key, Recipient: m.recipient})
		}
	}
	svc, err := service.New(service.Options{Model: modelWith{e.model, e.info.ModelDigest}, Data: data, Receipt: s.Receipt})
	if err != nil {
		w.t.Fatal(err)
	}
	return svc
}

// modelWith is a model with a digest.
type modelWith struct {
	inference.Model
	digest string
}

func (m modelWith) Info() inference.Info {
	i := m.Model.Info()
	i.Digest = m.digest
	return i
}

// recorder is a model that notes what it is asked.
type recorder struct {
	inference.Model
	mu   sync.Mutex
	seen []inference.Request
}

func (r *recorder) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	r.mu.Lock()
	r.seen = append(r.seen, req)
	r.mu.Unlock()
	return r.Model.Generate(ctx, req)
}

func (r *recorder) all() []inference.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

func (w *world) api(p aws.CredentialsProvider) *kms.Client {
	url := w.kms.URL()
	return kms.New(kms.Options{Region: region, BaseEndpoint: &url, Credentials: p, RetryMaxAttempts: 1})
}

func (w *world) trust() attest.Options {
	return attest.Options{
		Roots: []*x509.Certificate{w.ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{
			{Name: "last year's", PCRs: pcrsOf(9)}, {Name: "this year's", PCRs: w.pcrs},
		}},
	}
}

// client is a client with all that it needs.
func (w *world) client(edit func(*chat.Options)) *chat.Client {
	w.t.Helper()
	k, err := envelope.NewClient(envelope.Options{KMS: w.api(creds()), KeyID: w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	opts := chat.Options{
		ParentURL: w.front.URL, Enclave: w.trust(), KMS: k,
		Sign:  envelope.SignOptions{Credentials: creds(), KeyID: w.key, Endpoint: w.kms.URL()},
		Steps: step.New(&w.steps, "client"),
	}
	if edit != nil {
		edit(&opts)
	}
	c, err := chat.New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// answer is a whole answer, or what came before an error.
type answer struct {
	text   string
	chunks []ask.Chunk
}

func askAll(t *testing.T, a ask.Asker, q ask.Question) (answer, error) {
	t.Helper()
	var all answer
	var failed error
	for c, err := range a.Ask(t.Context(), q) {
		if failed != nil {
			t.Fatal("something came behind an error")
		}
		if err != nil {
			failed = err
			if c.Text != "" || c.Usage != nil || c.Receipt != nil {
				t.Error("a chunk beside an error")
			}
			continue
		}
		all.text += c.Text
		all.chunks = append(all.chunks, c)
	}
	return all, failed
}

func (a answer) last() ask.Chunk {
	if len(a.chunks) == 0 {
		return ask.Chunk{}
	}
	return a.chunks[len(a.chunks)-1]
}

func prompt(s string) ask.Question { return ask.Question{Request: inference.Request{Prompt: s}} }

// isReason reports whether err is this reason, and no other.
func isReason(err error, want wire.Reason) bool {
	got, ok := errors.AsType[wire.Reason](err)
	return ok && got == want
}
