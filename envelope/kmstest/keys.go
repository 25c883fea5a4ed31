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
	id       [16]byte
	arn      string
	created  time.Time
	spec     string
	material []byte           // for the state file
	aead     cipher.AEAD      // of a symmetric key
	ecdh     *ecdh.PrivateKey // of one for key agreement
	policy   *policy          // guarded by Server.mu
}

// KeyOptions configures CreateKey.
type KeyOptions struct {
	// Policy is the key policy in JSON. Empty means Options.DefaultPolicy.
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
	id := k.uuid()
	s.keys[id] = k
	if opts.Alias != "" {
		err = s.addAlias(opts.Alias, id)
	}
	if err == nil {
		if err = s.save(); err != nil {
			delete(s.aliases, opts.Alias)
		}
	}
	if err != nil {
		delete(s.keys, id)
		return "", err
	}
	return k.arn, nil
}

func (s *Server) newKey(policyJSON, spec string) (*key, error) {
	if policyJSON == "" {
		policyJSON = s.opts.DefaultPolicy
	}
	p := &policy{}
	if policyJSON != "" {
		var err error
		if p, err = parsePolicy(policyJSON); err != nil {
			return nil, apiError{"MalformedPolicyDocumentException", err.Error()}
		}
	}
	if spec == "" {
		spec = symmetric
	}
	k := &key{id: newID(), created: s.opts.Clock().UTC().Round(time.Second), spec: spec, policy: p}
	k.arn = s.arn("key/" + k.uuid())
	material, err := newMaterial(spec)
	if err != nil {
		return nil, err
	}
	return k, k.use(material)
}

// newMaterial makes the key material of a spec.
func newMaterial(spec string) ([]byte, error) {
	if curve := curves[spec]; curve != nil {
		k, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return k.Bytes(), nil
	}
	if spec != symmetric {
		return nil, apiError{"UnsupportedOperationException", "this server does not make keys of that spec"}
	}
	material := make([]byte, 32)
	rand.Read(material)
	return material, nil
}

// use gives the key material, which must be of its spec.
func (k *key) use(material []byte) (err error) {
	k.material = material
	if curve := curves[k.spec]; curve != nil {
		k.ecdh, err = curve.NewPrivateKey(material)
		return err
	}
	if k.spec != symmetric || len(material) != 32 {
		return errors.New("no such key")
	}
	block, err := aes.NewCipher(material)
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

// maxAlias is the longest name of an alias, in bytes, with its prefix.
const maxAlias = 256

// checkAlias holds a name to the form of AWS's.
func checkAlias(alias string) error {
	name, ok := strings.CutPrefix(alias, "alias/")
	if !ok || name == "" || strings.HasPrefix(name, "aws/") {
		return apiError{"InvalidAliasNameException", "alias names begin with alias/, and not with alias/aws/"}
	}
	strange := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_-", r))
	}
	if len(alias) > maxAlias || strings.ContainsFunc(name, strange) {
		return apiError{"InvalidAliasNameException", "alias names have at most 256 letters, digits, slashes, underscores and hyphens"}
	}
	return nil
}

// addAlias needs s.mu.
func (s *Server) addAlias(alias, id string) error {
	if err := checkAlias(alias); err != nil {
		return err
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
	old := k.policy
	k.policy = p
	if err := s.save(); err != nil {
		k.policy = old
		return err
	}
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

// keyOf returns the key under which a blob is. A key for key agreement has none,
// whatever the blob says.
func (s *Server) keyOf(blob []byte) (*key, error) {
	if len(blob) < blobHead || blob[0] != blobVersion {
		return nil, errBlob
	}
	k := key{id: [16]byte(blob[1:blobHead])}
	found, err := s.find(k.uuid())
	if err != nil || found.encryption() != nil {
		return nil, errBlob
	}
	return found, nil
}
