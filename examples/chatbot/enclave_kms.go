package main

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy/proxyhttp"
)

// kmsTimeout bounds one exchange with KMS.
const kmsTimeout = 20 * time.Second

// egressKMS is KMS as the enclave reaches it: through the parent, with TLS that
// ends here.
type egressKMS struct {
	http     *http.Client
	region   string
	endpoint string
}

func (f *enclaveFlags) kms() (*egressKMS, error) {
	roots, err := rootsFromFile(*f.kmsCA)
	if err != nil {
		return nil, err
	}
	if roots == nil {
		roots = proxyhttp.AWSRoots()
	}
	routes := map[string]string{}
	for _, e := range f.egress {
		routes[e[0]] = e[1]
	}
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: routes})
	if err != nil {
		return nil, err
	}
	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: dialer, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	k := &egressKMS{&http.Client{Transport: transport, Timeout: kmsTimeout}, *f.region, *f.kmsEndpoint}
	if k.endpoint == "" {
		k.endpoint = "https://kms." + k.region + ".amazonaws.com"
	}
	return k, nil
}

// withCredentials returns the SDK's client for one set of credentials. All of
// them share one transport.
func (k *egressKMS) withCredentials(creds aws.CredentialsProvider) envelope.KMSAPI {
	return kms.New(kms.Options{
		Region: k.region, BaseEndpoint: &k.endpoint, HTTPClient: k.http, RetryMaxAttempts: 3, Credentials: creds,
	})
}

// dataOpener says in which forms questions are taken: signed for the KMS key,
// and others as the flags allow.
func (f *enclaveFlags) dataOpener(b *booted) (session.DataOpener, error) {
	o := session.DataOpener{AllowPlain: *f.withoutKMS}
	if *f.keyARN == "" {
		return o, nil
	}
	var err error
	o.Courier, err = envelope.NewCourier(envelope.CourierOptions{
		HTTP: b.kms.http, Endpoint: b.kms.endpoint, KeyID: *f.keyARN, Recipient: b.recipient,
	})
	if err != nil {
		return session.DataOpener{}, err
	}
	if *f.takeCredentials {
		o.WithCredentials = func(c session.Credentials) (*envelope.Client, error) {
			creds := credentialsOf(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
			return envelope.NewClient(envelope.Options{KMS: b.kms.withCredentials(creds), KeyID: *f.keyARN, Recipient: b.recipient})
		}
	}
	return o, nil
}
