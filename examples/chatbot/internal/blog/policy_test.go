package blog

import (
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

const principal = "arn:aws:iam::111122223333:role/chatbot"

// The linter must see the flaw that the post's protocol cannot do without, and
// nothing else above a note that the protocol does not explain.
func TestKeyPolicyFindings(t *testing.T) {
	pcrs := attest.PCRs{0: attest.PCRFromDigest([48]byte{1}), 1: attest.PCRFromDigest([48]byte{2}), 2: attest.PCRFromDigest([48]byte{3})}
	policy, err := KeyPolicy("111122223333", principal, pcrs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range keypolicy.Lint([]byte(policy), keypolicy.Options{Measurements: []attest.Measurement{{PCRs: pcrs}}}) {
		t.Log(f)
		got = append(got, f.Severity.String()+" "+f.Sid+" "+string(f.Code))
	}
	want := []string{
		"critical TheClientReadsAndSoMayTheParent attestation-absent",
		// No context at all is what these ask for; a direction they cannot.
		"warning QuestionsAndAnswersAreWritten writes-any-context",
		"warning TheEnclaveReads no-context",
		"warning TheClientReadsAndSoMayTheParent no-context",
		"note Administration root-administers",
	}
	if !slices.Equal(got, want) {
		t.Errorf("findings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestKeyPolicyArguments(t *testing.T) {
	image := attest.PCRs{0: attest.PCRFromDigest([48]byte{1})}
	for _, arn := range []string{principal, "arn:aws-cn:iam::111122223333:user/path/a.b", "arn:aws-us-gov:iam::444455556666:role/x"} {
		policy, err := KeyPolicy("111122223333", arn, image)
		if err != nil {
			t.Errorf("%s: %v", arn, err)
		}
		if partition := strings.Split(arn, ":")[1]; !strings.Contains(policy, `"arn:`+partition+`:iam::111122223333:root"`) {
			t.Errorf("%s: the administrator is not of that partition", arn)
		}
	}
	for name, tt := range map[string]struct {
		account, arn string
		pcrs         attest.PCRs
	}{
		"no account":    {"", principal, image},
		"a short one":   {"1111", principal, image},
		"no principal":  {"111122223333", "", image},
		"everybody":     {"111122223333", "*", image},
		"the account":   {"111122223333", "arn:aws:iam::111122223333:root", image},
		"a wildcard":    {"111122223333", "arn:aws:iam::111122223333:role/*", image},
		"a session":     {"111122223333", "arn:aws:sts::111122223333:assumed-role/x/y", image},
		"no PCR":        {"111122223333", principal, nil},
		"no PCR0":       {"111122223333", principal, attest.PCRs{1: image[0]}},
		"debug mode":    {"111122223333", principal, attest.PCRs{0: attest.ZeroPCR()}},
		"a short PCR":   {"111122223333", principal, attest.PCRs{0: image[0][:32]}},
		"PCR32":         {"111122223333", principal, attest.PCRs{0: image[0], 32: image[0]}},
		"a missing PCR": {"111122223333", principal, attest.PCRs{0: image[0], 1: nil}},
	} {
		if policy, err := KeyPolicy(tt.account, tt.arn, tt.pcrs); err == nil || policy != "" {
			t.Errorf("%s: accepted", name)
		}
	}
}
