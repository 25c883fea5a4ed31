package kmstest_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/envelope-kmstest.md.
func TestBadInput(t *testing.T) {
	plain := badinput.Plain()
	badPolicy := badinput.Is("keypolicy.ErrMalformed", keypolicy.ErrMalformed)
	s, err := kmstest.New(kmstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.CreateKey(kmstest.KeyOptions{Alias: "alias/taken"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.WriteFile(state, []byte(badinput.Canary), 0o600); err != nil {
		t.Fatal(err)
	}
	var cases []badinput.Case
	for _, f := range []struct {
		name  string
		start func(kmstest.Options) (*kmstest.Server, error)
	}{{"New", kmstest.New}, {"NewServer", kmstest.NewServer}, {"NewTLSServer", kmstest.NewTLSServer}} {
		for _, c := range []struct {
			input  string
			want   badinput.Outcome
			varies bool
			opts   func() kmstest.Options
		}{
			{"an account of 11 digits", plain, false, func() kmstest.Options { return kmstest.Options{Account: "11112222333"} }},
			{"an account of letters, with a newline", plain, false, func() kmstest.Options { return kmstest.Options{Account: "account\n1234"} }},
			{"a region with a space", plain, false, func() kmstest.Options { return kmstest.Options{Region: "us east\n"} }},
			{"a MaxAttestationAge of -1", plain, false, func() kmstest.Options { return kmstest.Options{MaxAttestationAge: -1} }},
			{"a DefaultPolicy that is no policy", badPolicy, false, func() kmstest.Options { return kmstest.Options{DefaultPolicy: badinput.Canary} }},
			{"a StateFile that is none", badinput.Is("kmstest.ErrState", kmstest.ErrState), true, func() kmstest.Options { return kmstest.Options{StateFile: state} }},
			{"a StateFile in a folder that is not there", plain, true, func() kmstest.Options { return kmstest.Options{StateFile: filepath.Join(dir, "no", "state")} }},
		} {
			cases = append(cases, badinput.Case{Func: f.name, Input: c.input, Want: c.want, Varies: c.varies, Call: func(context.Context) error {
				s, err := f.start(c.opts())
				if err == nil {
					s.Close()
				}
				return err
			}})
		}
	}
	create := func(input string, opts kmstest.KeyOptions) {
		cases = append(cases, badinput.On("Server.CreateKey", input, plain, func(context.Context) error {
			_, err := s.CreateKey(opts)
			return err
		}))
	}
	create("a policy that is no JSON", kmstest.KeyOptions{Policy: badinput.Canary})
	create("a policy over 32 KiB", kmstest.KeyOptions{Policy: strings.Repeat(" ", 33<<10) + "{}"})
	create("an unknown spec, with a newline", kmstest.KeyOptions{Spec: "RSA\n"})
	create("an alias without alias/", kmstest.KeyOptions{Alias: "taken"})
	create("an alias with a NUL", kmstest.KeyOptions{Alias: "alias/\x00"})
	create("an alias that another key has", kmstest.KeyOptions{Alias: "alias/taken"})
	put := func(input, key, policy string) {
		cases = append(cases, badinput.On("Server.PutKeyPolicy", input, plain, func(context.Context) error { return s.PutKeyPolicy(key, policy) }))
	}
	put("a key that is not there", "alias/other", `{"Version": "2012-10-17", "Statement": []}`)
	put("a key id with a newline", "x\n"+badinput.Canary, `{}`)
	put("no policy", key, "")
	put("a policy that is no JSON", key, badinput.Canary)
	principal := func(input string, p kmstest.Principal) {
		cases = append(cases, badinput.On("Server.AddPrincipal", input, plain, func(context.Context) error { return s.AddPrincipal(p) }))
	}
	principal("the zero Principal", kmstest.Principal{})
	principal("no secret key", kmstest.Principal{ARN: "arn:aws:iam::111122223333:role/a", AccessKeyID: "AKID"})
	principal("no ARN", kmstest.Principal{AccessKeyID: "AKID", SecretAccessKey: badinput.Canary})
	cases = append(cases, badinput.On("Server.Close", "a closed server", badinput.Ignored("closing twice is fine"), func(context.Context) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s, err := kmstest.NewServer(kmstest.Options{Listener: l})
		if err != nil {
			return err
		}
		s.Close()
		return s.Close()
	}))
	badinput.Table{
		Package: "envelope/kmstest",
		Cases:   cases,
		NoInput: []string{"Server.CACertPEM", "Server.Handler (HTTP requests: see the tests of the endpoints)", "Server.Region", "Server.URL"},
	}.Run(t)
}
