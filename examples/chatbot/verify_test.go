package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
)

const (
	docDir  = "../../attest/testdata/attestation/"
	realDoc = docDir + "real/veracruz.cose"
	realAt  = "2022-11-09T22:52:00Z"
	realPCR = "22f9e1c949208da55eb01b9b9fc88f87454f77ba133f0d82320b509621c92482152a99d0a12335b97178c02d6f977d01"
)

func TestVerify(t *testing.T) {
	policy := func(pcr0 string) string {
		return tempFile(t, "policy.json", succeeds(t, "", "policy", "emit", "-pcr", "v2:0="+pcr0, "-max-age", "0"))
	}
	good, wrong := policy(realPCR), policy(hexPCR("ab"))
	bad := tempFile(t, "bad", "{}")
	const synthetic, syntheticRoot = docDir + "synthetic/basic.cose", docDir + "root/synthetic-root.pem"
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"no policy", []string{"-at", realAt, realDoc}, exitOK, []string{`module      "i-04fd167167daacf3b-enc01845e97d0b3eb4e"`, "time        2022-11-09T22:", "PCR0        " + realPCR,
			"root        AWS Nitro Enclaves\n", "aws.nitro-enclaves", "leaf", "public key  none", "user data   32 bytes: 7c37108079b3e8a36d8a7970de1d6d4f", "ACCEPTED: genuine; without -policy nothing"}},
		{"policy met", []string{"-at", realAt, "-policy", good, realDoc}, exitOK, []string{"ACCEPTED: genuine, and the policy is met"}},
		{"policy not met", []string{"-at", realAt, "-policy", wrong, realDoc}, exitFailed, []string{"PCR0        " + realPCR, `REFUSED: attest: refused by policy`, `PCR0 of "v2": expected abab`}},
		{"expired", []string{realDoc}, exitFailed, []string{"PCR0        " + realPCR, "REFUSED", "validity period"}},
		{"debug", []string{"-at", "2023-03-06T00:00:00Z", docDir + "real/evervault-debug.cose"}, exitFailed, []string{"REFUSED"}},
		{"simulated", []string{"-at", realAt, synthetic}, exitFailed, []string{"REFUSED", "untrusted"}},
		{"its own root", []string{"-at", "2025-06-01T12:00:00Z", "-roots", syntheticRoot, synthetic}, exitOK, []string{"root        SIMULATED", "ACCEPTED as a simulation: signed under the given roots, and not by AWS; without"}},
		{"AWS's among the roots", []string{"-at", realAt, "-roots", docDir + "root/aws-nitro-root-g1.pem", realDoc}, exitOK, []string{"root        AWS Nitro Enclaves\n", "ACCEPTED: genuine;"}},
		{"nonce", []string{"-at", realAt, "-nonce", "00", realDoc}, exitFailed, []string{"nonce"}},
		{"no file", []string{"none"}, exitUsage, nil},
		{"no argument", nil, exitUsage, nil},
		{"two files", []string{realDoc, realDoc}, exitUsage, nil},
		{"bad time", []string{"-at", "noon", realDoc}, exitUsage, nil},
		{"bad nonce", []string{"-nonce", "x", realDoc}, exitUsage, nil},
		{"bad policy", []string{"-policy", bad, realDoc}, exitUsage, nil},
		{"no policy file", []string{"-policy", "none", realDoc}, exitUsage, nil},
		{"bad roots", []string{"-roots", bad, realDoc}, exitUsage, nil},
	} {
		code, out, errOut := runArgs(t, "", append([]string{"verify"}, tt.args...)...)
		if code != tt.code || (code == exitUsage) != (errOut != "") || (code == exitUsage) != (out == "") {
			t.Errorf("%s: exit status %d, %s%s", tt.name, code, out, errOut)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: without %q:\n%s", tt.name, want, out)
			}
		}
	}
	// Nothing of a document that is not genuine is shown, expired or not.
	for _, args := range [][]string{{"-at", realAt}, nil} {
		code, out, _ := runArgs(t, "", append([]string{"verify", docDir + "real/veracruz-badsig.cose"}, args...)...)
		if code != exitFailed || strings.Contains(out, "PCR0") || strings.Contains(out, "module") {
			t.Errorf("exit status %d, %s", code, out)
		}
	}
}

func TestVerifyInputs(t *testing.T) {
	raw, err := os.ReadFile(realDoc)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString(raw)
	for name, in := range map[string]string{
		"raw": string(raw), "hex": hex.EncodeToString(raw) + "\n", "wrapped": b64[:76] + "\n" + b64[76:], "base64url": base64.RawURLEncoding.EncodeToString(raw),
	} {
		if code, out, errOut := runArgs(t, in, "verify", "-", "-at", realAt); code != exitOK {
			t.Errorf("%s: exit status %d, %s%s", name, code, out, errOut)
		}
	}
	if code, _, errOut := runArgs(t, strings.Repeat("x", maxDocument+1), "verify", "-"); code != exitUsage || !strings.Contains(errOut, "larger than") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}

// TestVerifySimulated shows a document of now, whose fields would like to be
// obeyed by a terminal.
func TestVerifySimulated(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := ca.MarshalPEM() // with the key, which is not asked for
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: digestOf(t, "01")}})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := nsm.Attest(t.Context(), attest.Request{Nonce: []byte("n"), UserData: []byte("\x1b[2J"), PublicKey: spki})
	if err != nil {
		t.Fatal(err)
	}
	policy := tempFile(t, "policy.json", succeeds(t, "", "policy", "emit", "-pcr", "0="+hexPCR("01")))
	args := []string{"verify", "-roots", tempFile(t, "roots.pem", string(pem)), "-policy", policy, "-nonce", "6e", "-"}
	out := succeeds(t, string(doc), args...)
	for _, want := range []string{"public key  RSA, 2048 bits\n", "user data   4 bytes: 1b5b324a\n", "nonce       1 bytes: 6e\n", "ACCEPTED as a simulation", "and the policy is met\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	var v struct {
		Accepted bool
		Document struct {
			Simulated bool
			Kind      string      `json:"public_key_kind"`
			PCRs      attest.PCRs `json:"pcrs"`
			UserData  string      `json:"user_data"`
		}
	}
	out = succeeds(t, string(doc), append(args, "-json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil || !v.Accepted || !v.Document.Simulated || v.Document.Kind != "RSA, 2048 bits" || v.Document.UserData != "1b5b324a" || v.Document.PCRs[0].String() != hexPCR("01") {
		t.Errorf("%v, %s", err, out)
	}
	// Without -roots it is nothing, and with a policy of a short age it is too old.
	code, out, _ := runArgs(t, string(doc), "verify", "-json", "-")
	if code != exitFailed || !strings.Contains(out, `"error_kind": "untrusted"`) || strings.Contains(out, `"document"`) {
		t.Errorf("exit status %d, %s", code, out)
	}
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if code, out, _ := runArgs(t, string(doc), append(args, "-at", at)...); code != exitFailed || !strings.Contains(out, "age") {
		t.Errorf("exit status %d, %s", code, out)
	}
}

func TestKeyKind(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]any{"ECDSA, P-384": ec.Public(), "Ed25519": ed} {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyKind(der); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, b := range map[string][]byte{"none": nil, "2 bytes: 1b5b (of no known kind)": []byte("\x1b[")} {
		if got := keyKind(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
