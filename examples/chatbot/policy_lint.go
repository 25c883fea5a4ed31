package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

const policyLintAbout = `
Reads any KMS key policy, this program's or another, and says in words what
defeats or weakens attestation: who gets plaintext without the right enclave,
what an attacker does with it, and what to write instead. It does not see IAM
policies, grants and the policies of organizations.

Principals whom the policy allows something by attestation count as known to the
parent, since in most designs their credentials pass through it. -delegating
names those who sign requests for the enclave and keep their credentials, as
clients in sealed mode do.
` + measurementsAbout

func runPolicyLint(_ context.Context, args []string, s streams) error {
	var opts keypolicy.Options
	fs := newFlags("policy lint", policyLintAbout, s)
	builds := newMeasurementFlags(fs)
	fs.Func("untrusted", "`ARN` of a role whose credentials the parent has (repeatable)", appendTo(&opts.Untrusted))
	fs.Func("delegating", "`ARN` of a role that signs requests for the enclave and keeps its credentials (repeatable)", appendTo(&opts.Delegating))
	strict := fs.Bool("strict", false, "exit with 1 for warnings too")
	asJSON := fs.Bool("json", false, "print the findings as a JSON list")
	operands, err := parseOperands(fs, args, s, 1, 1)
	if err != nil {
		return err
	}
	if opts.Measurements, err = builds.read(s.in); err != nil {
		return cannotRun(err)
	}
	policy, err := readInput(operands[0], s.in, keypolicy.MaxSize)
	if err != nil {
		return cannotRun(err)
	}
	findings := keypolicy.Lint(policy, opts)
	if *asJSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(append([]keypolicy.Finding{}, findings...)) // [], not null
	} else {
		_, err = io.WriteString(s.out, findingsInWords(findings))
	}
	if err != nil {
		return cannotRun(err)
	}
	for _, f := range findings {
		if f.Severity == keypolicy.Critical || *strict && f.Severity == keypolicy.Warning {
			return &exitError{status: exitFailed}
		}
	}
	return nil
}

// findingsInWords tells each finding, and what they come to.
func findingsInWords(findings []keypolicy.Finding) string {
	t := &text{}
	count := map[keypolicy.Severity]int{}
	for _, f := range findings {
		count[f.Severity]++
		where := "the policy"
		if f.Statement > 0 {
			where = fmt.Sprintf("statement %d", f.Statement)
			if f.Sid != "" {
				where += fmt.Sprintf(" (%s)", oneLine(f.Sid))
			}
		}
		t.line(0, fmt.Sprintf("%s: %s: %s", strings.ToUpper(f.Severity.String()), where, f.Code))
		t.prose(2, oneLine(f.Problem)+".")
		t.prose(2, "Attack: "+f.Attack)
		t.prose(2, "Instead: "+f.Fix)
		t.line(0, "")
	}
	verdict := "nothing here defeats attestation"
	switch {
	case count[keypolicy.Critical] > 0:
		verdict = "this policy does NOT hold the key for the enclave"
	case len(findings) == 0:
		verdict = "no findings"
	}
	if len(findings) > 0 {
		verdict = fmt.Sprintf("%d critical, %d warnings, %d notes: %s", count[keypolicy.Critical], count[keypolicy.Warning], count[keypolicy.Note], verdict)
	}
	t.line(0, verdict)
	return t.String()
}

// oneLine keeps what a file says from moving a terminal's cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '.'
	}, s)
}
