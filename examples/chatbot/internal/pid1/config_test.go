package pid1

import (
	"reflect"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	c := Config{Command: []string{"/chatbot", "enclave", "-egress", "a=b<>&"}, Env: []string{"HOME=/tmp", "EMPTY="}, ParentCID: 3, TmpMiB: 8}
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseConfig(data); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(string(data), "a=b<>&") {
		t.Errorf("not legible: %s", data)
	}
	for name, bad := range map[string]string{
		"nothing":       ``,
		"no command":    `{}`,
		"relative":      `{"command":["chatbot"]}`,
		"unknown":       `{"command":["/c"],"debug":true}`,
		"two":           `{"command":["/c"]}{}`,
		"environment":   `{"command":["/c"],"env":["HOME"]}`,
		"no name":       `{"command":["/c"],"env":["=x"]}`,
		"zero byte":     `{"command":["/c","a\u0000b"]}`,
		"negative size": `{"command":["/c"],"tmp_mib":-1}`,
		"negative CID":  `{"command":["/c"],"parent_cid":-1}`,
		"large":         `{"command":["/c","` + strings.Repeat("x", maxConfig) + `"]}`,
	} {
		if got, err := ParseConfig([]byte(bad)); err == nil || !reflect.DeepEqual(got, Config{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := (Config{Command: []string{"/c", strings.Repeat("x", maxConfig)}}).Encode(); err == nil {
		t.Error("a configuration that cannot be read was written")
	}
}
