// Package model embeds the chatbot's default language model: a BLOOM of 3.2
// million parameters that answers help-desk questions of a fictional employer.
// MODEL_CARD.md says what it is and what it is not, train/ how it was made.
package model

import _ "embed"

// Name is what the chatbot calls the embedded model.
const Name = "larkfield-bloom-q8_0"

// Digest is the SHA-256 of GGUF in hexadecimal. The enclave checks it while
// it loads the model, as it does for any other model file.
const Digest = "631718b88011ec9723b7665482a3c9ac6a9f5830a5f4791e047376b9380319ef"

// GGUF is the model file, with weights quantised to q8_0. Callers must not
// change it.
//
//go:embed larkfield-bloom-q8_0.gguf
var GGUF []byte
