package openai

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// The types of errors, as OpenAI names them. Client libraries go by the status;
// typeUntrusted is this package's own.
const (
	typeRequest    = "invalid_request_error"
	typePermission = "permission_error"
	typeRate       = "rate_limit_error"
	typeServer     = "server_error"
	typeUntrusted  = "enclave_untrusted"
)

// apiError is a failure as the client is told of it. No field holds the text of
// an inner error. message and param may name what the client itself sent, so
// only code, which comes from a fixed set, goes into logs.
type apiError struct {
	status  int
	kind    string
	code    string
	param   string
	message string
	// retryAfter, in seconds, is told to the client unless it is 0.
	retryAfter int
	// final tells client libraries, which try again by themselves after some
	// statuses, that it would be in vain.
	final bool
}

// MarshalJSON gives OpenAI's shape, in which what is not known is null.
func (e *apiError) MarshalJSON() ([]byte, error) {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	b := body{Message: e.message, Type: e.kind, Code: e.code}
	if e.param != "" {
		b.Param = &e.param
	}
	return json.Marshal(struct {
		Error body `json:"error"`
	}{b})
}

// write sends e as a whole response.
func (e *apiError) write(w http.ResponseWriter) {
	body, err := e.MarshalJSON()
	if err != nil {
		body = []byte(`{"error":{}}`) // not reached: all fields are strings
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	if e.final {
		h.Set("X-Should-Retry", "false")
	}
	w.WriteHeader(e.status)
	w.Write(body)
}

// badRequest is an error of the client's own.
func badRequest(code, param, message string) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: typeRequest, code: code, param: param, message: message}
}
