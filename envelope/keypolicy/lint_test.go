package keypolicy_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

var update = flag.Bool("update", false, "write testdata/findings.txt and testdata/made.json anew")

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLint compares what Lint says of each policy in testdata, by statement
// and code, with testdata/findings.txt.
func TestLint(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(files) < 60 {
		t.Fatal(len(files), err)
	}
	var got strings.Builder
	seen := map[keypolicy.Code]bool{}
	for _, path := range files {
		worst := keypolicy.Note
		fmt.Fprintf(&got, "%s\n", strings.TrimPrefix(path, "testdata/"))
		for _, f := range keypolicy.Lint(read(t, path), keypolicy.Options{}) {
			worst = max(worst, f.Severity)
			seen[f.Code] = true
			fmt.Fprintf(&got, "\t%s %d %s\n", f.Severity, f.Statement, f.Code)
			if f.Problem == "" || f.Attack == "" || f.Fix == "" {
				t.Errorf("%s: %s explains nothing", path, f.Code)
			}
		}
		if bad := filepath.Base(filepath.Dir(path)) == "bad"; bad != (worst > keypolicy.Note) {
			t.Errorf("%s: the worst finding is a %s", path, worst)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/findings.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(read(t, "testdata/findings.txt")); got.String() != want {
		t.Errorf("findings differ from testdata/findings.txt (go test -update writes it anew); got:\n%s", got.String())
	}
	for _, code := range keypolicy.Codes() {
		if code != keypolicy.OtherMeasurement && code != keypolicy.SeveralValues && !seen[code] {
			t.Errorf("no policy in testdata has %s", code)
		}
	}
}

func TestLintMeasurements(t *testing.T) {
	data := read(t, "testdata/good/three-registers.json")
	p, err := keypolicy.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	pcrs := attest.PCRs{}
	for _, c := range p.Statements[3].Conditions {
		var n int
		if _, err := fmt.Sscanf(c.Key, "kms:RecipientAttestation:PCR%d", &n); err == nil {
			pcrs[n] = unhex(t, c.Values[0])
		}
	}
	if len(pcrs) != 3 {
		t.Fatal(pcrs)
	}
	other := maps.Clone(pcrs)
	other[2] = attest.PCRFromDigest([48]byte{1})
	for _, test := range []struct {
		name string
		of   []attest.Measurement
		want int
	}{
		{"the build", []attest.Measurement{{PCRs: other}, {PCRs: pcrs}}, 0},
		{"image only", []attest.Measurement{{PCRs: attest.PCRs{0: pcrs[0]}}}, 0},
		{"another application", []attest.Measurement{{PCRs: other}}, 1},
		{"another build", []attest.Measurement{{PCRs: attest.PCRs{0: other[2], 1: other[2], 2: other[2]}}}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			findings := keypolicy.Lint(data, keypolicy.Options{Measurements: test.of})
			if got := count(findings, keypolicy.OtherMeasurement); got != test.want || len(findings) != got {
				t.Errorf("%v", findings)
			}
		})
	}
}

// TestLintPrincipals is about what only Options tell.
func TestLintPrincipals(t *testing.T) {
	const admin = "arn:aws:iam::111122223333:role/key-admin"
	data := read(t, "testdata/good/least.json")
	if f := keypolicy.Lint(data, keypolicy.Options{Untrusted: []string{admin}}); count(f, keypolicy.ChangesPolicy) != 1 {
		t.Errorf("the parent administers the key: %v", f)
	}
	// One role that signs single requests for the enclave, and keeps its
	// credentials, may well read answers and write requests.
	delegated := []byte(strings.ReplaceAll(string(data), "chatbot-parent", "chatbot-client"))
	if f := keypolicy.Lint(delegated, keypolicy.Options{}); count(f, keypolicy.ReadsAnswers) != 1 || count(f, keypolicy.WritesQuestions) != 1 {
		t.Errorf("the parent has the client's credentials: %v", f)
	}
	if f := keypolicy.Lint(delegated, keypolicy.Options{Delegating: []string{"arn:aws:iam::111122223333:role/chatbot-client"}}); len(f) != 0 {
		t.Errorf("the client delegates: %v", f)
	}
}

func TestSeveralValues(t *testing.T) {
	data := string(read(t, "testdata/good/three-registers.json"))
	i := strings.Index(data, `PCR1": "`) + len(`PCR1": `)
	value := data[i : i+98]
	data = data[:i] + "[" + value + `, "` + strings.Repeat("ab", 48) + `"]` + data[i+98:]
	f := keypolicy.Lint([]byte(data), keypolicy.Options{})
	if len(f) != 1 || f[0].Code != keypolicy.SeveralValues || f[0].Severity != keypolicy.Note {
		t.Error(f)
	}
}

func TestFindingString(t *testing.T) {
	f := keypolicy.Lint(read(t, "testdata/bad/if-exists.json"), keypolicy.Options{})[0]
	f.Sid = "two\nlines\x1b[2J"
	s := f.String()
	if !strings.HasPrefix(s, "critical: statement 4 (two.lines.[2J): attestation-optional: StringEqualsIgnoreCaseIfExists on ") || strings.ContainsAny(s, "\n\x1b") {
		t.Errorf("%q", s)
	}
}

func count(findings []keypolicy.Finding, code keypolicy.Code) int {
	n := 0
	for _, f := range findings {
		if f.Code == code {
			n++
		}
	}
	return n
}

// FuzzLint judges anything, and finds the same in what Parse understood.
func FuzzLint(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		findings := keypolicy.Lint(data, keypolicy.Options{})
		p, err := keypolicy.Parse(data)
		if malformed := count(findings, keypolicy.Malformed) > 0; malformed != (err != nil) {
			t.Fatalf("Lint: %v, Parse: %v", findings, err)
		}
		for _, f := range findings {
			if f.Attack == "" || f.Statement < 0 || strings.ContainsAny(f.String(), "\n\r\x1b") {
				t.Fatalf("%q", f.String())
			}
		}
		if err == nil && !slices.Equal(findings, p.Lint(keypolicy.Options{})) {
			t.Fatal("findings differ")
		}
	})
}
