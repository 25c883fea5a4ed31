// Package sessionrpc carries sessions (package session) over vsockrpc and HTTP.
//
// In the enclave Register serves a session.Enclave and the application's
// Handler. The parent passes requests on with a Relay, which reads no more of
// them than the name of the key that they are for. The client reaches the
// parent with NewHTTPTransport, or an enclave directly with NewTransport:
//
//	enclave:  sessionrpc.Register(server, enclave, handler)
//	parent:   http.Handle("/v1/session/", relay)
//	client:   session.NewClient(session.ClientOptions{Transport: transport, Enclave: …})
//
// Nothing here is trusted by either end of a session: it moves sealed bytes,
// and says in clear, as a word, why an enclave did not open a request. Those
// words can be forged by whoever is between, and only ever mean that there is
// no answer.
//
// # HTTP
//
//	POST /v1/session/attest   an attestation request; the answer to it
//	POST /v1/session/ask      a sealed request; the segments of the answer, each
//	                          behind its length in four bytes, big-endian
//
// A request that fails before its first segment has a status and a small JSON
// body with the word; one that fails later has its connection cut.
package sessionrpc
