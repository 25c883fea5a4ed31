package blog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const (
	// Method is the vsockrpc method of the enclave that takes a request.
	Method = "chatbot.blog.v1.Ask"
	// MaxRequest bounds a request, in bytes of JSON. The largest KMS ciphertext
	// takes 8 KiB of it, and session tokens a few more.
	MaxRequest = 64 << 10
)

// request is one question with the credentials of the user who asks it.
type request struct {
	accessKeyID     string
	secretAccessKey string
	token           string // empty for credentials without one
	region          string
	ciphertext      []byte
}

// Format prints neither credentials nor ciphertext, whatever the verb.
func (r request) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "blog request (%d bytes of ciphertext)", len(r.ciphertext))
}

// LogValue is Format for log/slog.
func (r request) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// errRequest never says what was in the request.
var errRequest = errors.New("blog: not a request of the documented form")

// parseRequest reads a request strictly: one JSON object with exactly the five
// members that the post's client sends, each once, spelled as there, and each
// an ASCII string without spaces. The token alone may be absent, empty or null,
// as it is for a user's permanent keys.
func parseRequest(body []byte) (request, error) {
	var r request
	var ciphertext string
	missing := map[string]*string{
		"access_key_id":     &r.accessKeyID,
		"secret_access_key": &r.secretAccessKey,
		"token":             &r.token,
		"region":            &r.region,
		"ciphertext":        &ciphertext,
	}
	if len(body) > MaxRequest || readMembers(json.NewDecoder(bytes.NewReader(body)), missing) != nil {
		return request{}, errRequest
	}
	if r.accessKeyID == "" || r.secretAccessKey == "" || r.region == "" || ciphertext == "" {
		return request{}, errRequest
	}
	var err error
	if r.ciphertext, err = base64.StdEncoding.Strict().DecodeString(ciphertext); err != nil {
		return request{}, errRequest
	}
	return r, nil
}

// readMembers stores the members of the one object in d, and takes each out of
// missing as it is met, so that one that comes twice is unknown.
func readMembers(d *json.Decoder, missing map[string]*string) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errRequest
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return errRequest
		}
		name, _ := t.(string) // More and Token see to it that it is one
		value, err := d.Token()
		if err != nil {
			return errRequest
		}
		target, known := missing[name]
		text, isString := value.(string)
		if !known || !(isString && printable(text) || value == nil && name == "token") {
			return errRequest
		}
		*target = text
		delete(missing, name)
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return errRequest
	}
	if _, err := d.Token(); err != io.EOF {
		return errRequest
	}
	return nil
}

// printable says whether s is ASCII without spaces and control characters.
// Then it can stand in an HTTP header, where credentials go.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
