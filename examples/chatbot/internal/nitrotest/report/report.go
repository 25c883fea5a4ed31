// Package report is what the two halves of nitrotest tell each other.
package report

// Method is the RPC method that makes a Report.
const Method = "nitrotest.check"

// Port is where the guest serves it.
const Port = 5000

// Ready is the line by which the guest says that it serves.
const Ready = "nitrotest: ready"

// Request says what to attest.
type Request struct {
	Nonce []byte `cbor:"1,keyasint"`
}

// Report is what the guest has found. Errors are texts: what is expected of
// them, the host knows.
type Report struct {
	// Device is why there is no /dev/nsm; if it is not empty nothing else is
	// there.
	Device string `cbor:"1,keyasint"`
	// PCRs are all 32 registers as they were found, and Locked those that were
	// locked.
	PCRs   [][]byte `cbor:"2,keyasint"`
	Locked []bool   `cbor:"3,keyasint"`
	// Random are two draws of random bytes.
	Random [][]byte `cbor:"4,keyasint"`
	// Document is an attestation document over the nonce.
	Document []byte `cbor:"5,keyasint"`
	// Extended is register 16 after it was extended by "nitrotest".
	Extended []byte `cbor:"6,keyasint"`
	// Errors are what calls failed with that should, by the call.
	Errors map[string]string `cbor:"7,keyasint"`
	// Failed are calls that should have worked.
	Failed []string `cbor:"8,keyasint"`
}
