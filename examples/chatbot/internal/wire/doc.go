// Package wire holds what travels between the chatbot's client and its enclave
// inside of a session (package envelope/session), and the words for why a
// question got no answer. The parent sees none of it but those words.
//
//	client ── session.Data ──▶ enclave
//	           └ Question (CBOR), sealed under KMS for one request
//	client ◀── Chunk (CBOR) ── enclave, one a message, as the model speaks
//
// Info is what the enclave attests beside its key: which model answers.
package wire
