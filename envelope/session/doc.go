// Package session seals requests to an attested enclave, and its answers to
// whoever asked: the parent between them carries bytes that it can neither read,
// change, replay, nor answer itself.
//
// # The client
//
// A Client verifies the enclave before anything leaves it: the attestation
// document must meet the policy, answer a nonce of now, and attest the key that
// requests are sealed to.
//
//	client, err := session.NewClient(session.ClientOptions{
//		Transport: transport, // package sessionrpc
//		Enclave:   attest.Options{Policy: policy},
//	})
//	for message, err := range client.Ask(ctx, payload) {
//		…
//	}
//
// The payload comes from a function, since it may depend on the enclave:
// SealData encrypts the data under a KMS key and signs the one KMS request that
// lets this enclave, and nobody else, open it. No credentials leave the client.
//
// # The enclave
//
//	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, Recipient: recipient})
//	sessionrpc.Register(server, enclave, func(ctx context.Context, req *session.Request, resp *session.Response) error {
//		…
//		return resp.Finish(last)
//	})
//
// A DataOpener opens what SealData made. Messages of an answer are sealed as
// they are sent, so that tokens can be streamed. Receipt has the enclave attest
// question and answer, for others to verify later.
//
// # How it is protected
//
// Requests are sealed with HPKE (RFC 9180, crypto/hpke) to a key of which the
// attestation document has the digest; by default with a KEM that also holds
// against quantum computers. The key of the answer is exported from the same
// HPKE context and bound to the request as it travelled. Each segment of the
// answer has its number and whether it is the last. An enclave opens a request
// once: it remembers ids for longer than any key to which they can have been
// sealed, whatever its clock says. Requests are padded, and segments too, so that the sizes of streamed
// tokens do not spell out the text. FORMAT.md gives every byte.
//
// # What it does not protect from
//
// The parent sees who asks, when, for how long, how many segments an answer has
// and their padded sizes, and may delay or drop all of it. What it says about
// why there is no answer may be a lie. A client that resends a request on the
// parent's word that an enclave is gone has it opened by two enclaves
// (ClientOptions.RetryElsewhere). An enclave does not know who asks: whoever
// reaches it may, and what the data is under KMS decides what it can be made to
// open. The answer is as good as the code that the measurements stand for.
package session
