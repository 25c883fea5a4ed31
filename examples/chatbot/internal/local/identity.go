package local

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// KMSConfig is the configuration file of the kms subcommand.
type KMSConfig struct {
	Region     string     `json:"region"`
	Keys       []KMSKey   `json:"keys"`
	Principals []Identity `json:"principals"`
	// NSMRoot is the PEM of the root under which attestation documents are
	// believed: the software NSM's.
	NSMRoot string `json:"nsm_root"`
}

// KMSKey is one key of the local KMS.
type KMSKey struct {
	Alias  string          `json:"alias"`
	Policy json.RawMessage `json:"policy"`
}

// credentialSet is who may call the local KMS. All secrets are fresh random
// ones: they work nowhere else.
type credentialSet struct{ admin, client Identity }

func newCredentialSet() credentialSet {
	fresh := func(arn string) Identity {
		return Identity{ARN: arn, AccessKeyID: "ASIA" + rand.Text()[:16], SecretAccessKey: rand.Text() + rand.Text()[:14], SessionToken: rand.Text() + rand.Text()}
	}
	return credentialSet{admin: fresh(adminRole), client: fresh(clientRole)}
}

func (s credentialSet) principals() []Identity { return []Identity{s.admin, s.client} }

// Identity is one principal of the local KMS with its credentials.
type Identity struct {
	ARN             string `json:"arn"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"`
}

func (i Identity) provider() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(i.AccessKeyID, i.SecretAccessKey, i.SessionToken)
}

// processJSON is the identity in the form of the AWS CLI's credential_process
// (AWS SDKs and Tools Reference Guide, "Process credential provider").
func (i Identity) processJSON() []byte {
	b, err := json.Marshal(map[string]any{
		"Version": 1, "AccessKeyId": i.AccessKeyID, "SecretAccessKey": i.SecretAccessKey, "SessionToken": i.SessionToken,
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	return append(b, '\n')
}

// certPEM is the PEM form of a certificate.
func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
