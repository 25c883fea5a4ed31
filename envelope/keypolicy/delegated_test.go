package keypolicy_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// sealedSpec is for clients that sign requests for the enclave and get answers
// that KMS has no part in: no enclave's role, nothing about responses.
func sealedSpec() keypolicy.Spec {
	s := spec()
	s.Enclaves, s.Delegated, s.SealedResponses = nil, true, true
	return s
}

// TestDelegatedDecrypt has a client sign Decrypt and a courier without
// credentials send it, under the policy that Spec makes for that. It must work
// for the named builds only, and the client must get nothing by itself.
func TestDelegatedDecrypt(t *testing.T) {
	w := newWorld(t)
	policy, err := sealedSpec().Policy()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.srv.PutKeyPolicy(w.key, string(policy)); err != nil {
		t.Fatal(err)
	}
	question, err := w.client(client, nil).Encrypt(t.Context(), []byte("secret request"), asked)
	if err != nil {
		t.Fatalf("the client cannot write a question: %v", err)
	}
	for _, tt := range []struct {
		name   string
		signer string
		pcrs   attest.PCRs
		blob   []byte
		ec     envelope.EncryptionContext
		opens  bool
	}{
		{"old build", client, attest.PCRs{0: digest(1), 1: digest(2), 2: digest(3)}, question, asked, true},
		{"new build", client, attest.PCRs{0: digest(4), 1: digest(9)}, question, asked, true},
		{"old build, another application", client, attest.PCRs{0: digest(1), 1: digest(2), 2: digest(9)}, question, asked, false},
		{"an enclave of somebody's", client, attest.PCRs{0: digest(9)}, question, asked, false},
		{"debug mode", client, attest.PCRs{0: attest.ZeroPCR()}, question, asked, false},
		{"what is no request", client, attest.PCRs{0: digest(4)}, w.answer, answered, false},
		{"signed by the administrator", admin, attest.PCRs{0: digest(4)}, question, asked, false},
		{"signed by the parent", parent, attest.PCRs{0: digest(4)}, question, asked, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.enclave(tt.pcrs)
			document, err := r.Document(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// The client here would trust any enclave: KMS must not.
			signed, err := envelope.SignDecrypt(t.Context(), envelope.SignOptions{
				Credentials: credentials.NewStaticCredentialsProvider(id(tt.signer), tt.signer, ""), KeyID: w.key, Endpoint: w.srv.URL(),
				Enclave: attest.Options{Roots: []*x509.Certificate{w.ca.Root()}, Policy: attest.Policy{AnyMeasurement: true, AllowDebug: true}},
			}, tt.blob, tt.ec, document)
			if err != nil {
				t.Fatal(err)
			}
			courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: w.srv.URL(), KeyID: w.key, Recipient: r})
			if err != nil {
				t.Fatal(err)
			}
			plain, err := courier.Decrypt(t.Context(), signed, tt.ec)
			if tt.opens && (err != nil || string(plain) != "secret request") {
				t.Errorf("%q, %v", plain, err)
			}
			if !tt.opens && (plain != nil || !errors.Is(err, envelope.ErrDenied)) {
				t.Errorf("%q, %v; want ErrDenied", plain, err)
			}
		})
	}
	// The same principal without an attestation, which is what a thief of the
	// client's credentials has, and what else it might try.
	k := w.kms(client)
	for name, try := range map[string]func() error{
		"decrypts a request": func() error {
			_, err := w.client(client, nil).DecryptUnattested(t.Context(), question, asked)
			return err
		},
		"decrypts a response": func() error {
			_, err := w.client(client, nil).DecryptUnattested(t.Context(), w.answer, answered)
			return err
		},
		"writes a response": func() error {
			_, err := w.client(client, nil).Encrypt(t.Context(), []byte("x"), answered)
			return err
		},
		"gets a data key": func() error {
			_, err := k.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &w.key, KeySpec: types.DataKeySpecAes256, EncryptionContext: asked})
			return err
		},
		"puts a policy": func() error {
			_, err := k.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &w.key, Policy: aws.String(openToAll)})
			return err
		},
	} {
		if w.allowed(try()) {
			t.Errorf("the client %s", name)
		}
	}
}

// TestDelegatedLint: the policy is sound for clients whose credentials stay
// with them, and Lint says so only when it is told that they do.
func TestDelegatedLint(t *testing.T) {
	s := sealedSpec()
	policy, err := s.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if f := keypolicy.Lint(policy, keypolicy.Options{Delegating: s.Clients, Measurements: s.Measurements}); len(f) > 0 {
		t.Errorf("%v", f)
	}
	f := keypolicy.Lint(policy, keypolicy.Options{})
	if len(f) != 1 || f[0].Code != keypolicy.WritesQuestions || f[0].Severity != keypolicy.Warning {
		t.Errorf("without knowing who delegates: %v", f)
	}
	parsed, err := keypolicy.Parse(policy)
	if err != nil {
		t.Fatal(err)
	}
	var sids []string
	for _, st := range parsed.Statements {
		sids = append(sids, st.Sid)
	}
	if want := []string{"Administration", "ClientsWriteRequests", "EnclaveReadsRequests1", "EnclaveReadsRequests2"}; !slices.Equal(sids, want) {
		t.Errorf("statements %q", sids)
	}
}
