package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// key is a KMS key: a symmetric one, or one for key agreement.
type key struct {
	id      [16]byte
	arn     string
	created time.Time
	spec    string
	aead    cipher.AEAD      // of a symmetric key
	ecdh    *ecdh.PrivateKey // of one for key agreement
	policy  *policy          // guarded by Server.mu
}

// KeyOptions configures CreateKey.
type KeyOptions struct {
	// Policy is the key policy in JSON. Empty allows nothing to anybody.
	Policy string
	// Alias, such as alias/chatbot, or empty.
	Alias string
	// Spec is the key spec: empty or SYMMETRIC_DEFAULT for encryption, or
	// ECC_NIST_P256, ECC_NIST_P384 or ECC_NIST_P521 for key agreement.
	Spec string
}

// CreateKey makes a key and returns its ARN.
func (s *Server) CreateKey(opts KeyOptions) (string, error) {
	k, err := s.newKey(opts.Policy, opts.Spec)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if opts.Alias != "" {
		if err := s.addAlias(opts.Alias, k.uuid()); err != nil {
			return "", err
		}
	}
	s.keys[k.uuid()] = k
	return k.arn, nil
}

func (s *Server) newKey(policyJSON, spec string) (*key, error) {
	p := &policy{}
	if policyJSON != "" {
		var err error
		if p, err = parsePolicy(policyJSON); err != nil {
			return nil, apiError{"MalformedPolicyDocumentException", err.Error()}
		}
	}
	k := &key{created: s.opts.Clock(), spec: spec, policy: p}
	if err := k.generate(); err != nil {
		return nil, err
	}
	k.id = newID()
	k.arn = s.arn("key/" + k.uuid())
	return k, nil
}

// generate makes the key material of the key's spec.
func (k *key) generate() error {
	if curve := curves[k.spec]; curve != nil {
		var err error
		k.ecdh, err = curve.GenerateKey(rand.Reader)
		return err
	}
	if k.spec == "" {
		k.spec = symmetric
	}
	if k.spec != symmetric {
		return apiError{"UnsupportedOperationException", "this server does not make keys of that spec"}
	}
	var material [32]byte
	rand.Read(material[:])
	defer clear(material[:])
	block, err := aes.NewCipher(material[:])
	if err != nil {
		return err
	}
	k.aead, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// curves of key specs for key agreement.
var curves = map[string]ecdh.Curve{
	"ECC_NIST_P256": ecdh.P256(), "ECC_NIST_P384": ecdh.P384(), "ECC_NIST_P521": ecdh.P521(),
}

// encryption returns an error for a key that is not for encryption.
func (k *key) encryption() error {
	if k.aead == nil {
		return apiError{"InvalidKeyUsageException", "the key is not for encryption"}
	}
	return nil
}

// addAlias needs s.mu.
func (s *Server) addAlias(alias, id string) error {
	if name, ok := strings.CutPrefix(alias, "alias/"); !ok || name == "" || strings.HasPrefix(name, "aws/") {
		return apiError{"InvalidAliasNameException", "alias names begin with alias/, and not with alias/aws/"}
	}
	if s.aliases[alias] != "" {
		return apiError{"AlreadyExistsException", "an alias of that name exists"}
	}
	s.aliases[alias] = id
	return nil
}

// PutKeyPolicy replaces the policy of a key, named by id, ARN or alias.
func (s *Server) PutKeyPolicy(keyID, policyJSON string) error {
	k, err := s.find(keyID)
	if err != nil {
		return err
	}
	p, err := parsePolicy(policyJSON)
	if err != nil {
		return apiError{"MalformedPolicyDocumentException", err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.policy = p
	return nil
}

func (s *Server) arn(resource string) string {
	return "arn:aws:kms:" + s.opts.Region + ":" + s.opts.Account + ":" + resource
}

// find returns the key of a key id, key ARN, alias or alias ARN.
func (s *Server) find(name string) (*key, error) {
	id := strings.TrimPrefix(name, s.arn(""))
	id = strings.TrimPrefix(id, "key/")
	s.mu.RLock()
	defer s.mu.RUnlock()
	if strings.HasPrefix(id, "alias/") {
		id = s.aliases[id]
	}
	if k := s.keys[id]; k != nil {
		return k, nil
	}
	return nil, apiError{"NotFoundException", "the key does not exist"}
}

// newID is a UUID of version 4.
func newID() (id [16]byte) {
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

func newUUID() string { return uuid(newID()) }

func (k *key) uuid() string { return uuid(k.id) }

func uuid(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// A ciphertext blob is a version byte, the key's id, and AES-256-GCM with a
// random nonce; both parts and the encryption context are authenticated.
const (
	blobVersion = 1
	blobHead    = 1 + 16
)

var errBlob = errors.New("not a ciphertext of this server")

func (k *key) seal(plaintext []byte, ec map[string]string) []byte {
	head := append([]byte{blobVersion}, k.id[:]...)
	return k.aead.Seal(slices.Clone(head), nil, plaintext, blobAAD(head, ec))
}

func (k *key) open(blob []byte, ec map[string]string) ([]byte, error) {
	return k.aead.Open(nil, nil, blob[blobHead:], blobAAD(blob[:blobHead], ec))
}

// blobAAD binds head and context, unambiguously: every string has its length.
func blobAAD(head []byte, ec map[string]string) []byte {
	aad := slices.Clone(head)
	for _, name := range slices.Sorted(maps.Keys(ec)) {
		for _, s := range []string{name, ec[name]} {
			aad = binary.BigEndian.AppendUint32(aad, uint32(len(s)))
			aad = append(aad, s...)
		}
	}
	return aad
}

// keyOf returns the key under which a blob is.
func (s *Server) keyOf(blob []byte) (*key, error) {
	if len(blob) < blobHead || blob[0] != blobVersion {
		return nil, errBlob
	}
	k := key{id: [16]byte(blob[1:blobHead])}
	found, err := s.find(k.uuid())
	if err != nil {
		return nil, errBlob
	}
	return found, nil
}
