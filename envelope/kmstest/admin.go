package kmstest

// The operations on keys themselves.

// Key usages.
const (
	encryptDecrypt = "ENCRYPT_DECRYPT"
	keyAgreement   = "KEY_AGREEMENT"
)

type keyIDInput struct {
	KeyID string `json:"KeyId"`
}

type keyMetadata struct {
	KeyID                  string `json:"KeyId"`
	Arn                    string
	AWSAccountID           string  `json:"AWSAccountId"`
	CreationDate           float64 // seconds since 1970
	Enabled                bool
	Description            string
	KeyUsage               string
	KeyState               string
	Origin                 string
	KeyManager             string
	CustomerMasterKeySpec  string
	KeySpec                string
	EncryptionAlgorithms   []string `json:",omitempty"`
	KeyAgreementAlgorithms []string `json:",omitempty"`
	MultiRegion            bool
}

type keyMetadataOutput struct{ KeyMetadata keyMetadata }

func (s *Server) metadata(k *key) keyMetadataOutput {
	m := keyMetadata{
		KeyID: k.uuid(), Arn: k.arn, AWSAccountID: s.opts.Account, CreationDate: float64(k.created.Unix()), Enabled: true,
		KeyUsage: encryptDecrypt, KeyState: "Enabled", Origin: "AWS_KMS", KeyManager: "CUSTOMER",
		CustomerMasterKeySpec: k.spec, KeySpec: k.spec, EncryptionAlgorithms: []string{symmetric},
	}
	if k.ecdh != nil {
		m.KeyUsage, m.EncryptionAlgorithms, m.KeyAgreementAlgorithms = keyAgreement, nil, []string{"ECDH"}
	}
	return keyMetadataOutput{m}
}

func (s *Server) describeKey(c *call, in *keyIDInput) (any, error) {
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, nil); err != nil {
		return nil, err
	}
	return s.metadata(k), nil
}

type createKeyInput struct {
	Policy   string
	KeySpec  string
	KeyUsage string
}

func (s *Server) createKey(_ *call, in *createKeyInput) (any, error) {
	usage := encryptDecrypt
	if curves[in.KeySpec] != nil {
		usage = keyAgreement
	}
	if in.KeyUsage != usage && (in.KeyUsage != "" || usage == keyAgreement) {
		return nil, apiError{"ValidationException", "this server makes symmetric keys for ENCRYPT_DECRYPT and elliptic-curve keys for KEY_AGREEMENT"}
	}
	arn, err := s.CreateKey(KeyOptions{Policy: in.Policy, Spec: in.KeySpec})
	if err != nil {
		return nil, err
	}
	k, err := s.find(arn)
	if err != nil {
		return nil, err
	}
	return s.metadata(k), nil
}

type createAliasInput struct {
	AliasName   string
	TargetKeyID string `json:"TargetKeyId"`
}

func (s *Server) createAlias(c *call, in *createAliasInput) (any, error) {
	k, err := s.find(in.TargetKeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, nil); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.addAlias(in.AliasName, k.uuid()); err != nil {
		return nil, err
	}
	if err := s.save(); err != nil {
		delete(s.aliases, in.AliasName)
		return nil, err
	}
	return struct{}{}, nil
}

type getKeyPolicyInput struct {
	KeyID      string `json:"KeyId"`
	PolicyName string
}

type getKeyPolicyOutput struct{ Policy, PolicyName string }

// policyName is the only one that a key policy can have.
const policyName = "default"

func (s *Server) getKeyPolicy(c *call, in *getKeyPolicyInput) (any, error) {
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, nil); err != nil {
		return nil, err
	}
	if in.PolicyName != "" && in.PolicyName != policyName {
		return nil, apiError{"NotFoundException", "the only policy is default"}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return getKeyPolicyOutput{k.policy.source, policyName}, nil
}

type putKeyPolicyInput struct {
	KeyID                          string `json:"KeyId"`
	PolicyName                     string
	Policy                         string
	BypassPolicyLockoutSafetyCheck bool
}

func (s *Server) putKeyPolicy(c *call, in *putKeyPolicyInput) (any, error) {
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, nil); err != nil {
		return nil, err
	}
	if in.PolicyName != "" && in.PolicyName != policyName {
		return nil, apiError{"NotFoundException", "the only policy is default"}
	}
	return struct{}{}, s.PutKeyPolicy(k.arn, in.Policy)
}
