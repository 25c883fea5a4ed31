// Package kmstest is a local server that speaks the AWS KMS protocol and
// enforces attestation, for development and tests without an AWS account.
//
// It is a real server over HTTP or HTTPS: the stock SDK client is pointed to it
// by its BaseEndpoint, other clients by their endpoint URL. What makes KMS
// worth simulating is done, not faked:
//
//   - the SigV4 signature of every request is verified;
//   - key policies are evaluated, explicit Deny over Allow, with the condition
//     keys kms:RecipientAttestation:PCRn, kms:RecipientAttestation:ImageSha384
//     and kms:EncryptionContext:NAME; a policy with an element that this
//     server does not know is refused, never half obeyed;
//   - attestation documents are verified down to the root, and the answer is
//     encrypted to the key in the document as CMS EnvelopedData, in the mixture
//     of definite and indefinite lengths that KMS sends;
//   - ciphertexts are AES-256-GCM, bound to key and encryption context.
//
// Operations: CreateAlias, CreateKey, Decrypt, DeriveSharedSecret, DescribeKey,
// Encrypt, GenerateDataKey, GenerateDataKeyPair, both also WithoutPlaintext,
// GenerateRandom, GetKeyPolicy, GetPublicKey, ListAliases, ListKeys,
// PutKeyPolicy and ReEncrypt. Requests and answers are AWS's in every member
// that is there; the stock SDK for Go, boto3 and the AWS CLI are tested.
//
// There is no IAM: what the key policy does not allow is denied, and calls that
// no key policy covers (CreateKey, GenerateRandom, lists) are open to every
// known principal. Keys live in memory, and in Options.StateFile if that is
// given. Command localkms runs such a server.
//
//	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
//	defer srv.Close()
//	err = srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: id, SecretAccessKey: secret})
//	arn, err := srv.CreateKey(kmstest.KeyOptions{Policy: policy})
//	client := kms.New(kms.Options{BaseEndpoint: aws.String(srv.URL()), Region: srv.Region(), Credentials: …})
package kmstest
