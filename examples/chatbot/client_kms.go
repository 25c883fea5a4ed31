package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
)

// ownersKMS returns a client of KMS for a program outside the enclave. An empty
// endpoint means AWS's for the region, an empty caFile the system's roots.
func ownersKMS(region, endpoint, caFile string, creds aws.CredentialsProvider) (*kms.Client, error) {
	roots, err := rootsFromFile(caFile)
	if err != nil {
		return nil, err
	}
	opts := kms.Options{
		Region: region, Credentials: creds,
		HTTPClient: &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
		}},
	}
	if endpoint != "" {
		opts.BaseEndpoint = &endpoint
	}
	return kms.New(opts), nil
}

// credentialsFrom returns the credentials of a credential_process file, or of
// the environment when the name is empty. The file is read again when they have
// expired, as it may have been renewed. Errors never repeat the contents.
func credentialsFrom(name string) (aws.CredentialsProvider, error) {
	if name == "" {
		id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
		if id == "" || secret == "" {
			return nil, errors.New("no credentials: give -credentials FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
		return credentialsOf(id, secret, os.Getenv("AWS_SESSION_TOKEN")), nil
	}
	file := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		data, err := readLimited(name, maxCredentials)
		if err != nil {
			return aws.Credentials{}, err
		}
		return parseCredentials(name, data)
	}))
	// What is wrong with the file is said at the start.
	if _, err := file.Retrieve(context.Background()); err != nil {
		return nil, err
	}
	return file, nil
}

func credentialsOf(id, secret, token string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, secret, token)
}

// parseCredentials reads the credential_process form, which came from name.
func parseCredentials(name string, data []byte) (aws.Credentials, error) {
	var c struct {
		Version                                    int
		AccessKeyID, SecretAccessKey, SessionToken string
		Expiration                                 *time.Time
	}
	if json.Unmarshal(data, &c) != nil || c.Version != 1 || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return aws.Credentials{}, fmt.Errorf("%s is not of the credential_process form (Version 1, AccessKeyId, SecretAccessKey)", name)
	}
	creds := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Source: name}
	if c.Expiration != nil {
		if time.Now().After(*c.Expiration) {
			return aws.Credentials{}, fmt.Errorf("%w: those in %s expired at %s", chat.ErrCredentials, name, c.Expiration.Format(time.RFC3339))
		}
		creds.CanExpire, creds.Expires = true, *c.Expiration
	}
	return creds, nil
}
