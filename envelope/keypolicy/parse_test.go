package keypolicy_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

func unhex(t *testing.T, s string) attest.PCR {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	p, err := keypolicy.Parse([]byte(`{"Version": "2012-10-17", "Id": "x", "Statement": {
		"Sid": "s", "Effect": "Deny", "NotPrincipal": {"AWS": ["a", "b"], "Service": "c"},
		"NotAction": ["kms:Decrypt"], "NotResource": "*",
		"Condition": {"Bool": {"kms:x": true}, "NumericEquals": {"k": [1, "2"]}, "ArnLike": {"b": "v", "a": ["w"]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &keypolicy.Policy{Version: "2012-10-17", ID: "x", Statements: []keypolicy.Statement{{
		Sid: "s", Effect: "Deny",
		NotPrincipals: []keypolicy.Principal{{Kind: "AWS", ID: "a"}, {Kind: "AWS", ID: "b"}, {Kind: "Service", ID: "c"}},
		NotActions:    []string{"kms:Decrypt"}, NotResources: []string{"*"},
		Conditions: []keypolicy.Condition{
			{Operator: "ArnLike", Key: "a", Values: []string{"w"}},
			{Operator: "ArnLike", Key: "b", Values: []string{"v"}},
			{Operator: "Bool", Key: "kms:x", Values: []string{"true"}},
			{Operator: "NumericEquals", Key: "k", Values: []string{"1", "2"}},
		},
	}}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v", p)
	}
}

func TestParseRefuses(t *testing.T) {
	const ok = `{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}`
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	if _, err := keypolicy.Parse([]byte(statement(ok))); err != nil {
		t.Fatal(err)
	}
	change := func(old, replacement string) string { return statement(strings.Replace(ok, old, replacement, 1)) }
	for name, source := range map[string]string{
		"nothing":              ``,
		"null":                 `null`,
		"list":                 `[]`,
		"text":                 `"x"`,
		"no statement":         `{"Version":"2012-10-17"}`,
		"null statement":       `{"Statement":null}`,
		"no statements":        statement(""),
		"statement of text":    statement(`"x"`),
		"unknown element":      change(`"Effect"`, `"Effects":"Allow","Effect"`),
		"other case":           change(`"Action"`, `"action"`),
		"duplicate":            change(`"Effect"`, `"Effect":"Deny","Effect"`),
		"duplicate, folded":    change(`"Effect"`, `"EFFECT":"Deny","Effect"`),
		"other effect":         change(`Allow`, `allow`),
		"effect of number":     change(`"Allow"`, `1`),
		"no principal":         change(`"Principal":"*",`, ``),
		"both principals":      change(`"Principal"`, `"NotPrincipal":"*","Principal"`),
		"principal of text":    change(`"Principal":"*"`, `"Principal":"arn:aws:iam::111122223333:root"`),
		"no principal in list": change(`"Principal":"*"`, `"Principal":{"AWS":[]}`),
		"empty principal":      change(`"Principal":"*"`, `"Principal":{}`),
		"kind of principal":    change(`"Principal":"*"`, `"Principal":{"aws":"*"}`),
		"principal of null":    change(`"Principal":"*"`, `"Principal":{"AWS":null}`),
		"no action":            change(`"Action":"kms:Decrypt",`, ``),
		"empty actions":        change(`"kms:Decrypt"`, `[]`),
		"nested actions":       change(`"kms:Decrypt"`, `[["kms:Decrypt"]]`),
		"no resource":          change(`,"Resource":"*"`, ``),
		"empty condition":      change(`"Resource"`, `"Condition":{"StringEquals":{}},"Resource"`),
		"no values":            change(`"Resource"`, `"Condition":{"StringEquals":{"a":[]}},"Resource"`),
		"null value":           change(`"Resource"`, `"Condition":{"StringEquals":{"a":null}},"Resource"`),
		"condition of text":    change(`"Resource"`, `"Condition":"x","Resource"`),
		"two values":           statement(ok) + `{}`,
		"cut short":            statement(ok)[:60],
		"too deep":             strings.Repeat(`[`, 20) + strings.Repeat(`]`, 20),
		"too long":             statement(ok) + strings.Repeat(" ", keypolicy.MaxSize),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := keypolicy.Parse([]byte(source))
			if !errors.Is(err, keypolicy.ErrMalformed) || p != nil {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*c", "abc", true}, {"a*c", "ac", true},
		{"a*c", "abd", false}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"*b*", "abc", true}, {"*a*b*a", "xaxbxbxa", true},
		{"?", "", false}, {"**", "x", true}, {"a", "A", false},
	} {
		if got := keypolicy.Match(test.pattern, test.s); got != test.want {
			t.Errorf("Match(%q, %q) is %v", test.pattern, test.s, got)
		}
	}
	// Backtracking over every star would not end.
	if keypolicy.Match(strings.Repeat("a*", 500)+"b", strings.Repeat("a", 4096)) {
		t.Error("matched")
	}
}
