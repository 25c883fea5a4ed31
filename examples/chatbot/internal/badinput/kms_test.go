package badinput

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// kmsForm is AWS's form of errors: the code stands in a header, too.
func kmsForm(a answer) (string, error) {
	var body struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := jsonForm(a, "application/x-amz-json-1.1", &body); err != nil || body.Message == "" || a.header.Get("X-Amzn-Errortype") != body.Type {
		return "", errForm
	}
	return body.Type, nil
}

func kmsAddr(w *world) string { return strings.TrimPrefix(w.kms.URL(), "http://") }

// signer says how a request to KMS is signed.
type signer struct {
	id, secret, token string
	region, service   string
	at                time.Time
}

func goodSigner() signer {
	return signer{accessKey, secretKey, sessionToken, region, "kms", time.Now().UTC()}
}

// sign makes a signed request for an operation.
func (s signer) sign(w *world, op, body string) request {
	hr, err := http.NewRequest(http.MethodPost, w.kms.URL()+"/", strings.NewReader(body))
	if err != nil {
		return request{raw: err.Error()}
	}
	hr.Header.Set("Content-Type", "application/x-amz-json-1.1")
	hr.Header.Set("X-Amz-Target", "TrentService."+op)
	sum := sha256.Sum256([]byte(body))
	c := aws.Credentials{AccessKeyID: s.id, SecretAccessKey: s.secret, SessionToken: s.token}
	if err := v4.NewSigner().SignHTTP(context.Background(), c, hr, hex.EncodeToString(sum[:]), s.service, s.region, s.at); err != nil {
		return request{raw: err.Error()}
	}
	r := request{method: http.MethodPost, target: "/", body: body}
	for name := range hr.Header {
		r.header = append(r.header, name+": "+hr.Header.Get(name))
	}
	return r
}

// kmsRow is a row whose body may name the world's keys and what is under them.
func kmsRow(op, input, body, reason string) row {
	status := 400
	if reason == "" {
		status = 200
	}
	return row{input: input, status: status, reason: reason, request: request{method: "POST"}, made: func(w *world, canary string) request {
		return goodSigner().sign(w, op, w.fill(body, canary))
	}}
}

// fill puts keys and ciphertexts into a body.
func (w *world) fill(body, canary string) string {
	for mark, value := range map[string]func() string{
		canaryMark:     func() string { return canary },
		"$KEY":         func() string { return w.key },
		"$AGREEMENT":   func() string { return w.agreement },
		"$OTHER":       func() string { return w.other },
		"$CLOSED":      func() string { return w.closed },
		"$CIPHERTEXT":  func() string { return b64(w.question()) },
		"$OFAGREEMENT": func() string { return b64(w.blobOf(w.agreement)) },
		"$DOCUMENT":    func() string { return b64(w.document()) },
		"$FOREIGN":     func() string { return b64([]byte(canary)) },
		"$RSA":         rsaKey,
	} {
		if strings.Contains(body, mark) {
			body = strings.ReplaceAll(body, mark, value())
		}
	}
	return body
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// blobOf is something that names a key as its ciphertexts do, and is none.
func (w *world) blobOf(arn string) []byte {
	id, err := hex.DecodeString(strings.ReplaceAll(arn[strings.LastIndexByte(arn, '/')+1:], "-", ""))
	if err != nil {
		return nil
	}
	return append(append([]byte{1}, id...), make([]byte, 64)...)
}

// document is an attestation document of the enclave's.
func (w *world) document() []byte {
	e, err := w.sessions.Establish(context.Background())
	if err != nil {
		return nil
	}
	return e.Raw
}

// rsaKey is a public key that is on no curve.
func rsaKey() string {
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return ""
	}
	return b64(der)
}

