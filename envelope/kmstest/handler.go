package kmstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
)

// maxBody bounds a request, in bytes: a key policy of 32 KiB escaped in JSON.
const maxBody = 256 << 10

// apiError is an error in AWS's form: a code, which SDKs turn into a type, and
// a message for people.
type apiError struct{ code, message string }

func (e apiError) Error() string { return "kmstest: " + e.code + ": " + e.message }

// Handler serves the AWS JSON 1.1 protocol of KMS: POST / with the operation
// in X-Amz-Target.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", newUUID())
	// SDKs correct their clocks by it.
	w.Header().Set("Date", s.opts.Clock().UTC().Format(http.TimeFormat))
	op, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	reply, caller, err := s.handle(r, op, w)
	outcome := "ok"
	if err != nil {
		var e apiError
		if !errors.As(err, &e) {
			e = apiError{"KMSInternalException", "the server failed"}
		}
		outcome = e.code
		status := http.StatusBadRequest
		if e.code == "KMSInternalException" {
			status = http.StatusInternalServerError
		}
		w.Header().Set("X-Amzn-Errortype", e.code)
		write(w, status, map[string]string{"__type": e.code, "message": e.message})
	} else {
		write(w, http.StatusOK, reply)
	}
	if operations[op] == nil {
		op = "unknown" // what anybody may write does not belong into a log
	}
	s.opts.Logger.Info("kms", "operation", op, "principal", caller, "outcome", outcome)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// handle authenticates, decodes and does one operation.
func (s *Server) handle(r *http.Request, op string, w http.ResponseWriter) (reply any, caller string, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return nil, "", apiError{"UnknownOperationException", "requests are POST /"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, "", apiError{"ValidationException", "the request is too large or was cut off"}
	}
	p, err := s.authenticate(r, body)
	if err != nil {
		return nil, "", err
	}
	do, ok := operations[op]
	if !ok {
		return nil, p.ARN, apiError{"UnknownOperationException", "this server does not know the operation"}
	}
	reply, err = do(s, &call{principal: p, op: op}, body)
	return reply, p.ARN, err
}

// call is one operation under way.
type call struct {
	principal *Principal
	op        string
	document  *attest.Document // of the recipient, if there is one
}

// operations by name. Each decodes its own input.
var operations = map[string]func(*Server, *call, []byte) (any, error){
	"CreateAlias":                         typed((*Server).createAlias),
	"CreateKey":                           typed((*Server).createKey),
	"Decrypt":                             typed((*Server).decrypt),
	"DeriveSharedSecret":                  typed((*Server).deriveSharedSecret),
	"DescribeKey":                         typed((*Server).describeKey),
	"Encrypt":                             typed((*Server).encrypt),
	"GenerateDataKey":                     typed((*Server).generateDataKey),
	"GenerateDataKeyPair":                 typed((*Server).generateDataKeyPair),
	"GenerateDataKeyPairWithoutPlaintext": typed((*Server).generateDataKeyPairWithoutPlaintext),
	"GenerateDataKeyWithoutPlaintext":     typed((*Server).generateDataKeyWithoutPlaintext),
	"GenerateRandom":                      typed((*Server).generateRandom),
	"GetKeyPolicy":                        typed((*Server).getKeyPolicy),
	"GetPublicKey":                        typed((*Server).getPublicKey),
	"ListAliases":                         typed((*Server).listAliases),
	"ListKeys":                            typed((*Server).listKeys),
	"PutKeyPolicy":                        typed((*Server).putKeyPolicy),
	"ReEncrypt":                           typed((*Server).reEncrypt),
}

// modifiers are members that all operations with keys' material have.
type modifiers struct {
	GrantTokens []string
	DryRun      bool
}

func (m *modifiers) get() *modifiers { return m }

// typed decodes the JSON input of an operation. Members that this server does
// not know are an error, so that none is silently ignored.
func typed[In any](do func(*Server, *call, *In) (any, error)) func(*Server, *call, []byte) (any, error) {
	return func(s *Server, c *call, body []byte) (any, error) {
		var in In
		if decodeStrict(body, &in) != nil {
			return nil, apiError{"SerializationException", "the input is no JSON of this operation, or has a member that this server does not know"}
		}
		m, ok := any(&in).(interface{ get() *modifiers })
		if ok && len(m.get().GrantTokens) > 0 {
			return nil, apiError{"InvalidGrantTokenException", "this server has no grants"}
		}
		reply, err := do(s, c, &in)
		if ok && m.get().DryRun && err == nil {
			return nil, apiError{"DryRunOperationException", "the request would have succeeded, but DryRun is set"}
		}
		return reply, err
	}
}

// decodeStrict decodes one JSON value, not null, whose members are all known. As
// in encoding/json, the case of names does not matter and the last of two counts.
func decodeStrict(b []byte, v any) error {
	if bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		return errors.New("null") // which the decoder takes for anything
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("data after the JSON value")
	}
	return nil
}
