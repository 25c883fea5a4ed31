package session

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
)

const vectorFile = "testdata/vectors.json"

// octets are bytes that are hexadecimal in JSON.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o), nil }

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

// vectors is testdata/vectors.json, of which testdata/README.md tells the rest.
type vectors struct {
	Root        octets              `json:"root"` // certificate of the simulated NSM's CA, DER
	PCRs        attest.PCRs         `json:"pcrs"`
	Configs     []configVector      `json:"configs"`
	Attestation []attestationVector `json:"attestations"`
	Exchanges   []exchangeVector    `json:"exchanges"`
	Errors      []errorVector       `json:"errors"`
	Data        []dataVector        `json:"data"`
	Receipts    []receiptVector     `json:"receipts"`
}

type configVector struct {
	KEM       KEM    `json:"kem"`
	PublicKey octets `json:"public_key"`
	NotAfter  int64  `json:"not_after"`
	Info      octets `json:"info"`
	Encoding  octets `json:"encoding"`
	Digest    octets `json:"digest"`
	KeyID     octets `json:"key_id"`
}

type attestationVector struct {
	Nonce    octets `json:"nonce"`
	Time     int64  `json:"time"` // at which the document verifies
	Request  octets `json:"request"`
	Answer   octets `json:"answer"`
	Config   octets `json:"config"`
	Document octets `json:"document"`
}

type exchangeVector struct {
	Name          string          `json:"name"`
	KEM           KEM             `json:"kem"`
	PrivateKey    octets          `json:"private_key"`
	Config        octets          `json:"config"`
	RequestID     octets          `json:"request_id"`
	Issued        int64           `json:"issued_ms"`
	Padded        bool            `json:"padded"`
	Payload       octets          `json:"payload"`
	Request       octets          `json:"request"`
	RequestDigest octets          `json:"request_digest"`
	Exported      octets          `json:"exported"`
	Nonce         octets          `json:"response_nonce"`
	Pad           int             `json:"pad"`
	Segments      []segmentVector `json:"segments"`
}

type segmentVector struct {
	Kind    byte   `json:"kind"`
	Content octets `json:"content"`
	Last    bool   `json:"last"`
	Segment octets `json:"segment"`
}

type errorVector struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Encoding octets `json:"encoding"`
}

type dataVector struct {
	Name        string                  `json:"name"`
	Plain       octets                  `json:"plain,omitempty"`
	Sealed      octets                  `json:"sealed,omitempty"`
	Signed      *envelope.SignedRequest `json:"signed,omitempty"`
	Credentials []string                `json:"credentials,omitempty"` // id, secret, token
	Encoding    octets                  `json:"encoding"`
}

func (v *dataVector) data() Data {
	d := Data{Plain: v.Plain, Sealed: v.Sealed, Signed: v.Signed}
	if len(v.Credentials) == 3 {
		d.Credentials = &Credentials{v.Credentials[0], v.Credentials[1], v.Credentials[2]}
	}
	return d
}

type receiptVector struct {
	Time       int64  `json:"time"`
	Request    octets `json:"request"`
	Response   octets `json:"response"`
	Model      octets `json:"model"`
	Parameters octets `json:"parameters"`
	Receipt    octets `json:"receipt"`
}

func (v *receiptVector) claims() Claims {
	return Claims{Request: v.Request, Response: v.Response, Model: v.Model, Parameters: v.Parameters}
}

// loadVectors fails where any kind of vector is missing.
func loadVectors(t testing.TB) *vectors {
	t.Helper()
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	v := new(vectors)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{
		"configs": len(v.Configs), "attestations": len(v.Attestation), "exchanges": len(v.Exchanges),
		"errors": len(v.Errors), "data": len(v.Data), "receipts": len(v.Receipts),
	} {
		if n == 0 {
			t.Fatalf("no vectors of %s", name)
		}
	}
	for _, e := range v.Exchanges {
		if len(e.Segments) == 0 {
			t.Fatalf("%s has no segments", e.Name)
		}
	}
	return v
}

// trust is what the vectors' enclave meets, at a time.
func (v *vectors) trust(t testing.TB, at int64) attest.Options {
	t.Helper()
	root, err := x509.ParseCertificate(v.Root)
	if err != nil {
		t.Fatal(err)
	}
	return attest.Options{
		Roots:  []*x509.Certificate{root},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "vectors", PCRs: v.PCRs}}},
		Clock:  func() time.Time { return time.Unix(at, 0) },
	}
}

