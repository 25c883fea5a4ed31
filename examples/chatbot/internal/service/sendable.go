package service

import (
	"strings"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// unsendable says why a request to KMS cannot be made of what a client sent, or
// "". Found out while sending, it would look as if KMS could not be reached.
func unsendable(d session.Data) wire.Reason {
	if d.Signed != nil {
		for name, value := range d.Signed.Header {
			if name == "" || strings.ContainsFunc(name+value, notPrintable) {
				return wire.ReasonForm
			}
		}
	}
	if c := d.Credentials; c != nil {
		if c.AccessKeyID == "" || c.SecretAccessKey == "" || strings.ContainsFunc(c.AccessKeyID+c.SecretAccessKey+c.SessionToken, notPrintable) {
			return wire.ReasonCredentials
		}
	}
	return ""
}

// notPrintable reports whether r is not of the ASCII that a header can have.
func notPrintable(r rune) bool { return r < ' ' || r > '~' }
