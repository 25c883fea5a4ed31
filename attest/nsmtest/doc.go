// Package nsmtest is a Nitro Security Module in software, for development and
// tests on machines without one.
//
// It sits below github.com/hf/nsm, at the level of the ioctl on /dev/nsm, so
// that all code above it is the code that runs in an enclave:
//
//	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
//	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: pcr0}})
//	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
//
// Its documents have the form of real ones: an untagged COSE_Sign1 with ES384,
// an indefinite-length payload map, a chain of root, three intermediates and a
// leaf that is valid for three hours. What they do not have is AWS's root.
// They verify only where attest.Options.Roots names the CA's root, and prove
// nothing: whoever holds the CA can state any measurement.
package nsmtest
