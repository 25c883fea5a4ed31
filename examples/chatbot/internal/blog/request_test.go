package blog

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

const good = `{"access_key_id": "AKID", "secret_access_key": "secret+/=", "token": "tok", "region": "us-east-1", "ciphertext": "AAEC"}`

func TestParseRequest(t *testing.T) {
	want := request{"AKID", "secret+/=", "tok", "us-east-1", []byte{0, 1, 2}}
	for _, body := range []string{
		good,
		strings.ReplaceAll(good, " ", ""),
		" \n" + good + "\r\n",
		// The order is the client's choice, and escapes are JSON's.
		`{"ciphertext":"AAEC","region":"us-east-1","token":"tok","secret_access_key":"secret+\/=","access_key_\u0069d":"\u0041KID"}`,
	} {
		if got, err := parseRequest([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	want.token = ""
	for _, token := range []string{``, `"token": "", `, `"token": null, `} {
		if got, err := parseRequest([]byte(strings.Replace(good, `"token": "tok", `, token, 1))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the good request", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, body := range map[string]string{
		"nothing":               "",
		"null":                  "null",
		"an array":              "[" + good + "]",
		"a string":              `"x"`,
		"no members":            "{}",
		"broken off":            good[:len(good)-1],
		"a comma too many":      swap(`"AAEC"}`, `"AAEC",}`),
		"no comma":              swap(`"AKID",`, `"AKID"`),
		"something after it":    good + "{}",
		"garbage after it":      good + "x",
		"a sixth member":        swap(`{`, `{"x": "y", `),
		"another case":          swap("region", "Region"),
		"a member twice":        swap(`{`, `{"region": "us-east-1", `),
		"a token twice":         swap(`{`, `{"token": null, `),
		"a number":              swap(`"AKID"`, `1`),
		"an object":             swap(`"AKID"`, `{}`),
		"an array in it":        swap(`"AKID"`, `["AKID"]`),
		"a bool":                swap(`"AKID"`, `true`),
		"null credentials":      swap(`"AKID"`, `null`),
		"no access key":         swap(`"access_key_id": "AKID", `, ``),
		"an empty access key":   swap(`"AKID"`, `""`),
		"an empty secret":       swap(`"secret+/="`, `""`),
		"an empty region":       swap(`"us-east-1"`, `""`),
		"an empty ciphertext":   swap(`"AAEC"`, `""`),
		"a line break":          swap(`AKID`, `AK\nID`),
		"a space":               swap(`tok`, `t k`),
		"not ASCII":             swap(`tok`, "t\u00f6k"),
		"not UTF-8":             swap(`tok`, "t\xffk"),
		"no base64":             swap(`AAEC`, `%%`),
		"base64 without end":    swap(`AAEC`, `AAE`),
		"URL base64":            swap(`AAEC`, `-_-_`),
		"base64 with loose end": swap(`AAEC`, `AAF=`),
		"too large":             good + strings.Repeat(" ", MaxRequest),
	} {
		r, err := parseRequest([]byte(body))
		if err != errRequest || !reflect.DeepEqual(r, request{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestIsNotPrinted(t *testing.T) {
	r, err := parseRequest([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "request", r, "pointer", &r)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "request", r)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&log, verb+verb, r, &r)
	}
	for _, secret := range []string{"AKID", "secret", "tok", "us-east", fmt.Sprintf("%x", "secret+/=")} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is printed: %s", secret, &log)
		}
	}
	if !strings.Contains(log.String(), "3 bytes of ciphertext") {
		t.Error(&log)
	}
}

// What is taken is what encoding/json reads too, and nothing else.
func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{good, "", "{}", `{"token":null}`, good[:40], strings.Replace(good, "tok", `\ud800`, 1), strings.Replace(good, "AKID", "", 1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err != nil {
			if err != errRequest || !reflect.DeepEqual(r, request{}) {
				t.Fatalf("%v beside an error: %v", r, err)
			}
			return
		}
		var plain map[string]string
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("taken, and not JSON: %v", err)
		}
		delete(plain, "token") // may be absent
		want := map[string]string{"access_key_id": r.accessKeyID, "secret_access_key": r.secretAccessKey, "region": r.region, "ciphertext": plain["ciphertext"]}
		if !reflect.DeepEqual(plain, want) {
			t.Fatal("read otherwise than encoding/json reads it")
		}
		if blob, err := base64.StdEncoding.DecodeString(plain["ciphertext"]); err != nil || string(blob) != string(r.ciphertext) {
			t.Fatal("another ciphertext")
		}
		for _, s := range want {
			if s == "" || !printable(s) {
				t.Fatal("an empty or unprintable value")
			}
		}
	})
}
