package attest

import (
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
)

// PCR is the value of a platform configuration register: 48 bytes, SHA-384.
// As text and in JSON it is hexadecimal.
type PCR []byte

// PCRs maps register numbers, 0 to 31, to values. See the AWS Nitro Enclaves
// user guide, "Where to get an enclave's measurements": 0 is the image, 1 the
// kernel and boot ramdisk, 2 the application, 3 the parent's IAM role, 4 the
// parent instance, 8 the image's signing certificate; 16 to 31 are free for
// the enclave itself.
type PCRs map[int]PCR

// ZeroPCR returns a register that was never extended: 48 zero bytes.
func ZeroPCR() PCR { return make(PCR, pcrSize) }

// Extend returns the value of p after the NSM's ExtendPCR with data: SHA-384
// over the old value and data. A nil p counts as zero.
func (p PCR) Extend(data []byte) PCR {
	if p == nil {
		p = ZeroPCR()
	}
	h := sha512.New384()
	h.Write(p)
	h.Write(data)
	return h.Sum(nil)
}

// Equal reports whether p and q are the same 48 bytes, in constant time.
// Anything of another length, nil included, equals nothing.
func (p PCR) Equal(q PCR) bool {
	return len(p) == pcrSize && subtle.ConstantTimeCompare(p, q) == 1
}

// IsZero reports whether p is 48 zero bytes. A missing register is not zero.
func (p PCR) IsZero() bool { return p.Equal(ZeroPCR()) }

// String is p in lower-case hexadecimal.
func (p PCR) String() string { return hex.EncodeToString(p) }

// MarshalText is p in lower-case hexadecimal.
func (p PCR) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads 96 hexadecimal digits, of either case.
func (p *PCR) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != pcrSize {
		return fmt.Errorf("attest: a PCR is %d hexadecimal digits", 2*pcrSize)
	}
	*p = b
	return nil
}

// Extended returns a copy of p with register i extended by each of data, one
// after the other: what a document will report after the enclave's own
// extends. A register that p does not have starts at zero.
func (p PCRs) Extended(i int, data ...[]byte) PCRs {
	out := maps.Clone(p)
	if out == nil {
		out = PCRs{}
	}
	for _, d := range data {
		out[i] = out[i].Extend(d)
	}
	return out
}

// PCRFromDigest returns a zero register extended by a SHA-384 digest. This is
// how PCR0, PCR1, PCR2 and PCR8 are made from the digest of what they measure.
func PCRFromDigest(digest [sha512.Size384]byte) PCR { return ZeroPCR().Extend(digest[:]) }

// PCR3 returns the register for the IAM role of the parent instance, given its
// ARN, such as arn:aws:iam::111122223333:role/parent.
func PCR3(roleARN string) PCR { return ZeroPCR().Extend([]byte(roleARN)) }

// PCR4 returns the register for the parent instance, given its id, such as
// i-0123456789abcdef0.
func PCR4(instanceID string) PCR { return ZeroPCR().Extend([]byte(instanceID)) }

// PCR8 returns the register for the certificate that signed the image file,
// which must not be nil.
func PCR8(signer *x509.Certificate) PCR { return PCRFromDigest(sha512.Sum384(signer.Raw)) }
