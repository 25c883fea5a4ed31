package main

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// inside is the pipeline in this process, of the same packages: for the faults
// of what no process can be told to do from outside. Its model has no weights,
// and gives the same answers.
type inside struct {
	attesters [2]*attest.NSM // the second has another PCR0
	pcrs      attest.PCRs
	root      *x509.Certificate
	kms       *kmstest.Server
	key       string
	// endpoint is KMS as the enclave reaches it.
	endpoint  string
	parent    *httptest.Server
	transport *http.Transport
	closers   []func()

	// What cells change while questions are asked.
	other     atomic.Bool  // attest with another PCR0
	offset    atomic.Int64 // of the enclave's clock, in nanoseconds
	nsmFault  atomic.Pointer[func(op string) *nsmtest.Fault]
	step      atomic.Pointer[func(context.Context) error]
	aroundKMS atomic.Pointer[func(next func())] // for the enclave
}

const (
	roles      = "arn:aws:iam::" + "111122223333" + ":role/"
	clientRole = roles + "client"
	region     = "us-east-1"
)

func newInside(ctx context.Context) (_ *inside, err error) {
	in := &inside{pcrs: attest.PCRs{}}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	for i := range 3 {
		in.pcrs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{1, byte(i)}))
	}
	if err := in.openModules(); err != nil {
		return nil, err
	}
	if err := in.openKMS(); err != nil {
		return nil, err
	}
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: in, Clock: in.clock})
	if err != nil {
		return nil, err
	}
	return in, in.serve(recipient)
}

// openModules starts two security modules: the enclave's, and one that measured
// another image.
func (in *inside) openModules() error {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return err
	}
	in.root = ca.Root()
	for i := range in.attesters {
		pcrs := attest.PCRs{0: in.pcrs[i], 1: in.pcrs[1], 2: in.pcrs[2]} // of the second, PCR0 is another
		device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs, Fault: func(op string) *nsmtest.Fault {
			if f := in.nsmFault.Load(); f != nil {
				return (*f)(op)
			}
			return nil
		}})
		if err != nil {
			return err
		}
		if in.attesters[i], err = attest.OpenNSM(attest.NSMOptions{Device: device.Device()}); err != nil {
			return err
		}
		in.closers = append(in.closers, func() { in.attesters[i].Close() })
	}
	return nil
}

// Attest implements attest.Attester: by the module of the moment.
func (in *inside) Attest(ctx context.Context, r attest.Request) ([]byte, error) {
	if in.other.Load() {
		return in.attesters[1].Attest(ctx, r)
	}
	return in.attesters[0].Attest(ctx, r)
}

// clock is the enclave's.
func (in *inside) clock() time.Time { return time.Now().Add(time.Duration(in.offset.Load())) }

func (in *inside) openKMS() (err error) {
	if in.kms, err = kmstest.NewServer(kmstest.Options{Region: region, AttestationRoots: []*x509.Certificate{in.root}}); err != nil {
		return err
	}
	in.closers = append(in.closers, func() { in.kms.Close() })
	if err := in.principal(time.Time{}); err != nil {
		return err
	}
	policy, err := keypolicy.Spec{
		Admins: []string{roles + "admin"}, Clients: []string{clientRole},
		Delegated: true, SealedResponses: true, Measurements: []attest.Measurement{{PCRs: in.pcrs}},
	}.Policy()
	if err != nil {
		return err
	}
	in.key, err = in.kms.CreateKey(kmstest.KeyOptions{Policy: string(policy)})
	return err
}

// principal has KMS know the client's credentials, until they expire.
func (in *inside) principal(expires time.Time) error {
	return in.kms.AddPrincipal(kmstest.Principal{
		ARN: clientRole, AccessKeyID: "AKCLIENT", SecretAccessKey: "a secret of nobody's", SessionToken: "a token", Expires: expires,
	})
}

func creds() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AKCLIENT", "a secret of nobody's", "a token")
}

