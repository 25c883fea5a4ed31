// Package attest gets NSM attestation documents inside a Nitro Enclave, and
// verifies and judges them anywhere.
//
// # Inside the enclave
//
// Open the Nitro Security Module once and share it:
//
//	nsm, err := attest.OpenNSM(attest.NSMOptions{})
//	doc, err := nsm.Attest(ctx, attest.Request{Nonce: nonce, UserData: digest})
//
// # Outside
//
// Verify is the only way from bytes to a Document. It checks the form, the
// signature, the certificate chain up to the AWS Nitro Enclaves root, which is
// embedded here, and then the caller's Policy:
//
//	doc, err := attest.Verify(raw, attest.Options{Policy: attest.Policy{
//		Measurements: []attest.Measurement{{Name: "v1.4", PCRs: attest.PCRs{0: pcr0, 1: pcr1, 2: pcr2}}},
//		Nonce:        nonce,
//	}})
//
// The zero Policy refuses every document: what to expect of an enclave must be
// said. So must every exception, such as AllowDebug. A simulated NSM (package
// nsmtest) has a root of its own and is believed only where Options.Roots
// names it.
//
// # What a document proves
//
// That at the time of the document an enclave with these PCRs ran on a Nitro
// instance, and that it asked for this nonce, user data and public key to be
// signed. Check what binds the document to the exchange at hand: a fresh nonce
// of your own, or a digest in the user data.
//
// It does not prove that the enclave still runs, that the bytes came straight
// from it (a parent can replay a document while its certificate is valid, so
// use a nonce), that the measured image is free of faults, or what the enclave
// did before. PCR0 to PCR2 are all zero in debug mode, where the parent reads
// the console; such documents are refused unless asked for. ECDSA signatures
// are malleable: never use the bytes of a document as an identity.
//
// The checks follow "Verifying the root of trust" and "Cryptographic
// attestation" in the AWS Nitro Enclaves user guide, RFC 9052 (COSE) and RFC
// 8949 (CBOR). Where those leave room, only what the NSM really sends is taken;
// testdata/README.md lists these decisions. NitroTPM documents, which share the
// root, are refused: they speak of an instance, not of an enclave.
package attest
