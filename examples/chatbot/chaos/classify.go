package main

import (
	"context"
	"errors"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// class is one word for why a question got no answer: a wire.Reason's own, or
// one of those below for what a client finds out by itself.
type class string

// What a client finds out by itself.
const (
	cancelled         class = "cancelled"
	truncated         class = "answer truncated"
	forged            class = "segment not authentic"
	disordered        class = "segment out of order"
	oversized         class = "segment too large"
	malformed         class = "attestation malformed"
	badConfig         class = "key configuration not attested"
	configExpired     class = "key configuration expired"
	documentExpired   class = "attestation expired"
	documentUntrusted class = "attestation not trusted"
	policyUnmet       class = "enclave policy not met"
	anotherKey        class = "another KMS key"
	ownKMSDenied      class = "own KMS call denied"
	ownKMS            class = "own KMS call failed"

	// untyped is never allowed: the caller could not tell what to do.
	untyped class = "UNTYPED"
)

// sentinels are looked for in this order: the first that an error is names it.
var sentinels = []struct {
	err   error
	class class
}{
	{context.Canceled, cancelled},
	{session.ErrTruncated, truncated},
	{session.ErrSegment, forged},
	{session.ErrOrder, disordered},
	{session.ErrTooLarge, oversized},
	{session.ErrMalformed, malformed},
	{session.ErrConfigExpired, configExpired},
	{session.ErrConfig, badConfig},
	{attest.ErrExpired, documentExpired},
	{attest.ErrUntrusted, documentUntrusted},
	{attest.ErrPolicy, policyUnmet},
	{chat.ErrKey, anotherKey},
	{envelope.ErrDenied, ownKMSDenied},
}

// classify names an error of chat.Client.Ask.
func classify(err error) class {
	if reason, ok := errors.AsType[wire.Reason](err); ok {
		return class(reason)
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.class
		}
	}
	if _, ok := errors.AsType[*envelope.KMSError](err); ok {
		return ownKMS
	}
	return untyped
}

// of makes a class of each reason.
func of(reasons ...wire.Reason) []class {
	var all []class
	for _, r := range reasons {
		all = append(all, class(r))
	}
	return all
}
