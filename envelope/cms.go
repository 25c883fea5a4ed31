package envelope

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
)

// Object identifiers, as the contents of their OBJECT IDENTIFIER.
var (
	oidData          = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01} // 1.2.840.113549.1.7.1
	oidEnvelopedData = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03} // 1.2.840.113549.1.7.3
	oidRSAESOAEP     = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07} // 1.2.840.113549.1.1.7
	oidMGF1          = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08} // 1.2.840.113549.1.1.8
	oidSHA256        = []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01} // 2.16.840.1.101.3.4.2.1
	oidAES256CBC     = []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a} // 2.16.840.1.101.3.4.1.42
)

// envelopedData is what KMS answers in CiphertextForRecipient (RFC 5652,
// section 6), after its algorithms were found to be the only ones taken.
type envelopedData struct {
	recipient    recipientID
	encryptedKey []byte
	iv           []byte
	ciphertext   []byte
}

// recipientID says for whom a message is: by subjectKeyIdentifier, or, where
// that is nil, by issuer and serial number, which are not kept.
type recipientID struct{ ski []byte }

// parseEnvelopedData reads a ContentInfo with EnvelopedData: one
// KeyTransRecipientInfo with RSAES-OAEP, SHA-256 and MGF1 with SHA-256, and
// AES-256-CBC content. All of that is checked here, before any private key is
// used.
func parseEnvelopedData(b []byte) (*envelopedData, error) {
	if len(b) > maxCMS {
		return nil, errBER
	}
	top := &berReader{rest: b}
	info := top.enter(tagSequence)
	if !bytes.Equal(info.next(tagOID), oidEnvelopedData) {
		return nil, errBER
	}
	explicit := info.enter(tagContext0 | constructed)
	env := explicit.enter(tagSequence)
	version := env.next(tagInteger)
	recipients := env.enter(tagSet)

	m := &envelopedData{}
	if err := m.parseRecipient(recipients, version); err != nil {
		return nil, err
	}
	content := env.enter(tagSequence)
	if !bytes.Equal(content.next(tagOID), oidData) {
		return nil, errBER
	}
	alg := content.enter(tagSequence)
	if !bytes.Equal(alg.next(tagOID), oidAES256CBC) {
		return nil, errBER
	}
	m.iv = alg.next(tagOctetString)
	m.ciphertext = content.octets(tagContext0)
	for _, r := range []*berReader{alg, content, recipients, env, explicit, info, top} {
		if err := r.done(); err != nil {
			return nil, err
		}
	}
	if len(m.iv) != 16 || len(m.ciphertext) == 0 || len(m.ciphertext)%16 != 0 {
		return nil, errBER
	}
	return m, nil
}

// parseRecipient reads the one KeyTransRecipientInfo (RFC 5652, section
// 6.2.1). Versions go with the form of the identifier: 2 with a
// subjectKeyIdentifier, 0 with issuer and serial number; the version of the
// EnvelopedData follows them (section 6.1).
func (m *envelopedData) parseRecipient(recipients *berReader, envVersion []byte) error {
	ktri := recipients.enter(tagSequence)
	version := ktri.next(tagInteger)
	var want byte
	switch id := ktri.any(); id.tag {
	case tagContext0:
		m.recipient.ski, want = id.content, 2
		if len(id.content) == 0 {
			return errBER
		}
	case tagSequence:
		want = 0
	default:
		return errBER
	}
	if !bytes.Equal(version, []byte{want}) || !bytes.Equal(envVersion, []byte{want}) {
		return errBER
	}
	if err := checkOAEP(ktri.enter(tagSequence)); err != nil {
		return err
	}
	m.encryptedKey = ktri.next(tagOctetString)
	return ktri.done()
}

// checkOAEP accepts RSAES-OAEP with SHA-256, MGF1 with SHA-256 and no label
// (RFC 4055, section 4.1; RFC 3560). Absent parameters would mean SHA-1.
func checkOAEP(alg *berReader) error {
	if !bytes.Equal(alg.next(tagOID), oidRSAESOAEP) {
		return errBER
	}
	params := alg.enter(tagSequence)
	hash := params.enter(tagContext0 | constructed)
	if err := checkSHA256(hash); err != nil {
		return err
	}
	mgf := params.enter(tagContext1 | constructed)
	mgfAlg := mgf.enter(tagSequence)
	if !bytes.Equal(mgfAlg.next(tagOID), oidMGF1) {
		return errBER
	}
	if err := checkSHA256(mgfAlg); err != nil {
		return err
	}
	for _, r := range []*berReader{mgf, params, alg} {
		if err := r.done(); err != nil {
			return err
		}
	}
	return nil
}

// checkSHA256 reads the AlgorithmIdentifier of SHA-256, whose parameters are
// NULL, as KMS writes, or absent, as OpenSSL does (RFC 4055, section 2.1), and
// which must be the last in r.
func checkSHA256(r *berReader) error {
	alg := r.enter(tagSequence)
	if !bytes.Equal(alg.next(tagOID), oidSHA256) {
		return errBER
	}
	if alg.err == nil && len(alg.rest) > 0 && len(alg.next(tagNull)) != 0 {
		return errBER
	}
	if err := alg.done(); err != nil {
		return err
	}
	return r.done()
}

// keyIdentifier is the subjectKeyIdentifier under which KMS addresses a
// recipient: the SHA-256 of the DER of its SubjectPublicKeyInfo.
func keyIdentifier(pub *rsa.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	return sum[:], nil
}
