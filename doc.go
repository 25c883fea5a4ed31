// Package nitroseal is the root of an SDK for attested KMS envelopes and
// confidential language-model inference on AWS Nitro Enclaves. It holds no
// code: import the packages below it.
//
//   - attest gets, verifies and judges NSM attestation documents.
//   - envelope calls AWS KMS with an attestation document as RecipientInfo and
//     unwraps what KMS answers.
//   - vsockrpc carries calls and streams between an enclave and its parent.
//   - inference is the model interface; inference/llama implements it on
//     libllama, loaded at run time without cgo.
//   - examples/chatbot puts all of it together.
//
// The same code runs inside an enclave and on a laptop. Only three edges are
// swapped, and each has its own simulator: attest/nsmtest is an NSM device in
// software, envelope/kmstest is a KMS server that enforces attestation, and
// vsockrpc speaks unix sockets as well as vsock. A simulator is never trusted
// by default: whoever verifies must name its root certificate.
package nitroseal
