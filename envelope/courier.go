package envelope

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/smithy-go"
)

// ErrNotDelegated is returned for a signed request that is not the one that the
// Courier was asked to send: of another operation, key, context, host or form.
var ErrNotDelegated = errors.New("envelope: the signed request is for something else")

// Limits of a Courier, in bytes.
const (
	maxSignedBody   = 64 << 10
	maxSignedHeader = 16 << 10
	maxAnswer       = 64 << 10
)

// CourierOptions configures a Courier. All fields but the last are required.
type CourierOptions struct {
	// HTTP sends the requests. Its transport must end TLS inside the enclave.
	HTTP *http.Client
	// Endpoint is the URL of KMS. Requests for other hosts are refused, so
	// that a signed request cannot choose where the enclave connects to.
	Endpoint string
	// KeyID is the ARN of the one KMS key.
	KeyID string
	// Recipient is the enclave's.
	Recipient *Recipient
	// AllowNoContext permits empty encryption contexts.
	AllowNoContext bool
}

// Courier sends requests that others signed (SignDecrypt, SignGenerateDataKey)
// and opens the answers with the enclave's key. It has no credentials. It is
// safe for concurrent use.
type Courier struct {
	opts CourierOptions
	url  *url.URL
}

// NewCourier checks opts and returns a Courier.
func NewCourier(opts CourierOptions) (*Courier, error) {
	if opts.HTTP == nil {
		return nil, errors.New("envelope: a Courier needs an HTTP client")
	}
	if !isKeyARN(opts.KeyID) {
		return nil, errKeyARN
	}
	if opts.Recipient == nil {
		return nil, ErrNoRecipient
	}
	u, err := parseEndpoint(opts.Endpoint)
	if err != nil {
		return nil, err
	}
	// A redirect would send the request to where nobody signed it for.
	client := *opts.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	opts.HTTP = &client
	return &Courier{opts, u}, nil
}

// Decrypt sends a request of SignDecrypt and opens the answer. The request
// must be for the Courier's key and for exactly this encryption context. The
// caller owns the result, and should clear it when done.
//
// Errors: ErrNotDelegated, ErrNoContext, ErrNotAttested, ErrKeyMismatch,
// ErrOpen, and *KMSError for what KMS refused (ErrDenied among it).
func (c *Courier) Decrypt(ctx context.Context, req *SignedRequest, ec EncryptionContext) ([]byte, error) {
	body, err := c.check(req, targetDecrypt, ec)
	if err != nil {
		return nil, err
	}
	if len(body.CiphertextBlob) == 0 || body.KeySpec != "" {
		return nil, ErrNotDelegated
	}
	out, err := c.send(ctx, req, "Decrypt")
	if err != nil {
		return nil, err
	}
	return c.open(out)
}

// GenerateDataKey sends a request of SignGenerateDataKey and opens the answer.
// Errors are those of Decrypt.
func (c *Courier) GenerateDataKey(ctx context.Context, req *SignedRequest, ec EncryptionContext) (DataKey, error) {
	body, err := c.check(req, targetGenerateDataKey, ec)
	if err != nil {
		return DataKey{}, err
	}
	if len(body.CiphertextBlob) != 0 || body.KeySpec != dataKeySpec {
		return DataKey{}, ErrNotDelegated
	}
	out, err := c.send(ctx, req, "GenerateDataKey")
	if err != nil {
		return DataKey{}, err
	}
	plaintext, err := c.open(out)
	if err != nil {
		return DataKey{}, err
	}
	if len(plaintext) != contentKeySize || len(out.CiphertextBlob) == 0 {
		clear(plaintext)
		return DataKey{}, ErrOpen
	}
	return DataKey{Plaintext: plaintext, Ciphertext: out.CiphertextBlob}, nil
}

// check reads what the request asks for. It comes from outside: nothing is
// sent that is not understood.
func (c *Courier) check(req *SignedRequest, target string, ec EncryptionContext) (*requestBody, error) {
	if len(ec) == 0 && !c.opts.AllowNoContext {
		return nil, ErrNoContext
	}
	if req == nil || len(req.Body) > maxSignedBody || !strings.EqualFold(req.Host, c.url.Host) {
		return nil, ErrNotDelegated
	}
	size, found := 0, ""
	for name, value := range req.Header {
		size += len(name) + len(value)
		if strings.EqualFold(name, "X-Amz-Target") {
			if found != "" {
				return nil, ErrNotDelegated
			}
			found = value
		}
	}
	if found != target || size > maxSignedHeader {
		return nil, ErrNotDelegated
	}
	d := json.NewDecoder(bytes.NewReader(req.Body))
	d.DisallowUnknownFields()
	var body requestBody
	if d.Decode(&body) != nil {
		return nil, ErrNotDelegated
	}
	// Only the form that SignDecrypt writes: JSON leaves room for a second
	// meaning, such as a name that occurs twice.
	again, err := json.Marshal(body)
	if err != nil || !bytes.Equal(again, req.Body) {
		return nil, ErrNotDelegated
	}
	if body.KeyID != c.opts.KeyID || body.Recipient.KeyEncryptionAlgorithm != keyEncryption || !maps.Equal(body.EncryptionContext, ec) {
		return nil, ErrNotDelegated
	}
	return &body, nil
}

// answer is the JSON output of both operations.
type answer struct {
	KeyID                  string `json:"KeyId"`
	CiphertextBlob         []byte
	CiphertextForRecipient []byte
	Plaintext              []byte
}

// signedHeaders are those of a signed request that are sent; others have no
// place in it.
var signedHeaders = []string{"Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Target"}

func (c *Courier) send(ctx context.Context, signed *SignedRequest, op string) (*answer, error) {
	req, err := newRequest(ctx, c.url, signed.Body)
	if err != nil {
		return nil, err
	}
	req.Host = signed.Host
	for name, value := range signed.Header {
		req.Header.Set(name, value)
	}
	for name := range req.Header {
		if !containsFold(signedHeaders, name) {
			return nil, ErrNotDelegated
		}
	}
	resp, err := c.opts.HTTP.Do(req)
	if err != nil {
		return nil, &KMSError{op, err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &KMSError{op, err}
	}
	defer clear(data)
	if len(data) > maxAnswer {
		return nil, &KMSError{op, errors.New("the answer is too large")}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &KMSError{op, apiErrorOf(resp, data)}
	}
	var out answer
	if json.Unmarshal(data, &out) != nil {
		return nil, &KMSError{op, errors.New("the answer is no JSON")}
	}
	return &out, nil
}

// open checks an answer and opens it with the key that it is for.
func (c *Courier) open(out *answer) ([]byte, error) {
	if err := checkAttested(out.Plaintext, out.CiphertextForRecipient); err != nil {
		return nil, err
	}
	if out.KeyID != c.opts.KeyID {
		return nil, ErrKeyMismatch
	}
	return c.opts.Recipient.unwrap(out.CiphertextForRecipient)
}

// apiErrorOf makes of an error answer what the SDK makes of it (AWS JSON 1.1
// protocol, "Operation error serialization").
func apiErrorOf(resp *http.Response, data []byte) error {
	var body struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(data, &body) // without JSON there is the header
	code := resp.Header.Get("X-Amzn-Errortype")
	if code == "" {
		code = body.Type
	}
	// The code may stand between a namespace and a URL.
	code, _, _ = strings.Cut(code, ":")
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	if code == "" {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	fault := smithy.FaultClient
	if resp.StatusCode >= 500 {
		fault = smithy.FaultServer
	}
	return &smithy.GenericAPIError{Code: code, Message: body.Message, Fault: fault}
}

func containsFold(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}
