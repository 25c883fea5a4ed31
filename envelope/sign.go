package envelope

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/nitroseal/nitroseal/attest"
)

// The operations that can be delegated, as X-Amz-Target names them.
const (
	targetPrefix          = "TrentService."
	targetDecrypt         = targetPrefix + "Decrypt"
	targetGenerateDataKey = targetPrefix + "GenerateDataKey"
	contentType           = "application/x-amz-json-1.1"
	keyEncryption         = "RSAES_OAEP_SHA_256"
	dataKeySpec           = "AES_256"
)

// SignOptions says with whose credentials and for which enclaves requests are
// signed.
type SignOptions struct {
	// Credentials of the caller. Required. The secret access key stays here;
	// the access key id and the session token are part of the request.
	Credentials aws.CredentialsProvider
	// KeyID is the ARN of the one KMS key. Required. Its region is signed for.
	KeyID string
	// Enclave says which enclave may have the answer. Required: its zero
	// Policy refuses every document.
	Enclave attest.Options
	// Endpoint is the URL of KMS, without a path. Empty means AWS's for the
	// key's region.
	Endpoint string
	// AllowNoContext permits empty encryption contexts.
	AllowNoContext bool
	// Clock gives the date of the signature. nil means time.Now. KMS takes a
	// request for five minutes from it.
	Clock func() time.Time
}

// SignedRequest is one signed request to KMS: an HTTP POST of Body to the root
// of Host with Header. Whoever has it can send it, as often as they like while
// KMS takes its date, and do nothing else with it: not change it, and not read
// the answer, which is encrypted to the enclave that it was signed for.
type SignedRequest struct {
	Host   string            `json:"host"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body"`
}

// Format prints sizes only: the header has a session token.
func (r SignedRequest) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "signed request to %s (%d bytes)", r.Host, len(r.Body))
}

// requestBody is the JSON input of both operations (AWS KMS API Reference).
type requestBody struct {
	KeyID             string            `json:"KeyId"`
	CiphertextBlob    []byte            `json:"CiphertextBlob,omitempty"`
	KeySpec           string            `json:"KeySpec,omitempty"`
	EncryptionContext map[string]string `json:"EncryptionContext,omitempty"`
	Recipient         recipientBody     `json:"Recipient"`
}

type recipientBody struct {
	AttestationDocument    []byte `json:"AttestationDocument"`
	KeyEncryptionAlgorithm string `json:"KeyEncryptionAlgorithm"`
}

// SignDecrypt signs the one request that lets an enclave read one ciphertext:
// KMS Decrypt with the given encryption context, the answer encrypted to the
// key in the enclave's attestation document. The enclave needs no credentials,
// and gets none; it sends the request with a Courier.
//
// The document is verified first, with SignOptions.Enclave, so the client
// decides which enclave reads its data, beside the key policy.
//
// Errors: attest's for the document; ErrEmpty, ErrTooLarge and ErrNoContext.
func SignDecrypt(ctx context.Context, opts SignOptions, ciphertext []byte, ec EncryptionContext, document []byte) (*SignedRequest, error) {
	if err := checkInput(ciphertext, maxCiphertext); err != nil {
		return nil, err
	}
	return opts.sign(ctx, targetDecrypt, requestBody{CiphertextBlob: ciphertext, EncryptionContext: ec}, document)
}

// SignGenerateDataKey signs the one request that makes an AES-256 data key
// which only the enclave of the document can read. See SignDecrypt.
func SignGenerateDataKey(ctx context.Context, opts SignOptions, ec EncryptionContext, document []byte) (*SignedRequest, error) {
	return opts.sign(ctx, targetGenerateDataKey, requestBody{KeySpec: dataKeySpec, EncryptionContext: ec}, document)
}

func (o *SignOptions) sign(ctx context.Context, target string, body requestBody, document []byte) (*SignedRequest, error) {
	switch {
	case o.Credentials == nil:
		return nil, errors.New("envelope: signing needs credentials")
	case !isKeyARN(o.KeyID):
		return nil, errKeyARN
	case len(body.EncryptionContext) == 0 && !o.AllowNoContext:
		return nil, ErrNoContext
	}
	if _, err := attest.Verify(document, o.Enclave); err != nil {
		return nil, err
	}
	region := strings.Split(o.KeyID, ":")[3]
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = "https://kms." + region + ".amazonaws.com"
	}
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	body.KeyID = o.KeyID
	body.Recipient = recipientBody{document, keyEncryption}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, errors.New("envelope: the request cannot be encoded")
	}
	creds, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("envelope: getting credentials: %w", err)
	}
	req, err := newRequest(ctx, u, raw)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Amz-Target", target)
	now := time.Now
	if o.Clock != nil {
		now = o.Clock
	}
	hash := sha256.Sum256(raw)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(hash[:]), "kms", region, now().UTC()); err != nil {
		return nil, fmt.Errorf("envelope: signing: %w", err)
	}
	signed := &SignedRequest{Host: u.Host, Header: map[string]string{}, Body: raw}
	for name := range req.Header {
		signed.Header[name] = req.Header.Get(name)
	}
	return signed, nil
}

// parseEndpoint checks a KMS endpoint: a scheme and a host, nothing more.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("envelope: the endpoint must be a URL of scheme and host")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}, nil
}

func newRequest(ctx context.Context, u *url.URL, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(string(body)))
	if err != nil {
		return nil, errors.New("envelope: the endpoint cannot be used")
	}
	return req, nil
}
