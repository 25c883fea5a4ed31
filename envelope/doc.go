// Package envelope calls AWS KMS so that only an attested Nitro Enclave can
// read the answer.
//
// # Inside the enclave
//
// A Recipient holds an RSA key that never leaves the enclave, and an
// attestation document that carries its public half. A Client sends the
// document along with each Decrypt or GenerateDataKey; KMS compares its PCRs
// with the key policy (condition keys kms:RecipientAttestation:PCR0 and so on)
// and answers a CMS EnvelopedData that only that key opens, in place of the
// plaintext:
//
//	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm, Entropy: nsm})
//	client, err := envelope.NewClient(envelope.Options{KMS: kms.New(…), KeyID: arn, Recipient: recipient})
//	plaintext, err := client.Decrypt(ctx, ciphertext, envelope.EncryptionContext{"direction": "request"})
//
// The KMS API is the stock aws-sdk-go-v2 client. A Client is cheap: make one a
// request where each request brings its own credentials, and share the
// Recipient.
//
// # Outside
//
// The same Client without a Recipient encrypts for the enclave, and opens what
// the key policy lets it open, with DecryptUnattested.
//
// # Without handing over credentials
//
// The client need not give an enclave credentials for it to decrypt. It can
// sign the one KMS request that it wants made: SignDecrypt verifies the
// enclave's attestation document (Recipient.Document) against the client's own
// policy and returns the HTTP request, signed, which anyone may carry. In the
// enclave a Courier sends it and opens the answer, which only that enclave's
// key can. The request allows nothing else, and KMS takes it for five minutes.
//
// # Data of any size
//
// KMS takes 4 KiB at a time. NewWriter and NewReader, or Seal and Open in
// memory, encrypt more under a data key that KMS encrypted: files, model
// weights. FORMAT.md gives the format byte by byte.
//
// # What it does not protect from
//
// CMS EnvelopedData is encrypted, not authenticated: whoever can answer in
// place of KMS can make the enclave decrypt whatever they like. End TLS to KMS
// inside the enclave, never at the parent. Who may encrypt under the key may
// write messages to the enclave: the encryption context, which is mandatory
// here, says which kind of message a ciphertext is, and a key policy can tell
// them apart by it (kms:EncryptionContext:NAME).
//
// KMS checks only what the key policy asks for. A policy that allows
// kms:Decrypt without a kms:RecipientAttestation condition lets its holder
// decrypt without any enclave.
package envelope
