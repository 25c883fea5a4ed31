package local

import (
	"context"
	"encoding/json"
	"os"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
)

// writeSetup makes the simulated NSM's certificate authority, the local KMS's
// configuration and what a client needs to know. Enclaves get the authority's
// key, everyone else only its root certificate.
func (c *Cluster) writeSetup() error {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return err
	}
	c.root = ca.Root()
	caPEM, err := ca.MarshalPEM()
	if err != nil {
		return err
	}
	c.creds = newCredentialSet()
	keys, err := c.keys()
	if err != nil {
		return err
	}
	config, err := json.MarshalIndent(KMSConfig{
		Region: Region, Keys: keys, Principals: c.creds.principals(), NSMRoot: string(certPEM(c.root)),
	}, "", "  ")
	if err != nil {
		return err
	}
	policy, err := json.MarshalIndent(c.policy(), "", "  ")
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"nsm-ca.pem": caPEM, "kms.json": config,
		"nsm-root.pem": certPEM(c.root), "policy.json": policy, "client-credentials.json": c.creds.client.processJSON(), "admin-credentials.json": c.creds.admin.processJSON(),
	} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// keys are the local KMS's keys: one that questions are sealed under and, in
// blog mode, the post's.
func (c *Cluster) keys() ([]KMSKey, error) {
	policy, err := KeyPolicy(c.opts.ExpectPCRs)
	if err != nil {
		return nil, err
	}
	keys := []KMSKey{{c.keyAlias(), json.RawMessage(policy)}}
	if c.opts.Blog {
		policy, err := blogKeyPolicy(c.opts.ExpectPCRs)
		if err != nil {
			return nil, err
		}
		keys = append(keys, KMSKey{c.postAlias(), json.RawMessage(policy)})
	}
	return keys, nil
}

// policy is what clients hold the enclave to.
func (c *Cluster) policy() attest.Policy {
	return attest.Policy{Measurements: []attest.Measurement{{Name: "demo", PCRs: c.opts.Image}}}
}

// SetKeyPolicy replaces the PCRs that the key policy names, by KMS's
// PutKeyPolicy as the key's administrator.
func (c *Cluster) SetKeyPolicy(ctx context.Context, pcrs attest.PCRs) error {
	policy, err := KeyPolicy(pcrs)
	if err != nil {
		return err
	}
	_, err = c.kmsClient(c.creds.admin).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{
		KeyId:  aws.String(c.keyARN()),
		Policy: aws.String(policy),
	})
	return err
}

func enclaveName(i int) string {
	if i == 0 {
		return "enclave"
	}
	return "enclave" + strconv.Itoa(i+1)
}
