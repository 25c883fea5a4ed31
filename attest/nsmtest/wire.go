package nsmtest

import (
	"github.com/fxamacker/cbor/v2"

	"github.com/nitroseal/nitroseal/attest"
)

// Requests and replies in the module's CBOR form: an enum of the Rust crate
// aws-nitro-enclaves-nsm-api as serde writes it. A variant without fields is a
// text string, one with fields a map with the variant's name as its only key.
type (
	indexRequest struct {
		Index uint16 `cbor:"index"`
	}
	extendRequest struct {
		Index uint16 `cbor:"index"`
		Data  []byte `cbor:"data"`
	}
	rangeRequest struct {
		Range uint16 `cbor:"range"`
	}
	attestationRequest struct {
		UserData  []byte `cbor:"user_data"`
		Nonce     []byte `cbor:"nonce"`
		PublicKey []byte `cbor:"public_key"`
	}

	describePCRReply struct {
		Lock bool   `cbor:"lock"`
		Data []byte `cbor:"data"`
	}
	dataReply struct {
		Data []byte `cbor:"data"`
	}
	documentReply struct {
		Document []byte `cbor:"document"`
	}
	randomReply struct {
		Random []byte `cbor:"random"`
	}
	describeReply struct {
		VersionMajor uint16   `cbor:"version_major"`
		VersionMinor uint16   `cbor:"version_minor"`
		VersionPatch uint16   `cbor:"version_patch"`
		ModuleID     string   `cbor:"module_id"`
		MaxPCRs      uint16   `cbor:"max_pcrs"`
		LockedPCRs   []uint16 `cbor:"locked_pcrs"`
		Digest       string   `cbor:"digest"`
	}
)

// splitRequest returns the request's name and its fields, if it has any.
func splitRequest(raw []byte) (op string, args cbor.RawMessage, ok bool) {
	if cbor.Unmarshal(raw, &op) == nil {
		return op, nil, true
	}
	var variant map[string]cbor.RawMessage
	if cbor.Unmarshal(raw, &variant) != nil || len(variant) != 1 {
		return "", nil, false
	}
	for op, args = range variant {
	}
	return op, args, true
}

func encode(v any) []byte {
	b, err := cbor.Marshal(v)
	if err != nil {
		return errorReply(attest.CodeInternalError)
	}
	return b
}

func errorReply(code attest.Code) []byte {
	return encode(map[string]string{"Error": string(code)})
}

// bareReply is the reply of a request that answers nothing but success.
func bareReply(op string, code attest.Code) []byte {
	if code != "" {
		return errorReply(code)
	}
	return encode(op)
}