// serve starts enclave and parent.
func (in *inside) serve(recipient *envelope.Recipient) error {
	kmsFront := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := func() { in.kms.Handler().ServeHTTP(w, r) }
		if f := in.aroundKMS.Load(); f != nil {
			(*f)(next)
			return
		}
		next()
	}))
	in.closers = append(in.closers, kmsFront.Close)
	in.endpoint = kmsFront.URL
	in.transport = &http.Transport{MaxIdleConnsPerHost: 64}
	courier, err := envelope.NewCourier(envelope.CourierOptions{
		HTTP: &http.Client{Transport: in.transport}, Endpoint: kmsFront.URL, KeyID: in.key, Recipient: recipient,
	})
	if err != nil {
		return err
	}
	m := in.model()
	info, err := wire.EncodeInfo(wire.Info{
		ModelName: "none", ModelDigest: m.Info().Digest, MaxTokens: 4096, Engine: "none", KeyARN: in.key,
	})
	if err != nil {
		return err
	}
	sessions, err := session.NewEnclave(session.EnclaveOptions{Recipient: recipient, Info: info, Clock: in.clock})
	if err != nil {
		return err
	}
	svc, err := service.New(service.Options{Model: m, Data: session.DataOpener{Courier: courier}})
	if err != nil {
		return err
	}
	network := vsocktest.NewNetwork(vsocktest.Options{})
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest})
	sessionrpc.Register(srv, sessions, svc.Answer)
	l, err := network.Listen("enclave")
	if err != nil {
		return err
	}
	go srv.Serve(l)
	pool, err := vsockrpc.NewPool([]string{"mem://enclave"}, vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{
		Dial: func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return network.Dial(ctx, a.Path) },
	}})
	if err != nil {
		return err
	}
	in.closers = append(in.closers, func() {
		pool.Close()
		srv.Close()
		network.Close()
		sessions.Close()
	})
	relay, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{Pool: pool})
	if err != nil {
		return err
	}
	in.parent = httptest.NewServer(relay)
	in.closers = append(in.closers, in.parent.Close)
	return nil
}

// shortModel answers as the embedded model does, and holds up or fails where a
// cell wants it.
type shortModel struct {
	inference.Model
}

// Info implements inference.Model.
func (m shortModel) Info() inference.Info {
	i := m.Model.Info()
	i.Digest = strings.Repeat("ab", 32)
	return i
}

// counterKey is the context's key of an answer's number of tokens, for steps.
type counterKey struct{}

// Generate implements inference.Model.
func (m shortModel) Generate(ctx context.Context, r inference.Request) iter.Seq2[inference.Chunk, error] {
	return m.Model.Generate(context.WithValue(ctx, counterKey{}, new(int)), r)
}

func (in *inside) model() inference.Model {
	return shortModel{inferencetest.New(inferencetest.Options{
		Answer: func(prompt string) string {
			words := strings.Fields(prompt)
			if len(words) == 0 {
				return ""
			}
			return " " + exact.Answer(words[len(words)-1])
		},
		Step: func(ctx context.Context) error {
			if f := in.step.Load(); f != nil {
				return (*f)(ctx)
			}
			return nil
		},
	})}
}

func (in *inside) client(edit func(*chat.Options)) (*chat.Client, error) {
	url := in.kms.URL()
	api := kms.New(kms.Options{
		Region: region, BaseEndpoint: &url, Credentials: creds(), RetryMaxAttempts: 1,
		HTTPClient: &http.Client{Transport: in.transport},
	})
	sealer, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: in.key})
	if err != nil {
		return nil, err
	}
	opts := chat.Options{
		ParentURL: in.parent.URL, Simulated: true, KMS: sealer,
		Enclave: attest.Options{
			Roots:  []*x509.Certificate{in.root},
			Policy: attest.Policy{Measurements: []attest.Measurement{{PCRs: in.pcrs}}},
		},
		Sign: envelope.SignOptions{Credentials: creds(), KeyID: in.key, Endpoint: in.endpoint},
	}
	if edit != nil {
		edit(&opts)
	}
	return chat.New(opts)
}

func (in *inside) quiesce() {
	in.parent.CloseClientConnections()
	in.transport.CloseIdleConnections()
}

// usage is this process's, which is measured in any case.
func (in *inside) usage() map[string]used { return map[string]used{} }

func (in *inside) close() {
	in.nsmFault.Store(nil)
	in.step.Store(nil)
	for _, f := range slices.Backward(in.closers) {
		f()
	}
}
