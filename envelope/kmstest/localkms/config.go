package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// read reads the files that the flags name into opts, and returns whom the
// server knows, at least one.
func (f *flags) read(opts *kmstest.Options) ([]kmstest.Principal, error) {
	if f.nsmRoot != "" {
		data, err := os.ReadFile(f.nsmRoot)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s is no certificate in PEM", f.nsmRoot)
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.nsmRoot, err)
		}
		opts.AttestationRoots = []*x509.Certificate{root}
	}
	if f.policy != "" {
		data, err := os.ReadFile(f.policy)
		if err != nil {
			return nil, err
		}
		opts.DefaultPolicy = string(data)
	}
	if f.principals != "" {
		return readPrincipals(f.principals)
	}
	developer := kmstest.Principal{
		ARN:         "arn:aws:iam::" + f.account + ":role/developer",
		AccessKeyID: "AKIA" + rand.Text()[:16], SecretAccessKey: rand.Text() + rand.Text(),
	}
	if f.policy == "" {
		policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{
			"Effect": "Allow", "Principal": map[string]string{"AWS": developer.ARN}, "Action": "kms:*", "Resource": "*",
		}})
		if err != nil {
			return nil, err
		}
		opts.DefaultPolicy = string(policy)
	}
	return []kmstest.Principal{developer}, nil
}

func readPrincipals(name string) ([]kmstest.Principal, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	var list []struct {
		ARN             string `json:"arn"`
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		SessionToken    string `json:"session_token"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&list) != nil { // its error may quote a secret
		return nil, fmt.Errorf("%s is no list of principals in JSON", name)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no principals", name)
	}
	var principals []kmstest.Principal
	for _, p := range list {
		principals = append(principals, kmstest.Principal{ARN: p.ARN, AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken})
	}
	return principals, nil
}

// say prints the environment of a client.
func (f *flags) say(out io.Writer, url string, p kmstest.Principal) error {
	env := [][2]string{
		{"AWS_ENDPOINT_URL_KMS", url}, {"AWS_REGION", f.region}, {"AWS_DEFAULT_REGION", f.region},
		{"AWS_ACCESS_KEY_ID", p.AccessKeyID}, {"AWS_SECRET_ACCESS_KEY", p.SecretAccessKey}, {"AWS_SESSION_TOKEN", p.SessionToken},
	}
	if f.tls {
		env = append(env, [2]string{"AWS_CA_BUNDLE", f.caPEM})
	}
	var b strings.Builder
	for _, e := range env {
		if strings.ContainsAny(e[1], "'\n") {
			return errors.New(e[0] + " cannot be given to a shell")
		}
		if e[1] == "" {
			fmt.Fprintf(&b, "unset %s\n", e[0]) // of another set of credentials
			continue
		}
		fmt.Fprintf(&b, "export %s='%s'\n", e[0], e[1])
	}
	_, err := io.WriteString(out, b.String()) // at once: whoever reads the first line can read all
	return err
}
