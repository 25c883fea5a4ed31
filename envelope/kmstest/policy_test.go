package kmstest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

func statementJSON(effect, principal, action, condition string) string {
	return fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":%q,"Resource":"*"%s}`, effect, principal, action, condition)
}

func policyJSON(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

const (
	alice = "arn:aws:iam::111122223333:role/alice"
	byARN = `{"AWS":"` + alice + `"}`
)

func TestEvaluation(t *testing.T) {
	context := func(pairs ...string) map[string][]string {
		keys := map[string][]string{keyCaller: {alice}, keyAccount: {"111122223333"}}
		for i := 0; i < len(pairs); i += 2 {
			keys[keyContext+pairs[i]] = []string{pairs[i+1]}
			keys[keyContextKeys] = append(keys[keyContextKeys], pairs[i])
		}
		return keys
	}
	cond := func(op, key, value string) string {
		return fmt.Sprintf(`,"Condition":{%q:{%q:%s}}`, op, key, value)
	}
	allowIf := func(op, key, value string) string {
		return policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", cond(op, key, value)))
	}
	const dir = "kms:EncryptionContext:direction"
	for _, tt := range []struct {
		name, policy string
		keys         map[string][]string
		want         bool
	}{
		{"allow", policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", "")), nil, true},
		{"everybody", policyJSON(statementJSON("Allow", `"*"`, "kms:*", "")), nil, true},
		{"list of principals", policyJSON(statementJSON("Allow", `{"AWS":["arn:aws:iam::1:root","`+alice+`"]}`, "KMS:decrypt", "")), nil, true},
		{"other principal", policyJSON(statementJSON("Allow", `{"AWS":"arn:aws:iam::111122223333:root"}`, "kms:Decrypt", "")), nil, false},
		{"other action", policyJSON(statementJSON("Allow", byARN, "kms:Encrypt", "")), nil, false},
		{"wildcard action", policyJSON(statementJSON("Allow", byARN, "kms:De*t", "")), nil, true},
		{"deny wins", policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", ""), statementJSON("Deny", `"*"`, "*", "")), nil, false},
		{"deny of something else", policyJSON(statementJSON("Deny", `"*"`, "kms:Encrypt", ""), statementJSON("Allow", byARN, "kms:Decrypt", "")), nil, true},
		{"StringEquals", allowIf("StringEquals", dir, `"request"`), context("direction", "request"), true},
		{"StringEquals, case", allowIf("StringEquals", dir, `"request"`), context("direction", "Request"), false},
		{"StringEquals, absent", allowIf("StringEquals", dir, `"request"`), context(), false},
		{"StringEquals, list", allowIf("StringEquals", dir, `["a","request"]`), context("direction", "request"), true},
		{"IgnoreCase", allowIf("StringEqualsIgnoreCase", dir, `"request"`), context("direction", "REQUEST"), true},
		{"key's case", allowIf("StringEquals", "kms:encryptioncontext:Direction", `"request"`), context("direction", "request"), true},
		{"IfExists, absent", allowIf("StringEqualsIfExists", dir, `"request"`), context(), true},
		{"NotEquals", allowIf("StringNotEquals", dir, `"response"`), context("direction", "request"), true},
		{"NotEquals, same", allowIf("StringNotEquals", dir, `"request"`), context("direction", "request"), false},
		{"NotEquals, absent", allowIf("StringNotEquals", dir, `"request"`), context(), true},
		{"Like", allowIf("StringLike", dir, `"re*st"`), context("direction", "request"), true},
		{"Like, not", allowIf("StringLike", dir, `"re?st"`), context("direction", "request"), false},
		{"Null true", allowIf("Null", dir, `"true"`), context(), true},
		{"Null false", allowIf("Null", dir, `"false"`), context("direction", "x"), true},
		{"Null false, absent", allowIf("Null", dir, `"false"`), context(), false},
		{"ForAllValues", allowIf("ForAllValues:StringEquals", "kms:EncryptionContextKeys", `["a","b"]`), context("a", "1", "b", "2"), true},
		{"ForAllValues, one more", allowIf("ForAllValues:StringEquals", "kms:EncryptionContextKeys", `["a","b"]`), context("a", "1", "c", "2"), false},
		{"ForAllValues, none", allowIf("ForAllValues:StringEquals", "kms:EncryptionContextKeys", `["a"]`), context(), true},
		{"ForAnyValue", allowIf("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", `["a"]`), context("a", "1", "c", "2"), true},
		{"ForAnyValue, none", allowIf("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", `["a"]`), context(), false},
		{"ViaService is never there", allowIf("StringEquals", "kms:ViaService", `"s3.us-east-1.amazonaws.com"`), context(), false},
		{"two conditions", policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:EncryptionContext:a":"1","kms:EncryptionContext:b":"2"}}`)), context("a", "1", "b", "3"), false},
	} {
		p, err := parsePolicy(tt.policy)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := p.allows(&request{alice, "kms:Decrypt", "arn:aws:kms:us-east-1:111122223333:key/1", tt.keys}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestPolicyIsRefused(t *testing.T) {
	ok := statementJSON("Allow", byARN, "kms:Decrypt", "")
	for name, p := range map[string]string{
		"empty":              "",
		"not JSON":           "{",
		"no statement":       policyJSON(),
		"version":            strings.Replace(policyJSON(ok), "2012-10-17", "2013-01-01", 1),
		"trailing":           policyJSON(ok) + "x",
		"unknown element":    strings.Replace(policyJSON(ok), `"Resource"`, `"NotResource"`, 1),
		"effect":             policyJSON(statementJSON("Maybe", byARN, "kms:Decrypt", "")),
		"no principal":       policyJSON(`{"Effect":"Allow","Action":"kms:*","Resource":"*"}`),
		"wildcard principal": policyJSON(statementJSON("Allow", `{"AWS":"arn:aws:iam::111122223333:role/*"}`, "kms:*", "")),
		"service principal":  policyJSON(statementJSON("Allow", `{"Service":"ec2.amazonaws.com"}`, "kms:*", "")),
		"other action":       policyJSON(statementJSON("Allow", byARN, "s3:Get*", "")),
		"unknown key":        policyJSON(statementJSON("Allow", byARN, "kms:*", `,"Condition":{"StringEquals":{"aws:SourceIp":"1.2.3.4"}}`)),
		"PCR32":              policyJSON(statementJSON("Allow", byARN, "kms:*", `,"Condition":{"StringEquals":{"kms:RecipientAttestation:PCR32":"00"}}`)),
		"PCR00":              policyJSON(statementJSON("Allow", byARN, "kms:*", `,"Condition":{"StringEquals":{"kms:RecipientAttestation:PCR00":"00"}}`)),
		"unknown operator":   policyJSON(statementJSON("Allow", byARN, "kms:*", `,"Condition":{"NumericEquals":{"kms:CallerAccount":"1"}}`)),
		"policy variable":    policyJSON(statementJSON("Allow", byARN, "kms:*", `,"Condition":{"StringEquals":{"kms:CallerAccount":"${aws:x}"}}`)),
		"no value":           policyJSON(statementJSON("Allow", byARN, "kms:*", `,"Condition":{"StringEquals":{"kms:CallerAccount":[]}}`)),
		"too large":          policyJSON(ok) + strings.Repeat(" ", keypolicy.MaxSize),
	} {
		if _, err := parsePolicy(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCMSFormIsThatOfKMS(t *testing.T) {
	real, err := os.ReadFile("../testdata/cms/real/k1-edgebit.cms")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../testdata/cms/real/k1-edgebit.key.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	key := parsed.(*rsa.PrivateKey)
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	plaintext, err := envelope.UnwrapCMS(key, real, envelope.UnwrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := sealForRecipient(&key.PublicKey, spki, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	// The encrypted key, the IV and the content are random.
	random := [][2]int{{131, 387}, {415, 431}, {435, 483}}
	masked := [2][]byte{slices.Clone(real), ours}
	for _, m := range masked {
		for _, r := range random {
			clear(m[r[0]:r[1]])
		}
	}
	if string(masked[0]) != string(masked[1]) {
		t.Errorf("KMS  %x\nours %x", masked[0], masked[1])
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"ForAnyValue:StringLike":{"kms:EncryptionContextKeys":["a*"]}}`)))
	f.Add(policyJSON(statementJSON("Deny", `"*"`, "*", "")))
	f.Fuzz(func(t *testing.T, source string) {
		p, err := parsePolicy(source)
		if err == nil {
			p.allows(&request{alice, "kms:Decrypt", "arn", map[string][]string{keyCaller: {alice}}})
		}
	})
}

func TestDuplicateNamesAreRefused(t *testing.T) {
	for name, p := range map[string]string{
		"operator":          policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:RecipientAttestation:PCR0":"00"},"StringEquals":{"kms:EncryptionContext:a":"1"}}`)),
		"condition":         policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:EncryptionContext:a":"1"}},"Condition":{}`)),
		"condition, case":   policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:EncryptionContext:a":"1"}},"condition":{}`)),
		"key":               policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:EncryptionContext:a":"1","kms:encryptioncontext:A":"2"}}`)),
		"statement":         `{"Version":"2012-10-17","Statement":[],"Statement":[` + statementJSON("Allow", byARN, "kms:*", "") + `]}`,
		"principal":         policyJSON(statementJSON("Allow", `{"AWS":"`+alice+`","AWS":"*"}`, "kms:*", "")),
		"nested too deeply": strings.Repeat("[", 100),
	} {
		if _, err := parsePolicy(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// The same name in two objects, and as a value, is fine.
	good := policyJSON(statementJSON("Allow", byARN, "kms:Decrypt", `,"Condition":{"StringEquals":{"kms:EncryptionContext:a":["a","a"]},"StringLike":{"kms:EncryptionContext:a":"a"}}`), statementJSON("Allow", byARN, "kms:Encrypt", ""))
	if _, err := parsePolicy(good); err != nil {
		t.Error(err)
	}
}

func TestPrincipals(t *testing.T) {
	const root, other = "arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:role/alice"
	allow := statementJSON("Allow", `"*"`, "kms:*", "")
	for _, tt := range []struct {
		name, policy, caller string
		want                 bool
	}{
		{"root allows nobody by itself", policyJSON(statementJSON("Allow", `{"AWS":"`+root+`"}`, "kms:*", "")), alice, false},
		{"root itself", policyJSON(statementJSON("Allow", `{"AWS":"`+root+`"}`, "kms:*", "")), root, true},
		{"a denied root denies its account", policyJSON(allow, statementJSON("Deny", `{"AWS":"`+root+`"}`, "kms:*", "")), alice, false},
		{"and no other", policyJSON(allow, statementJSON("Deny", `{"AWS":"`+root+`"}`, "kms:*", "")), other, true},
		{"ARN fields", policyJSON(statementJSON("Allow", `"*"`, "kms:*", `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}`)), alice, true},
		{"ARN fields are matched one by one", policyJSON(statementJSON("Allow", `"*"`, "kms:*", `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:*role/alice"}}`)), alice, false},
		{"no ARN", policyJSON(statementJSON("Allow", `"*"`, "kms:*", `,"Condition":{"ArnEquals":{"aws:PrincipalArn":"*"}}`)), alice, false},
	} {
		p, err := parsePolicy(tt.policy)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := p.allows(&request{tt.caller, "kms:Decrypt", "arn", map[string][]string{keyCaller: {tt.caller}}}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if accountOf(alice) != "111122223333" || accountOf("x") != "" {
		t.Error("accountOf")
	}
}

func TestContextNamesThatCollide(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.newKey(policyJSON(statementJSON("Allow", `"*"`, "kms:*", `,"Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}`)), "")
	if err != nil {
		t.Fatal(err)
	}
	mine := &call{principal: &Principal{ARN: alice}, op: "Decrypt"}
	for range 20 {
		if err := s.authorize(mine, k, map[string]string{"direction": "response", "Direction": "request"}); err == nil {
			t.Fatal("two names that differ in case only are accepted")
		}
	}
	if err := s.authorize(mine, k, nil); err != nil {
		t.Error(err)
	}
	if err := s.authorize(&call{principal: &Principal{ARN: "arn:aws:iam::999999999999:role/x"}, op: "Decrypt"}, k, nil); err == nil {
		t.Error("another account passes for the key's")
	}
}
