package main

import (
	"os"
	"strings"
	"testing"

	"github.com/hf/nsm"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/nitrotest/report"
)

// TestJudge: what a module of the known behaviour says is accepted, and what
// differs from it is named. The software module is the one at hand.
func TestJudge(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	built := attest.PCRs{}
	for i := range 3 {
		built[i] = attest.PCRFromDigest([48]byte{byte(i + 1)})
	}
	made := func(t *testing.T, nonce []byte) report.Report {
		device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: built})
		if err != nil {
			t.Fatal(err)
		}
		return report.Make(t.Context(), device.Device(), nonce)
	}
	nonce := []byte("a nonce that a document has")
	if err := judge(made(t, nonce), built, nonce); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*report.Report)
		want   string
	}{
		"register":      {func(r *report.Report) { r.PCRs[1][0] ^= 1 }, "PCR1"},
		"lock":          {func(r *report.Report) { r.Locked[15] = false }, "PCR15"},
		"random":        {func(r *report.Report) { r.Random[1] = r.Random[0] }, "random"},
		"extension":     {func(r *report.Report) { r.Extended[5] ^= 1 }, "PCR16"},
		"error":         {func(r *report.Report) { r.Errors["extend PCR0"] = "InternalError" }, "extend PCR0"},
		"missing error": {func(r *report.Report) { delete(r.Errors, "describe PCR32") }, "describe PCR32"},
		"failure":       {func(r *report.Report) { r.Failed = []string{"attest: no"} }, "attest: no"},
		"nonce":         {func(r *report.Report) { r.Document = nil }, "nonce"},
		"no device":     {func(r *report.Report) { r.Device = "no such file" }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := made(t, nonce)
			tt.change(&r)
			if err := judge(r, built, nonce); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if r := report.Make(t.Context(), nsm.Options{Open: func() (nsm.FileDescriptor, error) { return nil, os.ErrNotExist }, Syscall: nsm.DefaultOptions.Syscall}, nonce); r.Device == "" {
		t.Error("without a device")
	}
}
