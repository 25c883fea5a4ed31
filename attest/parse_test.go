package attest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse tries the two parsers without the signatures behind them, which
// would slow the fuzzer down a thousandfold.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/attestation/*/*.cose")
	if err != nil || len(files) < 200 {
		f.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, name := range files {
		doc, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
		if s, err := parseSign1(doc); err == nil {
			f.Add(s.payload)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		if s, err := parseSign1(in); err == nil {
			if len(s.payload) == 0 || len(s.signature) != sigSize {
				t.Error("accepted without payload or signature")
			}
		}
		if p, err := parsePayload(in); err == nil {
			registers := 0
			for _, v := range p.pcrs {
				if v != nil {
					registers++
					if len(v) != pcrSize {
						t.Errorf("a register of %d bytes", len(v))
					}
				}
			}
			if p.moduleID == "" || p.digest != "SHA384" || p.timestamp == 0 || registers == 0 || len(p.certificate) == 0 ||
				len(p.cabundle) == 0 || len(p.cabundle) > maxBundle || len(p.nonce) > maxNonce || len(p.userData) > maxUserData || len(p.publicKey) > maxPublicKey {
				t.Errorf("accepted out of limits: %+v", p)
			}
		}
		if !bytes.Equal(before, in) {
			t.Error("the input was changed")
		}
	})
}
