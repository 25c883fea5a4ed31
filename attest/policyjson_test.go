package attest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

var (
	pcrA = attest.PCR4("a")
	pcrB = attest.PCR4("b")
)

func TestParsePolicy(t *testing.T) {
	nitro := fmt.Sprintf(`{"HashAlgorithm":"Sha384 { ... }","PCR0":%q,"PCR1":%q,"PCR2":%q}`, pcrA, pcrB, pcrA)
	three := attest.PCRs{0: pcrA, 1: pcrB, 2: pcrA}
	for _, tt := range []struct {
		name, in string
		want     attest.Policy
	}{
		{"own form", fmt.Sprintf(`{"measurements":[{"name":"v1","pcrs":{"0":%q,"8":%q}},{"pcrs":{"0":%q}}],"max_age":"5m","module_id":"i-0","allow_debug":true}`, pcrA, pcrB, pcrB),
			attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: pcrA, 8: pcrB}}, {PCRs: attest.PCRs{0: pcrB}}}, MaxAge: 5 * time.Minute, ModuleID: "i-0", AllowDebug: true}},
		{"any", `{"any_measurement":true}`, attest.Policy{AnyMeasurement: true}},
		{"build-enclave", `{"Measurements":` + nitro + `}`, attest.Policy{Measurements: []attest.Measurement{{PCRs: three}}}},
		{"describe-eif", `{"EifVersion":4,"Measurements":` + nitro + `,"IsSigned":false,"CheckCRC":true,"ImageName":"app","ImageVersion":"1","Metadata":{"BuildTime":"x"}}`,
			attest.Policy{Measurements: []attest.Measurement{{Name: "app", PCRs: three}}}},
		{"describe-enclaves", `[{"EnclaveName":"one","EnclaveID":"i-0-enc1","ProcessID":1,"EnclaveCID":16,"NumberOfCPUs":2,"CPUIDs":[1,3],"MemoryMiB":512,"State":"RUNNING","Flags":"NONE","Measurements":` + nitro + `},
			{"EnclaveName":"two","Measurements":{"HashAlgorithm":"Sha384 { ... }","PCR0":"` + pcrB.String() + `"}}]`,
			attest.Policy{Measurements: []attest.Measurement{{Name: "one", PCRs: three}, {Name: "two", PCRs: attest.PCRs{0: pcrB}}}}},
	} {
		p, err := attest.ParsePolicy([]byte(tt.in))
		if err != nil || !reflect.DeepEqual(p, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
			continue
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if again, err := attest.ParsePolicy(b); err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%s: does not survive a round trip: %s, %v", tt.name, b, err)
		}
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	m := fmt.Sprintf(`{"pcrs":{"0":%q}}`, pcrA)
	for name, in := range map[string]string{
		"empty":              ``,
		"null":               `null`,
		"empty object":       `{}`,
		"empty list":         `[]`,
		"list of numbers":    `[1]`,
		"trailing":           `{"any_measurement":true}{}`,
		"both":               `{"any_measurement":true,"measurements":[` + m + `]}`,
		"no PCR":             `{"measurements":[{"pcrs":{}}]}`,
		"no measurement":     `{"measurements":[]}`,
		"unknown member":     `{"measurements":[` + m + `],"nonce":"00"}`,
		"typo":               `{"measurments":[` + m + `]}`,
		"duplicate":          `{"measurements":[` + m + `],"measurements":[` + m + `]}`,
		"duplicate, case":    `{"allow_debug":false,"Allow_Debug":true,"measurements":[` + m + `]}`,
		"duplicate PCR":      fmt.Sprintf(`{"measurements":[{"pcrs":{"0":%q,"0":%q}}]}`, pcrA, pcrB),
		"short PCR":          `{"measurements":[{"pcrs":{"0":"00"}}]}`,
		"null PCR":           `{"measurements":[{"pcrs":{"0":null}}]}`,
		"PCR32":              fmt.Sprintf(`{"measurements":[{"pcrs":{"32":%q}}]}`, pcrA),
		"PCR00 beside PCR0":  fmt.Sprintf(`{"measurements":[{"pcrs":{"0":%q,"00":%q}}]}`, pcrA, pcrB),
		"nitro with a rule":  fmt.Sprintf(`{"Measurements":{"PCR0":%q},"max_age":"5m"}`, pcrA),
		"nitro with another": fmt.Sprintf(`{"Measurements":{"PCR0":%q},"module_id":"i-0"}`, pcrA),
		"nitro, no object":   `{"Measurements":[]}`,
		"PCR-1":              fmt.Sprintf(`{"measurements":[{"pcrs":{"-1":%q}}]}`, pcrA),
		"age":                `{"any_measurement":true,"max_age":"yesterday"}`,
		"negative age":       `{"any_measurement":true,"max_age":"-5m"}`,
		"nitro, no PCR":      `{"Measurements":{"HashAlgorithm":"Sha384 { ... }"}}`,
		"nitro, SHA-256":     fmt.Sprintf(`{"Measurements":{"HashAlgorithm":"Sha256 { ... }","PCR0":%q}}`, pcrA),
		"nitro, unknown":     fmt.Sprintf(`{"Measurements":{"PCR0":%q,"PCR00":%q}}`, pcrA, pcrA),
		"nitro, PCR40":       fmt.Sprintf(`{"Measurements":{"PCR40":%q}}`, pcrA),
		"nitro, second bare": fmt.Sprintf(`[{"Measurements":{"PCR0":%q}},{}]`, pcrA),
		"deep":               strings.Repeat("[", 100_000),
		"too large":          `{"any_measurement":true}` + strings.Repeat(" ", 1<<20),
	} {
		if p, err := attest.ParsePolicy([]byte(in)); err == nil || !reflect.DeepEqual(p, attest.Policy{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := json.Marshal(attest.Policy{AnyMeasurement: true, Nonce: []byte{1}}); err == nil {
		t.Error("a nonce is left out of a policy file in silence")
	}
}

func TestExtended(t *testing.T) {
	p := attest.PCRs{0: pcrA}
	q := p.Extended(16, []byte("x"), []byte("y"))
	if len(p) != 1 || !q[0].Equal(pcrA) || !q[16].Equal(attest.ZeroPCR().Extend([]byte("x")).Extend([]byte("y"))) {
		t.Errorf("%v", q)
	}
	if r := attest.PCRs(nil).Extended(1, []byte("x")); !r[1].Equal(attest.ZeroPCR().Extend([]byte("x"))) {
		t.Errorf("%v", r)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(`{"measurements":[{"name":"v1","pcrs":{"0":%q}}],"max_age":"5m","allow_debug":true}`, pcrA)))
	f.Add([]byte(fmt.Sprintf(`[{"EnclaveName":"a","Measurements":{"HashAlgorithm":"Sha384 { ... }","PCR0":%q}}]`, pcrA)))
	f.Add([]byte(`{"any_measurement":true}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := slices.Clone(in)
		p, err := attest.ParsePolicy(in)
		if !bytes.Equal(before, in) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := attest.ParsePolicy(b); err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("does not survive a round trip: %s, %v", b, err)
		}
	})
}
