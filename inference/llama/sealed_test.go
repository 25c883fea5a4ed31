//go:build linux

package llama_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// sealing is a model's owner and an enclave, with a local KMS between them. Its
// key policy lets only attested enclaves decrypt.
type sealing struct {
	owner, enclave *envelope.Client
	close          func()
}

func newSealing(ctx context.Context) (*sealing, error) {
	const role = "arn:aws:iam::111122223333:role/model"
	image := attest.PCR(bytes.Repeat([]byte{1}, 48))
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return nil, err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}})
	if err != nil {
		return nil, err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return nil, err
	}
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		return nil, err
	}
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		return nil, err
	}
	if err := srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		return nil, err
	}
	key, err := srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Encrypt", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Decrypt", "Resource": "*",
		 "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": "%[2]x"}}}]}`, role, []byte(image))})
	if err != nil {
		return nil, err
	}
	api := kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
	owner, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: key})
	if err != nil {
		return nil, err
	}
	enclave, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: key, Recipient: recipient})
	if err != nil {
		return nil, err
	}
	return &sealing{owner, enclave, func() { srv.Close(); nsm.Close() }}, nil
}

// modelContext is the encryption context of the models here.
func modelContext(digest string) envelope.EncryptionContext {
	return envelope.EncryptionContext{"content": "model", "sha256": digest}
}

// segment is the size of the segments that the models are sealed in.
const segment = 4096

// sealedModel returns the q8_0 model sealed, and its digest.
func sealedModel(t *testing.T, s *sealing) (sealed []byte, digest string) {
	t.Helper()
	data, err := os.ReadFile(q8Model)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	digest = hex.EncodeToString(sum[:])
	sealed, err = s.owner.Seal(t.Context(), data, modelContext(digest), envelope.StreamOptions{SegmentSize: segment})
	if err != nil {
		t.Fatal(err)
	}
	return sealed, digest
}

// openSealed opens a sealed model in the enclave, as its users do.
func openSealed(ctx context.Context, s *sealing, sealed io.Reader, digest string, opts llama.Options) (*llama.Model, error) {
	r, err := s.enclave.NewReader(ctx, sealed, modelContext(digest), envelope.StreamOptions{Workers: 2})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	opts.ModelReader, opts.Threads = r, 1
	return llama.Open(ctx, opts)
}

// A sealed model answers as the plain file does.
func TestSealedModel(t *testing.T) {
	s, err := newSealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	sealed, digest := sealedModel(t, s)
	if bytes.Contains(sealed, []byte("GGUF")) || bytes.Contains(sealed, []byte("Larkfield")) {
		t.Error("the sealed model shows what it is")
	}
	plain := open(t, llama.Options{ModelPath: q8Model})
	for name, in := range map[string]io.Reader{
		"whole":          bytes.NewReader(sealed),
		"in small reads": iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(sealed))),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := openSealed(t.Context(), s, in, digest, llama.Options{Digest: digest})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if got := m.Info(); got != plain.Info() {
				t.Errorf("%+v, the file's is %+v", got, plain.Info())
			}
			for _, p := range loadOracle(t).Prompts[:6] {
				req := inference.Request{Prompt: p.Prompt, MaxTokens: 24}
				want, err := generate(t, plain, req)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := generate(t, m, req); err != nil || got.text != want.text || !slices.Equal(got.tokens, want.tokens) {
					t.Errorf("%s: %q, %v; the file gives %q", p.Name, got.text, err, want.text)
				}
			}
		})
	}
}

// Whatever was done to a sealed model, libllama sees nothing of it.
func TestSealedModelRefused(t *testing.T) {
	s, err := newSealing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	sealed, digest := sealedModel(t, s)
	// Segment n begins here, n > 0 (envelope/FORMAT.md).
	begin := func(n int) int { return 12 + int(binary.BigEndian.Uint32(sealed[8:])) + n*segment }
	middle := begin(300)
	edit := func(change func(b []byte) []byte) io.Reader { return bytes.NewReader(change(bytes.Clone(sealed))) }
	flip := func(at int) io.Reader {
		return edit(func(b []byte) []byte { b[at] ^= 1; return b })
	}
	cut := func(n int) io.Reader { return bytes.NewReader(sealed[:n]) }
	fault := errors.New("fault")
	faulty := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(sealed[:n]), iotest.ErrReader(fault)) }
	none := strings.Repeat("0", 64)
	for name, tt := range map[string]struct {
		in   io.Reader
		opts llama.Options
		want error
	}{
		"wrong digest":           {cut(len(sealed)), llama.Options{Digest: none}, llama.ErrDigest},
		"context, a flipped bit": {flip(begin(0) - 5), llama.Options{}, envelope.ErrContextMismatch},
		"first segment":          {flip(begin(1) - 1), llama.Options{Digest: digest}, envelope.ErrStream},
		"middle, a flipped bit":  {flip(middle + 7), llama.Options{}, envelope.ErrStream},
		"last byte":              {flip(len(sealed) - 1), llama.Options{}, envelope.ErrStream},
		"cut by one byte":        {cut(len(sealed) - 1), llama.Options{}, envelope.ErrStream},
		"cut inside a segment":   {cut(middle + 7), llama.Options{}, envelope.ErrStream},
		"cut between segments":   {cut(middle), llama.Options{}, envelope.ErrStream},
		"cut before segments":    {cut(begin(0) + 40), llama.Options{}, envelope.ErrStream},
		"cut in the header":      {cut(20), llama.Options{}, envelope.ErrStream},
		"a byte more":            {edit(func(b []byte) []byte { return append(b, 0) }), llama.Options{}, envelope.ErrStream},
		"a segment missing":      {edit(func(b []byte) []byte { return slices.Delete(b, middle, middle+segment) }), llama.Options{}, envelope.ErrStream},
		"a segment twice":        {edit(func(b []byte) []byte { return slices.Insert(b, middle, b[middle-segment:middle]...) }), llama.Options{}, envelope.ErrStream},
		"swapped segments": {edit(func(b []byte) []byte {
			copy(b[middle:], sealed[middle+segment:middle+2*segment])
			copy(b[middle+segment:], sealed[middle:middle+segment])
			return b
		}), llama.Options{}, envelope.ErrStream},
		"the plain model":         {mustOpen(t, q8Model), llama.Options{}, envelope.ErrStream},
		"fault in the header":     {faulty(5), llama.Options{}, fault},
		"fault after the header":  {faulty(begin(0)), llama.Options{}, fault},
		"fault in the middle":     {faulty(middle), llama.Options{}, fault},
		"fault in place of end":   {faulty(len(sealed)), llama.Options{}, fault},
		"one byte over the limit": {cut(len(sealed)), llama.Options{MaxModelBytes: 3489120 - 1}, llama.ErrModelTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			tt.opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			m, err := openSealed(t.Context(), s, tt.in, digest, tt.opts)
			if !errors.Is(err, tt.want) || m != nil {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if strings.Contains(log.String(), modelLogged) {
				t.Errorf("libllama read it:\n%s", &log)
			}
		})
	}

	t.Run("another model's context", func(t *testing.T) {
		if m, err := openSealed(t.Context(), s, bytes.NewReader(sealed), none, llama.Options{}); !errors.Is(err, envelope.ErrContextMismatch) || m != nil {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nothing wrong", func(t *testing.T) {
		var log bytes.Buffer
		m, err := openSealed(t.Context(), s, bytes.NewReader(sealed), digest, llama.Options{
			Digest: digest, MaxModelBytes: 3489120, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		if !strings.Contains(log.String(), modelLogged) {
			t.Errorf("libllama does not log %q any more, so that the tests above show nothing", modelLogged)
		}
	})
}

// modelLogged is what libllama logs when it begins to read a model.
const modelLogged = "llama_model_loader"

func mustOpen(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
