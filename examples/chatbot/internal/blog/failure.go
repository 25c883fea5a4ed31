package blog

import (
	"errors"
	"net/http"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// KMSFailure is the text with which the original answers a question that KMS
// did not decrypt.
const KMSFailure = "KMS Error. Decryption Failed."

// failure is the fixed text that tells why a request got no answer. Nothing
// else about it leaves the enclave: the text of an inner error could repeat
// what must stay inside.
type failure string

func (f failure) Error() string { return string(f) }

// The failures, in the order in which a request meets them. failKMS is a reply
// and has no code.
const (
	failPath        failure = "there is nothing here; POST / takes questions"
	failMethod      failure = "POST is the only method"
	failTooLarge    failure = "the request is larger than the server takes"
	failRequest     failure = "the request is not of the documented form"
	failUnreachable failure = "the enclave cannot be reached"
	failRegion      failure = "the enclave serves another AWS region"
	failKMS         failure = KMSFailure
	failQuestion    failure = "the question is not text that the model takes"
	failTooLong     failure = "the question is too long for the model"
	failOverloaded  failure = "the enclave has more questions waiting than it takes; try again"
	failModel       failure = "the model is not available"
	failEncrypt     failure = "the enclave could not encrypt the answer with KMS"
	failDeadline    failure = "no answer within the deadline"
	failInternal    failure = "the server failed"
)

type failureInfo struct {
	code   vsockrpc.Code // from the enclave
	status int           // from the parent
}

var failures = map[failure]failureInfo{
	failPath:        {vsockrpc.NotFound, http.StatusNotFound},
	failMethod:      {vsockrpc.Unimplemented, http.StatusMethodNotAllowed},
	failTooLarge:    {vsockrpc.InvalidArgument, http.StatusRequestEntityTooLarge},
	failRequest:     {vsockrpc.InvalidArgument, http.StatusBadRequest},
	failUnreachable: {vsockrpc.Unavailable, http.StatusServiceUnavailable},
	failRegion:      {vsockrpc.InvalidArgument, http.StatusBadRequest},
	failQuestion:    {vsockrpc.InvalidArgument, http.StatusBadRequest},
	failTooLong:     {vsockrpc.InvalidArgument, http.StatusRequestEntityTooLarge},
	failOverloaded:  {vsockrpc.ResourceExhausted, http.StatusTooManyRequests},
	failModel:       {vsockrpc.Unavailable, http.StatusServiceUnavailable},
	failEncrypt:     {vsockrpc.Unavailable, http.StatusBadGateway},
	failDeadline:    {vsockrpc.DeadlineExceeded, http.StatusGatewayTimeout},
	failInternal:    {vsockrpc.Internal, http.StatusInternalServerError},
}

// rpc is the error that the enclave's handler returns for f.
func (f failure) rpc() error {
	return &vsockrpc.Error{Code: failures[f].code, Message: string(f)}
}

// failureOf translates the error of a call to the enclave. The enclave gives
// its failure in the error's message, and a text that is not in the table is
// not passed on; what the transport reports has only a code.
func failureOf(err error) failure {
	var e *vsockrpc.Error
	if errors.As(err, &e) {
		if _, known := failures[failure(e.Message)]; known {
			return failure(e.Message)
		}
	}
	switch vsockrpc.CodeOf(err) {
	case vsockrpc.Unavailable:
		return failUnreachable
	case vsockrpc.DeadlineExceeded, vsockrpc.Canceled:
		return failDeadline
	case vsockrpc.ResourceExhausted:
		return failOverloaded
	}
	return failInternal
}
