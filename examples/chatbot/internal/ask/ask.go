// Package ask is what the chatbot's user interfaces ask: the terminal, the web
// page and the OpenAI-style endpoints know an Asker, and nothing of KMS,
// sessions or the parent.
package ask

import (
	"context"
	"iter"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/inference"
)

// Asker asks an enclave that it has verified. It is safe for concurrent use.
type Asker interface {
	// Ask answers one question. The sequence yields chunks in order; the last
	// one, and only that, has a FinishReason and a Usage. On failure it yields
	// one zero Chunk with an error and ends: chunks seen before are an
	// unfinished answer. Leaving the loop early, or ending ctx, stops the
	// enclave's work.
	//
	// The errors work with errors.Is: a wire.Reason for what parent, enclave
	// or the enclave's KMS calls refused, wire's errors for the question
	// itself, attest's and session's for an enclave or answer that is not to
	// be trusted.
	Ask(ctx context.Context, q Question) iter.Seq2[Chunk, error]

	// Attestation returns the enclave that questions are sealed to now, as it
	// was verified. It verifies one first if there is none, or none that is
	// still valid.
	Attestation(ctx context.Context) (*Attestation, error)
}

// Question is a request to the model, and what the client wants beside the
// answer. CacheScope and PublicPrefix are not used: the Asker chooses them.
type Question struct {
	inference.Request
	// Receipt asks for a receipt, which comes with the last Chunk.
	Receipt bool
}

// Chunk is a piece of an answer.
type Chunk struct {
	inference.Chunk
	// Receipt, in the last chunk of a question that asked for one, is a file
	// for chatbot verify -receipt: a proof for others, for later, that this
	// enclave gave this answer with this model.
	Receipt []byte
}

// Attestation says which enclave answers, and why it is believed.
type Attestation struct {
	// Document is the verified attestation document and Raw its bytes.
	Document *attest.Document
	Raw      []byte
	// Policy is what Document was held against, and Measurement the name of
	// the alternative that it met: empty if that has none.
	Policy      attest.Policy
	Measurement string
	// Simulated means that the chain ends in a root that the user named, and
	// not in AWS's: a software NSM on some machine, which protects nothing.
	Simulated bool
	// VerifiedAt is when this client verified the document.
	VerifiedAt time.Time
	// Key is the enclave's key that questions are sealed to.
	Key Key
	// Model is what the enclave attests to answer with.
	Model Model
	// KMSKey is the ARN of the KMS key that releases questions, or empty where
	// no KMS is used.
	KMSKey string
	// Parent is the URL of the parent, which carries everything and reads
	// nothing.
	Parent string
}

// Key is an HPKE key of the enclave.
type Key struct {
	// ID is its name, in hexadecimal.
	ID string
	// Suite names the algorithms: KEM, KDF and AEAD.
	Suite string
	// NotAfter is when the client stops using it.
	NotAfter time.Time
}

// Model describes the enclave's model, as the enclave attests it.
type Model struct {
	// Name is the model's own name for itself: do not trust it.
	Name string
	// Digest is the SHA-256 of the model file in hexadecimal.
	Digest string
	// Parameters counts its weights.
	Parameters uint64
	// MaxTokens is the most tokens that a conversation and its answer may have
	// together.
	MaxTokens int
	// Engine names what runs it.
	Engine string
	// Lowercase means that the model knows lower-case questions only; the
	// Asker sends them so.
	Lowercase bool
}
