package chat

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// ofParent reports whether err is that the parent's TLS certificate was not
// accepted. Certificates of KMS are not meant.
func ofParent(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok && errors.Is(err, sessionrpc.ErrUnreachable)
}

// CertificateFault says in fixed words why the parent's TLS certificate was not
// accepted, if err tells, or else nothing. Nothing that stands in the certificate
// is repeated: anybody may have written it.
func CertificateFault(err error) string {
	if !errors.Is(err, wire.ReasonCertificate) || !ofParent(err) {
		return ""
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "it has expired or is not yet valid, by this machine's clock"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "it is of an authority that this machine does not know"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "it is for another name than that of the URL"
	}
	return "it cannot be verified"
}
