package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// key is a symmetric KMS key.
type key struct {
	id      [16]byte
	arn     string
	created time.Time
	aead    cipher.AEAD
	policy  *policy // guarded by Server.mu
}

// KeyOptions configures CreateKey.
type KeyOptions struct {
	// Policy is the key policy in JSON. Empty allows nothing to anybody.
	Policy string
	// Alias, such as alias/chatbot, or empty.
	Alias string
}

// CreateKey makes a symmetric key and returns its ARN.
func (s *Server) CreateKey(opts KeyOptions) (string, error) {
	k, err := s.newKey(opts.Policy)
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

func (s *Server) newKey(policyJSON string) (*key, error) {
	p := &policy{}
	if policyJSON != "" {
		var err error
		if p, err = parsePolicy(policyJSON); err != nil {
			return nil, apiError{"MalformedPolicyDocumentException", err.Error()}
		}
	}
	var material [32]byte
	rand.Read(material[:])
	defer clear(material[:])
	block, err := aes.NewCipher(material[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	k := &key{created: s.opts.Clock(), aead: aead, policy: p}
	rand.Read(k.id[:])
	k.id[6], k.id[8] = k.id[6]&0x0f|0x40, k.id[8]&0x3f|0x80 // UUID version 4
	k.arn = s.arn("key/" + k.uuid())
	return k, nil
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

func (k *key) uuid() string {
	h := hex.EncodeToString(k.id[:])
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
