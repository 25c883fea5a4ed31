package session

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectorTime is when everything in the vectors was made.
var vectorTime = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// count returns the bytes from, from+1, …
func count(from byte, n int) octets {
	b := make(octets, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// TestUpdateVectors writes the vectors with -update. Keys and nonces are fixed;
// encapsulations, salts and the signatures of documents are random, so the
// result is another file each time.
func TestUpdateVectors(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	v := &vectors{PCRs: attest.PCRs{}}
	for i := range 3 {
		v.PCRs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{byte(i)}))
	}
	clock := func() time.Time { return vectorTime }
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	v.Root = ca.Root().Raw
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: v.PCRs, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()

	for _, kem := range []KEM{X25519, MLKEM768X25519} {
		private, err := kem.hpke().NewPrivateKey(count(0x40, 32))
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range []octets{{}, octets("model 1")} {
			g, err := newGeneration(private, kem, info, 0, vectorTime.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			v.Configs = append(v.Configs, configVector{
				KEM: kem, PublicKey: private.PublicKey().Bytes(), NotAfter: vectorTime.Add(time.Hour).Unix(), Info: info,
				Encoding: g.config, Digest: g.digest[:], KeyID: g.id[:],
			})
			if len(info) == 0 {
				continue
			}
			e := exchangeVector{Name: kem.String(), KEM: kem, PrivateKey: count(0x40, 32), Config: g.config, Padded: true, Payload: octets("what is my deductible?"), Pad: 128}
			e.make(t)
			v.Exchanges = append(v.Exchanges, e)
			if kem == X25519 {
				e = exchangeVector{Name: "not padded", KEM: kem, PrivateKey: count(0x40, 32), Config: g.config, Payload: octets{}}
				e.make(t)
				v.Exchanges = append(v.Exchanges, e)
			}
			nonce := [NonceSize]byte(count(0x80, NonceSize))
			document, err := nsm.Attest(t.Context(), attest.Request{Nonce: nonce[:], UserData: g.digest[:]})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := marshalAttestAnswer(g.config, document)
			if err != nil {
				t.Fatal(err)
			}
			v.Attestation = append(v.Attestation, attestationVector{nonce[:], vectorTime.Unix(), marshalAttestRequest(nonce), answer, g.config, document})
		}
	}
	for _, e := range []RemoteError{{"too_long", "the question is too long"}, {"internal", ""}} {
		raw, err := encode(wireError{e.Code, e.Message})
		if err != nil {
			t.Fatal(err)
		}
		v.Errors = append(v.Errors, errorVector{e.Code, e.Message, raw})
	}
	signed := &envelope.SignedRequest{Host: "kms.us-east-1.amazonaws.com", Header: map[string]string{"X-Amz-Target": "TrentService.Decrypt", "Authorization": "AWS4-HMAC-SHA256 …"}, Body: []byte("{}")}
	for _, d := range []dataVector{
		{Name: "plain", Plain: octets("question")},
		{Name: "signed", Sealed: count(0, 20), Signed: signed},
		{Name: "credentials", Sealed: count(0, 20), Credentials: []string{"AKIAEXAMPLE", "secret", "token"}},
	} {
		raw, err := d.data().Encode()
		if err != nil {
			t.Fatal(err)
		}
		d.Encoding = raw
		v.Data = append(v.Data, d)
	}
	enclave := &Enclave{opts: EnclaveOptions{Attester: nsm, Clock: clock}}
	for _, r := range []receiptVector{
		{Request: octets("q"), Response: octets("a"), Model: octets("m"), Parameters: octets("p")},
		{Request: octets("q"), Response: octets("a")},
	} {
		if r.Receipt, err = enclave.Receipt(t.Context(), r.claims()); err != nil {
			t.Fatal(err)
		}
		r.Time = vectorTime.Unix()
		v.Receipts = append(v.Receipts, r)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// make seals the vector's request, and an answer with every kind of content.
func (v *exchangeVector) make(t *testing.T) {
	t.Helper()
	config, g := v.generation(t)
	v.RequestID, v.Issued, v.Nonce = count(0xa0, requestIDSize), vectorTime.UnixMilli(), count(0xc0, responseNonce)
	message, _, err := sealRequest(config, g.digest, RequestID(v.RequestID), vectorTime, v.Payload, v.Padded)
	if err != nil {
		t.Fatal(err)
	}
	digest := requestDigest(message)
	v.Request, v.RequestDigest = message, digest[:]
	req := v.open(t)
	if v.Exported, err = req.export.Export(labelResponse, 32); err != nil {
		t.Fatal(err)
	}
	resp, err := req.respond(func(s []byte) error {
		v.Segments[len(v.Segments)-1].Segment = s
		return nil
	}, [responseNonce]byte(v.Nonce))
	if err != nil {
		t.Fatal(err)
	}
	last := segmentVector{Kind: kindError, Content: octets("\xa2\x01htoo_long\x02`"), Last: true}
	if v.Padded {
		last = segmentVector{Kind: kindMessage, Content: octets(" is $1,500."), Last: true}
		if v.KEM == MLKEM768X25519 {
			last = segmentVector{Kind: kindEnd, Content: octets{}, Last: true}
		}
	}
	for _, s := range []segmentVector{{Kind: kindMessage, Content: octets("Your deductible")}, {Kind: kindMessage, Content: octets{}}, last} {
		v.Segments = append(v.Segments, s)
		if err := resp.send(s.Kind, s.Content, s.Last); err != nil {
			t.Fatal(err)
		}
	}
}
