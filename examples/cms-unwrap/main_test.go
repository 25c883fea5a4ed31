package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testdata = "../../envelope/testdata"

// Every vector of package envelope through the command, as its users call it.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testdata, "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Vectors []struct{ Name, Kind, File, Key, Expect, Plaintext string }
	}
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	opened, refused := 0, 0
	for _, v := range index.Vectors {
		if v.Kind != "cms" {
			continue
		}
		var out, errOut bytes.Buffer
		args := []string{"-key", filepath.Join(testdata, v.Key), filepath.Join(testdata, v.File)}
		if strings.HasPrefix(v.Name, "openssl-") {
			args = append([]string{"-any-recipient-id"}, args...)
		}
		got := run(args, nil, &out, &errOut)
		if v.Expect == "ok" {
			opened++
			want, err := os.ReadFile(filepath.Join(testdata, v.Plaintext))
			if err != nil {
				t.Fatal(err)
			}
			if got != 0 || !bytes.Equal(out.Bytes(), want) || errOut.Len() > 0 {
				t.Errorf("%s: exit status %d, %d bytes, %s", v.Name, got, out.Len(), &errOut)
			}
		} else {
			refused++
			if got != 1 || out.Len() > 0 || strings.Count(errOut.String(), "\n") != 1 {
				t.Errorf("%s: exit status %d, %d bytes, %q", v.Name, got, out.Len(), &errOut)
			}
		}
	}
	if opened < 20 || refused < 50 {
		t.Errorf("only %d vectors opened and %d refused", opened, refused)
	}
}

func TestCalls(t *testing.T) {
	key := filepath.Join(testdata, "cms/keys/rsa2048.key.pem")
	message := filepath.Join(testdata, "cms/valid/kmslike-rsa2048-32.cms")
	bytesOf := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	large := file("large", strings.Repeat("x", maxInput+1))
	for _, tt := range []struct {
		name string
		args []string
		in   []byte
		want int
		says string
	}{
		{"a file", []string{"-key", key, message}, nil, 0, ""},
		{"standard input", []string{"-key", key, "-"}, bytesOf(message), 0, ""},
		{"another recipient identifier", []string{"-key", key, filepath.Join(testdata, "cms/valid/openssl-der-ski-rsa2048-32.cms")}, nil, 1, "cannot open"},
		{"nothing", nil, nil, 2, "usage"},
		{"no key", []string{message}, nil, 2, "usage"},
		{"an unknown flag", []string{"-k", key, message}, nil, 2, "usage"},
		{"two files", []string{"-key", key, message, message}, nil, 2, "usage"},
		{"no such key", []string{"-key", filepath.Join(dir, "none"), message}, nil, 1, "no such file"},
		{"no such file", []string{"-key", key, filepath.Join(dir, "none")}, nil, 1, "no such file"},
		{"a key that is no PEM", []string{"-key", message, message}, nil, 1, "no PEM"},
		{"a key of garbage", []string{"-key", file("bad.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), message}, nil, 1, "no private key"},
		{"an elliptic-curve key", []string{"-key", file("ec.pem", ecKey), message}, nil, 1, "no RSA key"},
		{"too much", []string{"-key", key, large}, nil, 1, "too large"},
	} {
		var out, errOut bytes.Buffer
		got := run(tt.args, bytes.NewReader(tt.in), &out, &errOut)
		if got != tt.want || (got == 0) != (out.Len() > 0) || !strings.Contains(errOut.String(), tt.says) || (got == 1) != (strings.Count(errOut.String(), "\n") == 1) {
			t.Errorf("%s: exit status %d, %d bytes, %q", tt.name, got, out.Len(), &errOut)
		}
	}
}

const ecKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgn0uv4kTpitXA2N/B
egfOjrxqQwxtWkgKN0kQTSAuUpqhRANCAASQqSsO0e+6yDy/geDkyKyQpRhXeYAu
eGmaYkUnwkcqn48QcsW2AhMtMdj6YGjAGaKON5FaC7VepSUfxTXHY5fP
-----END PRIVATE KEY-----
`
