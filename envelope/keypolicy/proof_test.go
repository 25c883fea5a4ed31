package keypolicy_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

const (
	admin    = "arn:aws:iam::111122223333:role/key-admin"
	client   = "arn:aws:iam::111122223333:role/chatbot-client"
	parent   = "arn:aws:iam::111122223333:role/chatbot-parent"
	ops      = "arn:aws:iam::111122223333:role/ops"
	mover    = "arn:aws:iam::111122223333:role/mover"
	stranger = "arn:aws:iam::444455556666:role/stranger"
)

var (
	asked    = envelope.EncryptionContext{"direction": "request"}
	answered = envelope.EncryptionContext{"direction": "response"}
)

// world is a KMS with a key, on which a policy is tried.
type world struct {
	t   *testing.T
	ca  *nsmtest.CA
	srv *kmstest.Server
	key string
	// What was made under the key while everything was allowed.
	question, answer []byte
	// own is a key that everybody may do everything with.
	own string
	// hostile are enclaves that no good policy allows.
	hostile map[string]*envelope.Recipient
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	for _, arn := range []string{admin, client, parent, ops, mover, stranger} {
		if err := srv.AddPrincipal(kmstest.Principal{ARN: arn, AccessKeyID: id(arn), SecretAccessKey: arn}); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, ca: ca, srv: srv}
	w.key, err = srv.CreateKey(kmstest.KeyOptions{Policy: openToAll})
	if err != nil {
		t.Fatal(err)
	}
	for ec, blob := range map[string]*[]byte{"request": &w.question, "response": &w.answer} {
		*blob, err = w.client(admin, nil).Encrypt(t.Context(), []byte("secret "+ec), envelope.EncryptionContext{"direction": ec})
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

const openToAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}`

// id makes an access key id of an ARN.
func id(arn string) string { return "AK" + strings.ToUpper(filepath.Base(arn)) }

func (w *world) kms(arn string) *kms.Client {
	return kms.New(kms.Options{
		Region: w.srv.Region(), BaseEndpoint: aws.String(w.srv.URL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id(arn), arn, ""),
	})
}

func (w *world) client(arn string, r *envelope.Recipient) *envelope.Client {
	w.t.Helper()
	c, err := envelope.NewClient(envelope.Options{KMS: w.kms(arn), KeyID: w.key, Recipient: r})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// enclave starts one with the given registers.
func (w *world) enclave(pcrs attest.PCRs) *envelope.Recipient {
	w.t.Helper()
	device, err := nsmtest.New(nsmtest.Options{CA: w.ca, PCRs: pcrs})
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.Close() })
	r, err := envelope.NewRecipient(w.t.Context(), envelope.RecipientOptions{Attester: n})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func digest(s byte) attest.PCR { return attest.PCRFromDigest([48]byte{s}) }

// allowed tells whether KMS did it; other failures than its policy's end the
// test.
func (w *world) allowed(err error) bool {
	w.t.Helper()
	var api smithy.APIError
	if err != nil && (!errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException") {
		w.t.Fatalf("neither allowed nor denied: %v", err)
	}
	return err == nil
}

func spec() keypolicy.Spec {
	return keypolicy.Spec{
		Admins: []string{admin}, Clients: []string{client}, Enclaves: []string{parent},
		Measurements: []attest.Measurement{
			{Name: "old", PCRs: attest.PCRs{0: digest(1), 1: digest(2), 2: digest(3)}},
			{Name: "new", PCRs: attest.PCRs{0: digest(4)}},
		},
	}
}

// TestPolicyAtKMS puts emitted policies to a KMS and tries everything that
// matters, for every principal and every enclave.
func TestPolicyAtKMS(t *testing.T) {
	delegated := spec()
	delegated.Enclaves, delegated.Delegated = nil, true
	attested := spec()
	attested.AttestedResponses = true
	for _, kind := range []struct {
		name    string
		spec    keypolicy.Spec
		enclave string // whose credentials attested requests carry
		encrypt bool   // the enclave encrypts answers
		keys    bool   // it gets data keys for them
	}{
		{"credentials", spec(), parent, true, false},
		{"delegated", delegated, client, false, false},
		{"attested responses", attested, parent, false, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			w := newWorld(t)
			policy, err := kind.spec.Policy()
			if err != nil {
				t.Fatal(err)
			}
			// The administrator can put it, which is also what KMS demands.
			if _, err := w.kms(admin).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &w.key, Policy: aws.String(string(policy))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.kms(admin).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &w.key, Policy: aws.String(string(policy))}); err != nil {
				t.Fatal("the administrator cannot put it again:", err)
			}
			enclaves := map[string]*envelope.Recipient{
				"none":              nil,
				"old":               w.enclave(attest.PCRs{0: digest(1), 1: digest(2), 2: digest(3)}),
				"new":               w.enclave(attest.PCRs{0: digest(4), 1: digest(9)}),
				"another kernel":    w.enclave(attest.PCRs{0: digest(1), 1: digest(9), 2: digest(3)}),
				"the attacker's":    w.enclave(attest.PCRs{0: digest(9), 1: digest(2), 2: digest(3)}),
				"in debug mode":     w.enclave(attest.PCRs{0: attest.ZeroPCR(), 1: attest.ZeroPCR(), 2: attest.ZeroPCR()}),
				"without registers": w.enclave(attest.PCRs{16: digest(1)}),
			}
			for _, arn := range []string{admin, client, parent, ops, stranger} {
				for name, r := range enclaves {
					good := arn == kind.enclave && (name == "old" || name == "new")
					c := w.client(arn, r)
					decrypt, key := c.Decrypt, func(ec envelope.EncryptionContext) error {
						_, err := c.GenerateDataKey(t.Context(), ec)
						return err
					}
					if r == nil {
						decrypt = c.DecryptUnattested
						key = func(ec envelope.EncryptionContext) error {
							_, err := w.kms(arn).GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &w.key, KeySpec: types.DataKeySpecAes256, EncryptionContext: ec})
							return err
						}
					}
					open := func(blob []byte, ec envelope.EncryptionContext) bool {
						_, err := decrypt(t.Context(), blob, ec)
						return w.allowed(err)
					}
					for what, got := range map[string][2]bool{
						"opens the question":    {open(w.question, asked), good},
						"opens the answer":      {open(w.answer, answered), arn == client},
						"gets an answer's key":  {w.allowed(key(answered)), good && kind.keys},
						"gets a question's key": {w.allowed(key(asked)), false},
					} {
						if got[0] != got[1] {
							t.Errorf("%s, enclave %s: %s: %v", arn, name, what, got[0])
						}
					}
				}
				c := w.client(arn, nil)
				encrypt := func(ec envelope.EncryptionContext) bool {
					_, err := c.Encrypt(t.Context(), []byte("x"), ec)
					return w.allowed(err)
				}
				if got := encrypt(asked); got != (arn == client) {
					t.Errorf("%s writes questions: %v", arn, got)
				}
				if got := encrypt(answered); got != (arn == parent && kind.encrypt) {
					t.Errorf("%s writes answers: %v", arn, got)
				}
				_, err := w.kms(arn).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &w.key, Policy: aws.String(string(policy))})
				if got := w.allowed(err); got != (arn == admin) {
					t.Errorf("%s puts policies: %v", arn, got)
				}
			}
		})
	}
}

// attack opens the question, or the answer, in the ways that root on the
// parent and strangers have, and tells of the first that succeeds. It returns
// false where this KMS does not take the policy.
func (w *world) attack(ctx context.Context, policy string) (done string, taken bool) {
	if err := w.srv.PutKeyPolicy(w.key, policy); err != nil {
		return "", false
	}
	for _, arn := range []string{parent, ops, mover, stranger} {
		if w.moves(ctx, arn) {
			return arn + " moves the question to a key of his own", true
		}
		for name, r := range w.hostile {
			decrypt := w.client(arn, r).Decrypt
			if r == nil {
				decrypt = w.client(arn, nil).DecryptUnattested
			}
			for _, test := range []struct {
				what string
				blob []byte
				ec   envelope.EncryptionContext
			}{{"question", w.question, asked}, {"answer", w.answer, answered}} {
				plain, err := decrypt(ctx, test.blob, test.ec)
				if w.allowed(err) && bytes.HasPrefix(plain, []byte("secret ")) {
					return fmt.Sprintf("%s with %s opens the %s", arn, name, test.what), true
				}
			}
		}
	}
	return "", true
}

// moves re-encrypts the question to a key that everybody may decrypt with.
func (w *world) moves(ctx context.Context, arn string) bool {
	moved, err := w.kms(arn).ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: w.question, SourceEncryptionContext: asked, SourceKeyId: &w.key, DestinationKeyId: &w.own,
	})
	if !w.allowed(err) {
		return false
	}
	out, err := w.kms(arn).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, KeyId: &w.own})
	return err == nil && bytes.HasPrefix(out.Plaintext, []byte("secret "))
}

// published is a register in the policies of testdata.
func published(name string) attest.PCR {
	sum := sha384("nitroseal example " + name)
	return sum[:]
}

// TestFindingsAreReal attacks the policies of testdata at a KMS. No good one
// gives way, and what Lint calls a critical flaw in the grant of Decrypt does.
func TestFindingsAreReal(t *testing.T) {
	w := newWorld(t)
	w.hostile = map[string]*envelope.Recipient{
		"no enclave":    nil,
		"own enclave":   w.enclave(attest.PCRs{0: digest(9), 1: digest(9), 2: digest(9), 3: digest(9), 4: digest(9), 8: digest(9)}),
		"debug enclave": w.enclave(attest.PCRs{0: attest.ZeroPCR(), 1: attest.ZeroPCR(), 2: attest.ZeroPCR(), 8: attest.ZeroPCR()}),
		"same kernel":   w.enclave(attest.PCRs{0: digest(9), 1: published("PCR1"), 2: digest(9)}),
		"same prefix":   w.enclave(attest.PCRs{0: append(published("PCR0")[:8:8], make([]byte, 40)...), 1: digest(9), 2: digest(9)}),
	}
	var err error
	if w.own, err = w.srv.CreateKey(kmstest.KeyOptions{Policy: openToAll}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	// Flaws by which plaintext gets out at once, rather than after a change of
	// the policy or with IAM, which this KMS does not have.
	leaks := []keypolicy.Code{
		keypolicy.NoAttestation, keypolicy.UnattestedDecrypt, keypolicy.EveryPrincipal, keypolicy.InvertedMatch,
		keypolicy.AttestationOptional, keypolicy.AttestationNegated, keypolicy.AttestationAbsent,
		keypolicy.AttestationWildcard, keypolicy.AnyEnclave, keypolicy.ZeroPCR,
	}
	attacked := 0
	for _, path := range files {
		policy := string(read(t, path))
		done, ok := w.attack(t.Context(), policy)
		findings := keypolicy.Lint([]byte(policy), keypolicy.Options{})
		critical := slices.ContainsFunc(findings, func(f keypolicy.Finding) bool { return f.Severity == keypolicy.Critical })
		leaking := slices.ContainsFunc(findings, func(f keypolicy.Finding) bool { return slices.Contains(leaks, f.Code) })
		name := filepath.Base(path)
		switch {
		case !ok:
			t.Logf("%s: this KMS does not take it", name)
		case done != "" && !critical && count(findings, keypolicy.ReadsAnswers) == 0:
			t.Errorf("%s: not found: %s", name, done)
		case done == "" && leaking && elsewhere[name] == "":
			t.Errorf("%s: no attack succeeds, in spite of %v", name, findings)
		case done != "":
			attacked++
		}
	}
	t.Logf("attacks on %d policies succeeded", attacked)
	if attacked < 15 {
		t.Error("too few")
	}
}

// elsewhere says why no attack of these succeeds on a policy that leaks.
var elsewhere = map[string]string{
	"context-if-exists.json":      "leaks ciphertext without context, to clients",
	"context-other-name.json":     "leaks ciphertext with another entry, to clients",
	"context-wildcard.json":       "leaks questions to clients",
	"derive-shared-secret.json":   "leaks what is under an asymmetric key",
	"misspelled-action.json":      "leaks answers to clients, as it should; the enclave has no access",
	"star-action.json":            "leaks to the administrator",
	"star-principal-list.json":    "takes the right enclave from strangers",
	"deny-forgets-reencrypt.json": "",
	"reencrypt.json":              "",
}

func sha384(s string) [48]byte { return sha512.Sum384([]byte(s)) }