func kmsEndpoints() []endpoint {
	good := func(w *world, canary string) request {
		return goodSigner().sign(w, "GenerateRandom", `{"NumberOfBytes":16}`)
	}
	all := []endpoint{{name: "KMS: who asks", addr: kmsAddr, form: kmsForm, good: good, rows: signatureRows()}}
	for _, op := range kmsOperations {
		all = append(all, endpoint{name: "KMS: " + op.name, source: op.name, addr: kmsAddr, form: kmsForm, good: good, rows: op.rows()})
	}
	return append(all, endpoint{name: "KMS: HTTP itself", addr: kmsAddr, form: plainForm, good: good, rows: framingRows(32<<10, "/")})
}

// signatureRows are refused before any operation.
func signatureRows() []row {
	const body = `{"NumberOfBytes":16}`
	made := func(input, reason string, make func(w *world) request) row {
		return row{input: input, status: 400, reason: reason, request: request{method: "POST"}, made: func(w *world, _ string) request { return make(w) }}
	}
	signed := func(input, reason string, edit func(*signer)) row {
		return made(input, reason, func(w *world) request {
			s := goodSigner()
			edit(&s)
			return s.sign(w, "GenerateRandom", body)
		})
	}
	edited := func(input, reason string, edit func(*request)) row {
		return made(input, reason, func(w *world) request {
			r := goodSigner().sign(w, "GenerateRandom", body)
			edit(&r)
			return r
		})
	}
	header := func(r *request, name, value string) {
		for i, h := range r.header {
			if strings.HasPrefix(strings.ToLower(h), strings.ToLower(name)+":") {
				r.header[i] = name + ": " + value
			}
		}
	}
	large := strings.Repeat(" ", 256<<10)
	return []row{
		{input: "method GET", request: request{method: "GET", target: "/"}, status: 400, reason: "UnknownOperationException"},
		{input: "method HEAD", request: request{method: "HEAD", target: "/"}, status: 400, reason: "–"},
		{input: "another path", request: request{method: "POST", target: "/CANARY", header: []string{"X-Amz-Target: TrentService.Decrypt"}, body: "{}"}, status: 400, reason: "UnknownOperationException"},
		{input: "no signature", request: request{method: "POST", target: "/", header: []string{"X-Amz-Target: TrentService.Decrypt"}, body: `{"a":"CANARY"}`}, status: 400, reason: "MissingAuthenticationTokenException"},
		{input: "no signature, and an operation that is not there, of 20 KiB", request: request{method: "POST", target: "/", header: []string{"X-Amz-Target: TrentService.CANARY" + strings.Repeat("x", 20<<10)}, body: "{}"}, status: 400, reason: "MissingAuthenticationTokenException"},
		{input: "another scheme of authorization", request: request{method: "POST", target: "/", header: []string{"Authorization: Bearer CANARY"}, body: "{}"}, status: 400, reason: "MissingAuthenticationTokenException"},
		{input: "an authorization that is cut off", request: request{method: "POST", target: "/", header: []string{"Authorization: AWS4-HMAC-SHA256 Credential=CANARY"}, body: "{}"}, status: 400, reason: "IncompleteSignatureException"},
		edited("no date", "IncompleteSignatureException", func(r *request) { header(r, "X-Amz-Date", "") }),
		edited("a date of another day than the credential's", "IncompleteSignatureException", func(r *request) { header(r, "X-Amz-Date", "20200101T000000Z") }),
		edited("another body than was signed", "InvalidSignatureException", func(r *request) { r.body = `{"NumberOfBytes":32}` }),
		edited("another operation than was signed", "InvalidSignatureException", func(r *request) { header(r, "X-Amz-Target", "TrentService.CreateKey") }),
		edited("another query than was signed", "InvalidSignatureException", func(r *request) { r.target = "/?CANARY" }),
		edited("another Host than was signed", "InvalidSignatureException", func(r *request) { r.host = "CANARY.example" }),
		edited("another token than was signed", "UnrecognizedClientException", func(r *request) { header(r, "X-Amz-Security-Token", "CANARY") }),
		edited("a signature that does not cover the operation", "InvalidSignatureException", func(r *request) {
			for i := range r.header {
				r.header[i] = strings.ReplaceAll(r.header[i], ";x-amz-target", "")
			}
		}),
		signed("a wrong secret key", "InvalidSignatureException", func(s *signer) { s.secret = "CANARY" }),
		signed("an unknown access key", "UnrecognizedClientException", func(s *signer) { s.id = "AKIDCANARY" }),
		signed("no session token", "UnrecognizedClientException", func(s *signer) { s.token = "" }),
		signed("expired credentials", "ExpiredTokenException", func(s *signer) { s.id, s.token = "AKIDEXPIRED", "" }),
		signed("another region", "InvalidSignatureException", func(s *signer) { s.region = "eu-west-1" }),
		signed("another service", "InvalidSignatureException", func(s *signer) { s.service = "s3" }),
		signed("a signature of an hour ago", "InvalidSignatureException", func(s *signer) { s.at = s.at.Add(-time.Hour) }),
		signed("a signature of the year 2099", "InvalidSignatureException", func(s *signer) { s.at = s.at.AddDate(73, 0, 0) }),
		{input: "an operation that is not there", status: 400, reason: "UnknownOperationException", request: request{method: "POST"}, made: func(w *world, canary string) request {
			return goodSigner().sign(w, canary, body)
		}},
		made("an operation in lower case", "UnknownOperationException", func(w *world) request {
			return goodSigner().sign(w, "decrypt", body)
		}),
		{input: "a body over 256 KiB", status: 400, reason: "ValidationException", request: request{method: "POST"}, made: func(w *world, _ string) request {
			return goodSigner().sign(w, "GenerateRandom", body+large)
		}, ends: true},
		{input: "a chunked body over 256 KiB", status: 400, reason: "ValidationException", request: request{method: "POST", target: "/", header: []string{"Transfer-Encoding: chunked"}, unsized: true, body: fmt.Sprintf("%x\r\n%s \r\n0\r\n\r\n", len(large)+1, large)}, ends: true},
		{input: "a body that is cut off", status: 400, reason: "ValidationException", request: request{method: "POST", target: "/", header: []string{"Content-Length: 100"}, unsized: true, body: "CANARY", cut: true}, ends: true},
	}
}

