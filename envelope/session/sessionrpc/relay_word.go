package sessionrpc

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// word says how a request ended. It is all that a parent tells about a failure:
// a fixed word with a fixed text, and nothing that an enclave or a connection
// said otherwise.
type word string

const (
	wordOK         word = "ok"
	wordClientGone word = "client_gone" // nobody is there to be told
	wordBadRequest word = "bad_request"
	wordMethod     word = "method_not_allowed"
	wordTooLarge   word = "too_large"
	wordKeyUnknown word = "key_unknown"
	wordNotReached word = "enclave_unavailable"
	wordOverloaded word = "overloaded"
	wordDeadline   word = "deadline_exceeded"
	wordInternal   word = "internal"
)

// wordInfo is what goes with a word: an HTTP status, a text for people, and how
// many seconds to wait before it is worth trying again, or 0.
type wordInfo struct {
	status     int
	text       string
	retryAfter int
}

// words has every word that a client can be told. Those of refusals are in here.
var words = map[word]wordInfo{
	wordClientGone:    {499, "the client went away", 0},
	wordBadRequest:    {http.StatusBadRequest, "the request is not of the documented form", 0},
	wordMethod:        {http.StatusMethodNotAllowed, "the request must be a POST", 0},
	wordTooLarge:      {http.StatusRequestEntityTooLarge, "the request is larger than the parent takes", 0},
	wordKeyUnknown:    {http.StatusConflict, "no enclave here has the key that the request is sealed to: attest again", 0},
	"stale_request":   {http.StatusBadRequest, "the request is older, or newer, than the enclave takes", 0},
	"replayed":        {http.StatusConflict, "the enclave has opened this request before", 0},
	"not_opened":      {http.StatusBadRequest, "the enclave cannot open this request", 0},
	"nsm_unavailable": {http.StatusServiceUnavailable, "the enclave's security module gives no attestation", 1},
	wordNotReached:    {http.StatusServiceUnavailable, "no enclave can be reached", 1},
	wordOverloaded:    {http.StatusTooManyRequests, "the enclave has more requests than it takes", 1},
	wordDeadline:      {http.StatusGatewayTimeout, "no answer within the deadline", 0},
	wordInternal:      {http.StatusInternalServerError, "the server failed", 0},
}

// wordFor translates the error of a call. An enclave gives its reason as the
// error's message; what the transport itself reports has only a code.
func wordFor(err error) word {
	if e, ok := errors.AsType[*vsockrpc.Error](err); ok && refusalOf(e.Message) != nil {
		return word(e.Message)
	}
	switch vsockrpc.CodeOf(err) {
	case vsockrpc.Unavailable, vsockrpc.Canceled:
		return wordNotReached
	case vsockrpc.DeadlineExceeded:
		return wordDeadline
	case vsockrpc.ResourceExhausted:
		return wordOverloaded
	}
	return wordInternal
}

// wordForPinned is wordFor of a call that only one enclave can answer. If that
// is gone, and certainly has not seen the request, its keys are gone, too.
func wordForPinned(err error) word {
	if vsockrpc.Unprocessed(err) && vsockrpc.CodeOf(err) == vsockrpc.Unavailable {
		return wordKeyUnknown
	}
	return wordFor(err)
}

// refuse answers with a word.
func (x *exchange) refuse(code word) {
	info := words[code]
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	if info.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(info.retryAfter))
	}
	x.header(info.status)
	var body struct {
		Error struct {
			Code    word   `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = code, info.text
	json.NewEncoder(x.w).Encode(body) // to a client that may be gone
}
