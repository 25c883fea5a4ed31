package wire

import "github.com/nitroseal/nitroseal/envelope"

// RequestContext is the encryption context of a question: KMS opens it for
// this direction, and for this request of the session, only. A key policy can
// tell directions apart by kms:EncryptionContext:direction.
func RequestContext(requestID string) envelope.EncryptionContext {
	return envelope.EncryptionContext{
		"app":       "nitroseal-chatbot",
		"direction": "request",
		"request":   requestID,
	}
}