// operation is one of KMS's with its bad inputs.
type operation struct {
	name string
	bad  []badInput
}

type badInput struct{ input, body, reason string }

func (o operation) rows() (rows []row) {
	for _, b := range o.bad {
		rows = append(rows, kmsRow(o.name, b.input, b.body, b.reason))
	}
	return rows
}

// policyOf is a JSON string of a key policy.
func policyOf(policy string) string {
	b, err := json.Marshal(policy)
	if err != nil {
		return ""
	}
	return string(b)
}

// deep is more than any parser should follow.
var deep = strings.Repeat("[", 20000) + strings.Repeat("]", 20000)

// recipientOf is a Recipient with a document.
func recipientOf(document, algorithm string) string {
	return `"Recipient":{"KeyEncryptionAlgorithm":"` + algorithm + `","AttestationDocument":"` + document + `"}`
}

const (
	serialization = "SerializationException"
	validation    = "ValidationException"
	notFound      = "NotFoundException"
	denied        = "AccessDeniedException"
	usage         = "InvalidKeyUsageException"
	unsupported   = "UnsupportedOperationException"
	oaep          = "RSAES_OAEP_SHA_256"
)

var kmsOperations = []operation{
	{"CreateAlias", []badInput{
		{"no key", `{"AliasName":"alias/CANARY"}`, notFound},
		{"no name", `{"TargetKeyId":"$KEY"}`, "InvalidAliasNameException"},
		{"a name without alias/", `{"AliasName":"CANARY","TargetKeyId":"$KEY"}`, "InvalidAliasNameException"},
		{"a name of AWS's", `{"AliasName":"alias/aws/CANARY","TargetKeyId":"$KEY"}`, "InvalidAliasNameException"},
		{"a name that is taken", `{"AliasName":"alias/questions","TargetKeyId":"$OTHER"}`, "AlreadyExistsException"},
		{"a name with spaces and control characters", `{"AliasName":"alias/CANARY \u0000\n","TargetKeyId":"$KEY"}`, "InvalidAliasNameException"},
		{"a name of 257 bytes", `{"AliasName":"alias/` + strings.Repeat("x", 251) + `","TargetKeyId":"$KEY"}`, "InvalidAliasNameException"},
		{"a key of nobody's", `{"AliasName":"alias/CANARY","TargetKeyId":"$CLOSED"}`, denied},
		{"an unknown member", `{"AliasName":"alias/CANARY","TargetKeyId":"$KEY","Tag":1}`, serialization},
	}},
	{"CreateKey", []badInput{
		{"an empty body", ``, serialization},
		{"null in place of an object", `null`, serialization},
		{"a policy that is no JSON", `{"Policy":"CANARY"}`, "MalformedPolicyDocumentException"},
		{"a policy with a condition that this server does not know", `{"Policy":` + policyOf(strings.Replace(everything, `"Resource":"*"`, `"Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`, 1)) + `}`, "MalformedPolicyDocumentException"},
		{"an object as the policy", `{"Policy":{"a":"CANARY"}}`, serialization},
		{"an unknown spec", `{"KeySpec":"CANARY"}`, unsupported},
		{"a usage that is not the spec's", `{"KeySpec":"ECC_NIST_P256","KeyUsage":"ENCRYPT_DECRYPT"}`, validation},
	}},
	{"Decrypt", []badInput{
		{"no JSON", `CANARY`, serialization},
		{"20,000 nested arrays", `{"CiphertextBlob":` + deep + `}`, serialization},
		{"data behind the object", `{} {"a":"CANARY"}`, serialization},
		{"an empty object", `{}`, validation},
		{"a ciphertext that is no base64", `{"CiphertextBlob":"CANARY!"}`, serialization},
		{"a ciphertext of 6145 bytes", `{"CiphertextBlob":"` + b64(make([]byte, 6145)) + `"}`, validation},
		{"a ciphertext of one byte", `{"CiphertextBlob":"AQ=="}`, "InvalidCiphertextException"},
		{"a ciphertext of nobody's", `{"CiphertextBlob":"$FOREIGN"}`, "InvalidCiphertextException"},
		{"a ciphertext that names a key for key agreement", `{"CiphertextBlob":"$OFAGREEMENT"}`, "InvalidCiphertextException"},
		{"another key than the ciphertext's", `{"CiphertextBlob":"$CIPHERTEXT","KeyId":"$OTHER"}`, "IncorrectKeyException"},
		{"a key that is not there", `{"CiphertextBlob":"$CIPHERTEXT","KeyId":"CANARY"}`, notFound},
		{"another encryption context", `{"CiphertextBlob":"$CIPHERTEXT","EncryptionContext":{"a":"CANARY"}}`, "InvalidCiphertextException"},
		{"an encryption context with numbers", `{"CiphertextBlob":"$CIPHERTEXT","EncryptionContext":{"a":1}}`, serialization},
		{"an encryption context with two names that differ in case only", `{"CiphertextBlob":"$CIPHERTEXT","EncryptionContext":{"a":"CANARY","A":"b"}}`, validation},
		{"an asymmetric algorithm", `{"CiphertextBlob":"$CIPHERTEXT","EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, usage},
		{"a recipient without a document", `{"CiphertextBlob":"$CIPHERTEXT",` + recipientOf("", oaep) + `}`, validation},
		{"a recipient whose document is none", `{"CiphertextBlob":"$CIPHERTEXT",` + recipientOf("$FOREIGN", oaep) + `}`, validation},
		{"a recipient with OAEP of SHA-1", `{"CiphertextBlob":"$CIPHERTEXT",` + recipientOf("$DOCUMENT", "RSAES_OAEP_SHA_1") + `}`, validation},
		{"a grant", `{"CiphertextBlob":"$CIPHERTEXT","GrantTokens":["CANARY"]}`, "InvalidGrantTokenException"},
		{"a dry run", `{"CiphertextBlob":"$CIPHERTEXT","DryRun":true}`, "DryRunOperationException"},
	}},
	{"DeriveSharedSecret", []badInput{
		{"no algorithm", `{"KeyId":"$AGREEMENT","PublicKey":"$FOREIGN"}`, validation},
		{"a key for encryption", `{"KeyId":"$KEY","KeyAgreementAlgorithm":"ECDH","PublicKey":"$FOREIGN"}`, usage},
		{"no public key", `{"KeyId":"$AGREEMENT","KeyAgreementAlgorithm":"ECDH"}`, validation},
		{"an RSA key", `{"KeyId":"$AGREEMENT","KeyAgreementAlgorithm":"ECDH","PublicKey":"$RSA"}`, validation},
		{"a key that is not there", `{"KeyId":"CANARY","KeyAgreementAlgorithm":"ECDH"}`, notFound},
	}},
	{"DescribeKey", []badInput{
		{"no key", `{}`, notFound},
		{"a key that is not there", `{"KeyId":"CANARY"}`, notFound},
		{"a key that is a number", `{"KeyId":5}`, serialization},
		{"another region's ARN", `{"KeyId":"arn:aws:kms:eu-west-1:111122223333:key/CANARY"}`, notFound},
		{"a key of nobody's", `{"KeyId":"$CLOSED"}`, denied},
	}},
	{"Encrypt", []badInput{
		{"no plaintext", `{"KeyId":"$KEY"}`, validation},
		{"a plaintext of 4097 bytes", `{"KeyId":"$KEY","Plaintext":"` + b64(make([]byte, 4097)) + `"}`, validation},
		{"a plaintext that is no base64", `{"KeyId":"$KEY","Plaintext":"CANARY!"}`, serialization},
		{"a key that is not there", `{"KeyId":"alias/CANARY","Plaintext":"$FOREIGN"}`, notFound},
		{"a key for key agreement", `{"KeyId":"$AGREEMENT","Plaintext":"$FOREIGN"}`, usage},
		{"a key of nobody's", `{"KeyId":"$CLOSED","Plaintext":"$FOREIGN"}`, denied},
	}},
	{"GenerateDataKey", []badInput{
		{"neither spec nor size", `{"KeyId":"$KEY"}`, validation},
		{"both spec and size", `{"KeyId":"$KEY","KeySpec":"AES_256","NumberOfBytes":32}`, validation},
		{"an unknown spec", `{"KeyId":"$KEY","KeySpec":"CANARY"}`, validation},
		{"a negative size", `{"KeyId":"$KEY","NumberOfBytes":-1}`, validation},
		{"a size of 2^62", `{"KeyId":"$KEY","NumberOfBytes":4611686018427387904}`, validation},
		{"a size of 1.5", `{"KeyId":"$KEY","NumberOfBytes":1.5}`, serialization},
		{"a key for key agreement", `{"KeyId":"$AGREEMENT","KeySpec":"AES_256"}`, usage},
	}},
	{"GenerateDataKeyPair", []badInput{
		{"no spec", `{"KeyId":"$KEY"}`, unsupported},
		{"an unknown spec", `{"KeyId":"$KEY","KeyPairSpec":"CANARY"}`, unsupported},
		{"a key for key agreement", `{"KeyId":"$AGREEMENT","KeyPairSpec":"ECC_NIST_P256"}`, usage},
		{"a recipient whose document is none", `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P256",` + recipientOf("$FOREIGN", oaep) + `}`, validation},
	}},
	{"GenerateDataKeyPairWithoutPlaintext", []badInput{
		{"an unknown spec", `{"KeyId":"$KEY","KeyPairSpec":"CANARY"}`, unsupported},
		{"a recipient, which it does not have", `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P256",` + recipientOf("$DOCUMENT", oaep) + `}`, serialization},
	}},
	{"GenerateDataKeyWithoutPlaintext", []badInput{
		{"neither spec nor size", `{"KeyId":"$KEY"}`, validation},
		{"a recipient, which it does not have", `{"KeyId":"$KEY","KeySpec":"AES_256",` + recipientOf("$DOCUMENT", oaep) + `}`, serialization},
	}},
	{"GenerateRandom", []badInput{
		{"no size", `{}`, validation},
		{"a size of 1025", `{"NumberOfBytes":1025}`, validation},
		{"a negative size", `{"NumberOfBytes":-1}`, validation},
		{"a size over 64 bits", `{"NumberOfBytes":99999999999999999999}`, serialization},
		{"a key store, which this server does not have", `{"NumberOfBytes":1,"CustomKeyStoreId":"CANARY"}`, serialization},
	}},
	{"GetKeyPolicy", []badInput{
		{"a key that is not there", `{"KeyId":"CANARY"}`, notFound},
		{"another policy than default", `{"KeyId":"$KEY","PolicyName":"CANARY"}`, notFound},
		{"a key of nobody's", `{"KeyId":"$CLOSED"}`, denied},
	}},
	{"GetPublicKey", []badInput{
		{"a symmetric key", `{"KeyId":"$KEY"}`, unsupported},
		{"a key that is not there", `{"KeyId":"CANARY"}`, notFound},
	}},
	{"ListAliases", []badInput{
		{"a limit of -1", `{"Limit":-1}`, validation},
		{"a marker of nobody's", `{"Marker":"CANARY"}`, "InvalidMarkerException"},
		{"a key that is not there", `{"KeyId":"CANARY"}`, notFound},
	}},
	{"ListKeys", []badInput{
		{"a limit of 1001", `{"Limit":1001}`, validation},
		{"a marker of nobody's", `{"Marker":"CANARY"}`, "InvalidMarkerException"},
		{"an array in place of an object", `["CANARY"]`, serialization},
	}},
	{"PutKeyPolicy", []badInput{
		{"no policy", `{"KeyId":"$OTHER"}`, "MalformedPolicyDocumentException"},
		{"a policy that is no JSON", `{"KeyId":"$OTHER","Policy":"CANARY"}`, "MalformedPolicyDocumentException"},
		{"a policy over 32 KiB", `{"KeyId":"$OTHER","Policy":"` + strings.Repeat(" ", 33<<10) + `"}`, "MalformedPolicyDocumentException"},
		{"another name than default", `{"KeyId":"$OTHER","PolicyName":"CANARY","Policy":` + policyOf(everything) + `}`, notFound},
		{"a key of nobody's", `{"KeyId":"$CLOSED","Policy":` + policyOf(everything) + `}`, denied},
	}},
	{"ReEncrypt", []badInput{
		{"no ciphertext", `{"DestinationKeyId":"$OTHER"}`, validation},
		{"a ciphertext of nobody's", `{"CiphertextBlob":"$FOREIGN","DestinationKeyId":"$OTHER"}`, "InvalidCiphertextException"},
		{"a ciphertext that names a key for key agreement", `{"CiphertextBlob":"$OFAGREEMENT","DestinationKeyId":"$OTHER"}`, "InvalidCiphertextException"},
		{"no destination", `{"CiphertextBlob":"$CIPHERTEXT"}`, notFound},
		{"a destination for key agreement", `{"CiphertextBlob":"$CIPHERTEXT","DestinationKeyId":"$AGREEMENT"}`, usage},
		{"a destination of nobody's", `{"CiphertextBlob":"$CIPHERTEXT","DestinationKeyId":"$CLOSED"}`, denied},
		{"another source key", `{"CiphertextBlob":"$CIPHERTEXT","SourceKeyId":"$OTHER","DestinationKeyId":"$OTHER"}`, "IncorrectKeyException"},
	}},
}
