package wire

import "net/http"

// Reason says why a question got no answer. It is the only thing about a
// failure that leaves the enclave: a fixed word from the table below, never
// the text of an inner error, which could repeat what must stay inside.
//
// A Reason is an error, so errors.Is(err, wire.ReasonKMSDenied) works on what
// chat.Client returns.
type Reason string

// The reasons, in the order in which a request meets them.
const (
	ReasonBadRequest     Reason = "bad_request"
	ReasonTooLarge       Reason = "too_large"
	ReasonParent         Reason = "parent_unavailable"
	ReasonCertificate    Reason = "parent_certificate"
	ReasonUnavailable    Reason = "enclave_unavailable"
	ReasonDeadline       Reason = "deadline_exceeded"
	ReasonOverloaded     Reason = "overloaded"
	ReasonRateLimited    Reason = "rate_limited"
	ReasonNotReady       Reason = "not_ready"
	ReasonNSM            Reason = "nsm_unavailable"
	ReasonKeyUnknown     Reason = "key_unknown"
	ReasonReplayed       Reason = "replayed"
	ReasonStale          Reason = "stale_request"
	ReasonForm           Reason = "form_refused"
	ReasonKMSDenied      Reason = "kms_access_denied"
	ReasonCredentials    Reason = "credentials_refused"
	ReasonCiphertext     Reason = "ciphertext_refused"
	ReasonKMSUnavailable Reason = "kms_unavailable"
	ReasonQuestion       Reason = "bad_question"
	ReasonPromptTooLong  Reason = "prompt_too_long"
	ReasonInternal       Reason = "internal"
)

type reasonInfo struct {
	text   string
	status int
}

var reasons = map[Reason]reasonInfo{
	ReasonBadRequest:     {"the request is not of the documented form", http.StatusBadRequest},
	ReasonTooLarge:       {"the request is larger than the server takes", http.StatusRequestEntityTooLarge},
	ReasonUnavailable:    {"the enclave cannot be reached", http.StatusServiceUnavailable},
	ReasonDeadline:       {"no answer within the deadline", http.StatusGatewayTimeout},
	ReasonOverloaded:     {"the enclave has more questions waiting than it takes; try again", http.StatusTooManyRequests},
	ReasonRateLimited:    {"this client asks more often than the parent lets it; try again later", http.StatusTooManyRequests},
	ReasonNotReady:       {"the service is starting or stopping; try again", http.StatusServiceUnavailable},
	ReasonNSM:            {"the enclave's security module gives no attestation", http.StatusServiceUnavailable},
	ReasonKeyUnknown:     {"the enclave does not have the key that the question is sealed to: it was replaced, or the key has expired", http.StatusConflict},
	ReasonReplayed:       {"the enclave has opened this request before", http.StatusConflict},
	ReasonStale:          {"the request is older, or newer, than the enclave takes: are the clocks right?", http.StatusBadRequest},
	ReasonForm:           {"the enclave does not take questions in this form: signed for its own KMS key, unless it was told to take others", http.StatusBadRequest},
	ReasonParent:         {"the parent cannot be reached", http.StatusServiceUnavailable},
	ReasonCertificate:    {"the parent's TLS certificate is not accepted", http.StatusBadGateway},
	ReasonKMSDenied:      {"KMS answered AccessDeniedException to the enclave: the key policy does not allow these credentials together with this enclave's PCRs", http.StatusForbidden},
	ReasonCredentials:    {"KMS refused the credentials that the question came with or was signed with: unknown, expired or wrongly signed", http.StatusForbidden},
	ReasonCiphertext:     {"KMS refused the ciphertext: not made under this key for this request", http.StatusBadRequest},
	ReasonKMSUnavailable: {"the enclave got no usable answer from KMS", http.StatusBadGateway},
	ReasonQuestion:       {"the decrypted question is not of the documented form", http.StatusBadRequest},
	ReasonPromptTooLong:  {"the question has more tokens than the model's context holds", http.StatusRequestEntityTooLarge},
	ReasonInternal:       {"the server failed", http.StatusInternalServerError},
}

func (r Reason) info() reasonInfo {
	if i, ok := reasons[r]; ok {
		return i
	}
	return reasons[ReasonInternal]
}

// Error gives the reason's fixed text.
func (r Reason) Error() string { return r.info().text }

// HTTPStatus is the status under which the parent reports r.
func (r Reason) HTTPStatus() int { return r.info().status }

// ParseReason returns the reason that s names; an unknown one is
// ReasonInternal, so that text from a peer is never passed on.
func ParseReason(s string) Reason {
	if _, ok := reasons[Reason(s)]; ok {
		return Reason(s)
	}
	return ReasonInternal
}
