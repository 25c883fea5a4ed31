package kmstest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxSkew is how far a request's date may be from the server's.
const maxSkew = 5 * time.Minute

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	sigTime      = "20060102T150405Z"
)

// authenticate verifies the request's signature (AWS General Reference,
// "Signature Version 4") and returns who signed it.
func (s *Server) authenticate(r *http.Request, body []byte) (*Principal, error) {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), sigAlgorithm+" ")
	if !ok {
		return nil, apiError{"MissingAuthenticationTokenException", "the request has no AWS4-HMAC-SHA256 Authorization header"}
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(auth, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	scope := strings.Split(fields["Credential"], "/")
	signed := strings.Split(fields["SignedHeaders"], ";")
	if len(scope) != 5 || scope[4] != "aws4_request" || fields["Signature"] == "" {
		return nil, apiError{"IncompleteSignatureException", "the Authorization header is incomplete"}
	}
	for _, name := range []string{"host", "x-amz-date", "x-amz-target"} {
		if !slices.Contains(signed, name) {
			return nil, apiError{"InvalidSignatureException", "the signature does not cover " + name}
		}
	}
	if scope[2] != s.opts.Region || scope[3] != "kms" {
		return nil, apiError{"InvalidSignatureException", "the credential is not scoped to kms in " + s.opts.Region}
	}
	at, err := time.Parse(sigTime, r.Header.Get("X-Amz-Date"))
	if err != nil || at.Format("20060102") != scope[1] {
		return nil, apiError{"IncompleteSignatureException", "X-Amz-Date is missing, or not of the credential's date"}
	}
	p := s.principal(scope[0])
	if p == nil {
		return nil, apiError{"UnrecognizedClientException", "the security token included in the request is invalid"}
	}
	expected, err := signatureOf(r, body, p, signed, s.opts.Region, at)
	if err != nil {
		return nil, apiError{"InvalidSignatureException", "the request cannot be signed as it claims"}
	}
	if !hmac.Equal([]byte(expected), []byte(fields["Signature"])) {
		return nil, apiError{"InvalidSignatureException", "the request signature does not match"}
	}
	if r.Header.Get("X-Amz-Security-Token") != p.SessionToken {
		return nil, apiError{"UnrecognizedClientException", "the security token included in the request is invalid"}
	}
	now := s.opts.Clock()
	if skew := now.Sub(at); skew > maxSkew || skew < -maxSkew {
		return nil, apiError{"InvalidSignatureException", "signature expired: the request's date is too far from " + now.UTC().Format(sigTime)}
	}
	if !p.Expires.IsZero() && now.After(p.Expires) {
		return nil, apiError{"ExpiredTokenException", "the security token included in the request is expired"}
	}
	return p, nil
}

// signatureOf signs what the client says that it signed with the SDK's own
// signer and returns the signature.
func signatureOf(r *http.Request, body []byte, p *Principal, signed []string, region string, at time.Time) (string, error) {
	again, err := http.NewRequest(r.Method, "https://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return "", err
	}
	for _, name := range signed {
		switch name {
		case "host": // taken from the URL
		case "content-length":
			again.ContentLength = int64(len(body))
		default:
			// A copy: the signer writes into the slices of its headers.
			again.Header[http.CanonicalHeaderKey(name)] = slices.Clone(r.Header.Values(name))
		}
	}
	hash := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey}
	if slices.Contains(signed, "x-amz-security-token") {
		creds.SessionToken = p.SessionToken
	}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, again, hex.EncodeToString(hash[:]), "kms", region, at); err != nil {
		return "", err
	}
	_, signature, _ := strings.Cut(again.Header.Get("Authorization"), "Signature=")
	return signature, nil
}
