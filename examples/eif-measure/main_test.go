package main

import (
	"bytes"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
)

func TestRun(t *testing.T) {
	const dir = "../../attest/eif/testdata/"
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{dir + "eif-signed.eif"}, 0}, {[]string{dir + "eif-unsigned.eif"}, 0},
		{[]string{dir + "eif-bad-crc.eif"}, 1}, {[]string{dir + "none"}, 1}, {nil, 2}, {[]string{"a", "b"}, 2},
	} {
		var out, errOut bytes.Buffer
		if got := run(tt.args, &out, &errOut); got != tt.want || (got == 0) != (errOut.Len() == 0) || (got == 0) == (out.Len() == 0) {
			t.Errorf("%q: exit status %d, %s%s", tt.args, got, &out, &errOut)
		}
		if tt.want == 0 {
			p, err := attest.ParsePolicy(out.Bytes())
			if err != nil || p.Measurements[0].PCRs[0].String() != "d959ddaac06c6f34bddd258b8095b3f7b942b5bca96867590017d7e753e525c4b56948e94358180c5f9d4b26fc801131" {
				t.Errorf("the output is no policy: %v\n%s", err, &out)
			}
		}
	}
}
