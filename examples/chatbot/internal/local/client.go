package local

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
)

// Client returns a client with the user's credentials, which trusts the
// cluster's enclave and the software NSM's root. edit, if not nil, may change
// what it is made with.
func (c *Cluster) Client(steps *step.Printer, edit func(*chat.Options)) (*chat.Client, error) {
	api, err := envelope.NewClient(envelope.Options{KMS: c.kmsClient(c.creds.client), KeyID: c.keyARN()})
	if err != nil {
		return nil, err
	}
	opts := chat.Options{
		ParentURL: c.parentReady.URL,
		Enclave:   attest.Options{Roots: []*x509.Certificate{c.root}, Policy: c.policy()},
		Simulated: true,
		KMS:       api,
		Sign: envelope.SignOptions{
			Credentials: c.creds.client.provider(), KeyID: c.keyARN(), Endpoint: c.kmsReady.Endpoint,
		},
		Steps: steps,
	}
	if edit != nil {
		edit(&opts)
	}
	return chat.New(opts)
}

func (c *Cluster) kmsClient(who Identity) *kms.Client {
	return kms.New(kms.Options{
		Region:       Region,
		BaseEndpoint: aws.String(c.kmsReady.Endpoint),
		Credentials:  who.provider(),
		HTTPClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: c.kmsRoots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
		}},
	})
}

// Info is what another client needs in order to use the pipeline.
type Info struct {
	ParentURL       string `json:"parent_url"`
	AdminURL        string `json:"admin_url"`
	KMSEndpoint     string `json:"kms_endpoint"`
	KMSTLSEndpoint  string `json:"kms_tls_endpoint"`
	KMSCAFile       string `json:"kms_ca_file"`
	Region          string `json:"region"`
	KeyAlias        string `json:"key_alias"`
	KeyARN          string `json:"key_arn"`
	SealedKeyARN    string `json:"sealed_key_arn"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"`
	CredentialsFile string `json:"credentials_file"`
	// AdminCredentialsFile is of the principal who may change key policies.
	AdminCredentialsFile string         `json:"admin_credentials_file"`
	PolicyFile           string         `json:"policy_file"`
	RootsFile            string         `json:"simulated_roots_file"`
	WebURL               string         `json:"web_url"`
	PIDs                 map[string]int `json:"pids"`
}

// Info tells how to reach everything. KMSEndpoint is plain HTTP on this machine,
// for clients that do not know the local KMS's CA; requests that are signed for
// the enclave must be signed for KMSTLSEndpoint, which it uses. In blog mode
// KeyAlias and KeyARN name another key than SealedKeyARN.
func (c *Cluster) Info() Info {
	i := Info{
		ParentURL:            c.parentReady.URL,
		AdminURL:             c.parentReady.AdminURL,
		KMSEndpoint:          c.kmsReady.PlainEndpoint,
		KMSTLSEndpoint:       c.kmsReady.Endpoint,
		KMSCAFile:            c.kmsReady.CAFile,
		Region:               Region,
		KeyAlias:             c.opts.Alias,
		KeyARN:               c.kmsReady.KeyARNs[c.postAlias()],
		SealedKeyARN:         c.keyARN(),
		AccessKeyID:          c.creds.client.AccessKeyID,
		SecretAccessKey:      c.creds.client.SecretAccessKey,
		SessionToken:         c.creds.client.SessionToken,
		CredentialsFile:      c.path("client-credentials.json"),
		AdminCredentialsFile: c.path("admin-credentials.json"),
		PolicyFile:           c.path("policy.json"),
		RootsFile:            c.path("nsm-root.pem"),
		PIDs:                 map[string]int{"kms": c.kms.pid(), "parent": c.parent.pid()},
	}
	for n, e := range c.enclaves {
		i.PIDs[enclaveName(n)] = e.pid()
	}
	return i
}

// Enclave is what the enclave said when it was ready.
func (c *Cluster) Enclave() EnclaveReady { return c.enclaveReady }
