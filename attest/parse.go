package attest

import (
	"math"
	"slices"
)

// Limits of the fields, in bytes or entries (AWS Nitro Enclaves user guide,
// "Cryptographic attestation"; maxModuleID and maxBundle are this package's
// own, well above what was ever seen: 39 bytes and 4 certificates).
const (
	maxDocument  = 64 << 10
	maxModuleID  = 256
	maxBundle    = 8
	maxCert      = 1024
	maxNonce     = 512
	maxUserData  = 512
	maxPublicKey = 1024
	maxPCRs      = 32
	pcrSize      = 48
	sigSize      = 96
)

// protectedES384 is the only protected header that the NSM sends, and the only
// one accepted: the map {1 (alg): -35 (ES384)} (RFC 9052, section 3.1; RFC
// 9053, section 2.1).
var protectedES384 = []byte{0xa1, 0x01, 0x38, 0x22}

// sign1 is a COSE_Sign1 structure (RFC 9052, section 4.2) whose protected
// header is protectedES384 and whose unprotected header is empty.
type sign1 struct{ payload, signature []byte }

// parseSign1 splits a COSE_Sign1, with or without its tag 18.
func parseSign1(doc []byte) (sign1, error) {
	r := reader{doc}
	r.next(majorTag<<5 | 18)
	var s sign1
	n, err := r.head(majorArray, "COSE_Sign1")
	if err != nil {
		return sign1{}, err
	}
	if n != 4 {
		return sign1{}, malformed("COSE_Sign1 has %d elements, not 4", n)
	}
	protected, err := r.bytes("protected header", 0, maxCert)
	if err != nil {
		return sign1{}, err
	}
	if !slices.Equal(protected, protectedES384) {
		return sign1{}, malformed("the protected header is not {alg: ES384}")
	}
	switch n, err := r.head(majorMap, "unprotected header"); {
	case err != nil:
		return sign1{}, err
	case n != 0:
		return sign1{}, malformed("the unprotected header is not empty")
	}
	if s.payload, err = r.bytes("payload", 1, maxDocument); err != nil {
		return sign1{}, err
	}
	if s.signature, err = r.bytes("signature", sigSize, sigSize); err != nil {
		return sign1{}, err
	}
	if len(r.rest) != 0 {
		return sign1{}, malformed("%d bytes after the document", len(r.rest))
	}
	return s, nil
}

// payload holds the fields of a document before anything is verified. Byte
// strings are parts of the input.
type payload struct {
	moduleID    string
	digest      string
	timestamp   uint64 // milliseconds since 1970
	pcrs        [maxPCRs][]byte
	certificate []byte
	cabundle    [][]byte
	publicKey   []byte
	userData    []byte
	nonce       []byte
}

// The keys of the payload, as bits of a set.
var payloadKeys = []string{
	"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle",
	"public_key", "user_data", "nonce",
}

// The first keys are mandatory, the others may be null or absent.
const mandatoryKeys = 6

// parsePayload reads the payload map. Keys may come in any order, each at most
// once; the map itself may have indefinite length, as the NSM has sent it
// since 2025, but nothing inside it may.
func parsePayload(b []byte) (*payload, error) {
	r := reader{b}
	p := &payload{}
	indefinite := r.next(cborIndefMap)
	var pairs uint64 = math.MaxUint64
	if !indefinite {
		var err error
		if pairs, err = r.head(majorMap, "payload"); err != nil {
			return nil, err
		}
	}
	var seen uint
	for ; pairs > 0; pairs-- {
		if indefinite && r.next(cborBreak) {
			break
		}
		key, err := r.text("payload key", 1, maxCert)
		if err != nil {
			return nil, err
		}
		i := slices.Index(payloadKeys, key)
		switch {
		case key == "nitrotpm_pcrs":
			return nil, malformed("this is a NitroTPM document, not an enclave's")
		case i < 0:
			return nil, malformed("unknown payload key")
		case seen&(1<<i) != 0:
			return nil, malformed("%s occurs twice", key)
		}
		seen |= 1 << i
		if i >= mandatoryKeys && r.next(cborNull) {
			continue
		}
		if err := p.field(&r, key); err != nil {
			return nil, err
		}
	}
	if len(r.rest) != 0 {
		return nil, malformed("%d bytes after the payload", len(r.rest))
	}
	for i, key := range payloadKeys[:mandatoryKeys] {
		if seen&(1<<i) == 0 {
			return nil, malformed("%s is missing", key)
		}
	}
	return p, nil
}

// field reads the value of one key.
func (p *payload) field(r *reader, key string) (err error) {
	switch key {
	case "module_id":
		p.moduleID, err = r.text(key, 1, maxModuleID)
	case "digest":
		p.digest, err = r.text(key, 1, maxModuleID)
		if err == nil && p.digest != "SHA384" {
			err = malformed("digest is not SHA384")
		}
	case "timestamp":
		p.timestamp, err = r.head(majorUint, key)
		if err == nil && (p.timestamp == 0 || p.timestamp > math.MaxInt64) {
			err = malformed("timestamp is 0 or out of range")
		}
	case "pcrs":
		err = p.readPCRs(r)
	case "certificate":
		p.certificate, err = r.bytes(key, 1, maxCert)
	case "cabundle":
		err = p.readBundle(r)
	case "public_key":
		p.publicKey, err = r.bytes(key, 1, maxPublicKey)
	case "user_data":
		p.userData, err = r.bytes(key, 0, maxUserData)
	case "nonce":
		p.nonce, err = r.bytes(key, 0, maxNonce)
	}
	return err
}

func (p *payload) readPCRs(r *reader) error {
	n, err := r.head(majorMap, "pcrs")
	if err != nil {
		return err
	}
	if n < 1 || n > maxPCRs {
		return malformed("%d PCRs, 1 to %d are allowed", n, maxPCRs)
	}
	for range n {
		i, err := r.head(majorUint, "PCR index")
		if err != nil {
			return err
		}
		if i >= maxPCRs {
			return malformed("PCR index %d, 0 to %d are allowed", i, maxPCRs-1)
		}
		if p.pcrs[i] != nil {
			return malformed("PCR%d occurs twice", i)
		}
		if p.pcrs[i], err = r.bytes("PCR", pcrSize, pcrSize); err != nil {
			return err
		}
	}
	return nil
}

func (p *payload) readBundle(r *reader) error {
	n, err := r.head(majorArray, "cabundle")
	if err != nil {
		return err
	}
	if n < 1 || n > maxBundle {
		return malformed("%d certificates in cabundle, 1 to %d are allowed", n, maxBundle)
	}
	for range n {
		der, err := r.bytes("cabundle certificate", 1, maxCert)
		if err != nil {
			return err
		}
		p.cabundle = append(p.cabundle, der)
	}
	return nil
}