func (v *exchangeVector) generation(t testing.TB) (*KeyConfig, *generation) {
	t.Helper()
	config, err := parseConfig(v.Config)
	if err != nil {
		t.Fatal(err)
	}
	private, err := v.KEM.hpke().NewPrivateKey(v.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGeneration(private, v.KEM, config.Info, 0, config.NotAfter)
	if err != nil || !bytes.Equal(g.config, v.Config) {
		t.Fatalf("%s: the configuration is not that of the key, %v", v.Name, err)
	}
	return config, g
}

// open opens the vector's request with its fixed key.
func (v *exchangeVector) open(t testing.TB) *Request {
	t.Helper()
	_, g := v.generation(t)
	p, err := parseRequest(v.Request)
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	if p.key != g.id || !bytes.Equal(p.id[:], v.RequestID) || p.issued.UnixMilli() != v.Issued {
		t.Errorf("%s: header %+v", v.Name, p.header)
	}
	again := append(p.header.append(nil, len(p.enc)), p.enc...)
	if again = append(again, p.ciphertext...); !bytes.Equal(again, v.Request) {
		t.Errorf("%s: becomes other bytes", v.Name)
	}
	payload, export, err := openRequest(p, g.private, g.digest)
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return &Request{ID: p.id, IssuedAt: p.issued, Payload: payload, export: export, digest: requestDigest(v.Request), pad: v.Pad}
}

func TestConfigVectors(t *testing.T) {
	for _, v := range loadVectors(t).Configs {
		want := KeyConfig{KEM: v.KEM, PublicKey: v.PublicKey, NotAfter: time.Unix(v.NotAfter, 0), Info: v.Info}
		raw, err := want.marshal()
		if err != nil || !bytes.Equal(raw, v.Encoding) {
			t.Errorf("%x, %v; want %x", raw, err, v.Encoding)
		}
		c, err := parseConfig(v.Encoding)
		if err != nil || c.KEM != v.KEM || !bytes.Equal(c.PublicKey, v.PublicKey) || c.NotAfter.Unix() != v.NotAfter || !bytes.Equal(c.Info, v.Info) {
			t.Errorf("%+v, %v", c, err)
		}
		digest := digestOf(labelConfig, v.Encoding)
		if id := keyIDOf(digest); !bytes.Equal(digest[:], v.Digest) || !bytes.Equal(id[:], v.KeyID) {
			t.Errorf("digest %x, id %v", digest, id)
		}
	}
}

func TestAttestationVectors(t *testing.T) {
	all := loadVectors(t)
	for _, v := range all.Attestation {
		nonce, err := parseAttestRequest(v.Request)
		if again := marshalAttestRequest(nonce); err != nil || !bytes.Equal(nonce[:], v.Nonce) || !bytes.Equal(again, v.Request) {
			t.Errorf("request %x, %v", again, err)
		}
		config, document, err := parseAttestAnswer(v.Answer)
		if err != nil || !bytes.Equal(config, v.Config) || !bytes.Equal(document, v.Document) {
			t.Fatal(err)
		}
		if again, err := marshalAttestAnswer(config, document); err != nil || !bytes.Equal(again, v.Answer) {
			t.Errorf("answer becomes %x, %v", again, err)
		}
		opts := all.trust(t, v.Time)
		opts.Policy.Nonce = v.Nonce
		digest := digestOf(labelConfig, config)
		opts.Policy.UserData = digest[:]
		if _, err := attest.Verify(document, opts); err != nil {
			t.Error(err)
		}
		if id, err := AttestationKeyID(v.Answer); err != nil || id != keyIDOf(digest) {
			t.Errorf("%v, %v", id, err)
		}
	}
}

func TestExchangeVectors(t *testing.T) {
	for _, v := range loadVectors(t).Exchanges {
		t.Run(v.Name, func(t *testing.T) {
			req := v.open(t)
			digest := requestDigest(v.Request)
			exported, err := req.export.Export(labelResponse, 32)
			if !bytes.Equal(req.Payload, v.Payload) || !bytes.Equal(digest[:], v.RequestDigest) || err != nil || !bytes.Equal(exported, v.Exported) {
				t.Errorf("payload %x, digest %x, exported %x, %v", req.Payload, digest, exported, err)
			}
			if size := len(v.Request) - v.overhead(); v.Padded && size != padded(4+len(v.Payload)) || !v.Padded && size != 4+len(v.Payload) {
				t.Errorf("%d bytes of plaintext", size)
			}
			a := answer{export: req.export, digest: digest}
			var sent [][]byte
			resp, err := req.respond(func(s []byte) error { sent = append(sent, s); return nil }, [responseNonce]byte(v.Nonce))
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range v.Segments {
				if err := resp.send(s.Kind, s.Content, s.Last); err != nil || !bytes.Equal(sent[i], s.Segment) {
					t.Fatalf("segment %d is %x, %v", i, sent[i], err)
				}
				kind, content, last, err := a.open(s.Segment)
				if err != nil || kind != s.Kind || !bytes.Equal(content, s.Content) || last != s.Last {
					t.Errorf("segment %d: kind %d, %x, %v, %v", i, kind, content, last, err)
				}
			}
			if err := resp.Send(nil); !errors.Is(err, ErrEnded) {
				t.Error(err)
			}
		})
	}
}

// overhead is what a request has around its plaintext.
func (v *exchangeVector) overhead() int {
	_, enc, _ := v.KEM.sizes()
	return requestHeader + enc + tagSize
}

func TestErrorVectors(t *testing.T) {
	for _, v := range loadVectors(t).Errors {
		raw, err := encode(wireError{v.Code, v.Message})
		if err != nil || !bytes.Equal(raw, v.Encoding) {
			t.Errorf("%x, %v", raw, err)
		}
		if e, err := parseError(v.Encoding); err != nil || *e != (RemoteError{v.Code, v.Message}) {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

func TestDataVectors(t *testing.T) {
	for _, v := range loadVectors(t).Data {
		d := v.data()
		raw, err := d.Encode()
		if err != nil || !bytes.Equal(raw, v.Encoding) {
			t.Errorf("%s: %x, %v", v.Name, raw, err)
		}
		again, err := DecodeData(v.Encoding)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if raw, err = again.Encode(); err != nil || !bytes.Equal(raw, v.Encoding) {
			t.Errorf("%s: becomes %x, %v", v.Name, raw, err)
		}
		if (again.Signed == nil) != (v.Signed == nil) || (again.Credentials == nil) != (v.Credentials == nil) || !bytes.Equal(again.Plain, v.Plain) {
			t.Errorf("%s: another form", v.Name)
		}
	}
}

func TestReceiptVectors(t *testing.T) {
	all := loadVectors(t)
	for _, v := range all.Receipts {
		r, err := VerifyReceipt(v.Receipt, all.trust(t, 0), v.claims())
		if err != nil || r.Time.Unix() != v.Time {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
