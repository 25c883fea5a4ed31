package nsmtest

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/nitroseal/nitroseal/attest"
)

// signDocument writes an attestation document as the NSM does: the keys in its
// order, optional fields null when unused, the payload map of indefinite
// length.
func signDocument(c *chain, moduleID string, now time.Time, pcrs attest.PCRs, req attestationRequest) ([]byte, error) {
	var payload bytes.Buffer
	enc := cbor.NewEncoder(&payload)
	if err := enc.StartIndefiniteMap(); err != nil {
		return nil, err
	}
	registers := make(map[int][]byte, len(pcrs))
	for i, v := range pcrs {
		registers[i] = v
	}
	for _, kv := range []any{
		"module_id", moduleID,
		"digest", "SHA384",
		"timestamp", uint64(now.UnixMilli()),
		"pcrs", registers,
		"certificate", c.leaf,
		"cabundle", c.bundle,
		"public_key", req.PublicKey,
		"user_data", req.UserData,
		"nonce", req.Nonce,
	} {
		if err := enc.Encode(kv); err != nil {
			return nil, err
		}
	}
	if err := enc.EndIndefinite(); err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES384, c.key)
	if err != nil {
		return nil, err
	}
	m := cose.UntaggedSign1Message{
		Headers: cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES384}},
		Payload: payload.Bytes(),
	}
	if err := m.Sign(rand.Reader, nil, signer); err != nil {
		return nil, err
	}
	return m.MarshalCBOR()
}
