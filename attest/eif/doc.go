// Package eif reads, measures and builds enclave image files (EIF), the form
// in which nitro-cli takes a Nitro Enclave's kernel, command line and ramdisks.
//
// Read checks an image and computes the PCRs that its enclaves will have, in
// one pass and constant memory:
//
//	image, err := eif.Read(file)
//	policy := attest.Policy{Measurements: []attest.Measurement{{PCRs: image.PCRs}}}
//
// Build writes one. The same input gives the same bytes, signature included,
// so that others can rebuild an image and compare PCRs.
//
// PCR0 covers kernel, command line and all ramdisks, PCR1 kernel, command line
// and the first ramdisk, PCR2 the other ramdisks, PCR8 the certificate that
// signed the image (AWS Nitro Enclaves user guide, "Where to get an enclave's
// measurements"). Metadata is not measured: nobody vouches for it.
//
// The format is that of github.com/aws/aws-nitro-enclaves-image-format.
package eif
