package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

const policyShowAbout = `
Says in words what a policy accepts: one that "chatbot policy emit" made, the
output of nitro-cli, which is a policy too, or a KMS key policy, of which it
shows the statements and judges none; "chatbot policy lint" does that.
`

func runPolicyShow(_ context.Context, args []string, s streams) error {
	fs := newFlags("policy show", policyShowAbout, s)
	operands, err := parseOperands(fs, args, s, 1, 1)
	if err != nil {
		return err
	}
	data, err := readInput(operands[0], s.in, maxPolicyFile)
	if err != nil {
		return err
	}
	var shown string
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) == nil && members["Statement"] != nil {
		p, err := keypolicy.Parse(data)
		if err != nil {
			return fmt.Errorf("%s: %w", operands[0], err)
		}
		shown = keyPolicyInWords(p)
	} else {
		p, err := attest.ParsePolicy(data)
		if err != nil {
			return fmt.Errorf("%s: %w", operands[0], err)
		}
		shown = policyInWords(p)
	}
	_, err = io.WriteString(s.out, shown)
	return err
}

func policyInWords(p attest.Policy) string {
	t := &text{}
	switch n := len(p.Measurements); {
	case p.AnyMeasurement:
		t.line(0, "Accepts ANY enclave of anybody's: no measurement is looked at.")
	case n == 1:
		t.line(0, "Accepts an enclave with these registers:")
	default:
		t.line(0, fmt.Sprintf("Accepts an enclave with the registers of one of %d builds:", n))
	}
	for _, m := range p.Measurements {
		if m.Name != "" {
			t.line(2, oneLine(m.Name))
		}
		for _, n := range slices.Sorted(maps.Keys(m.PCRs)) {
			t.line(4, fmt.Sprintf("PCR%-2d  %v", n, m.PCRs[n]))
		}
	}
	if p.ModuleID != "" {
		t.line(0, fmt.Sprintf("Its NSM must be %q.", p.ModuleID))
	}
	if p.MaxAge > 0 {
		t.line(0, fmt.Sprintf("Its attestation document must be at most %v old.", p.MaxAge))
	} else {
		t.line(0, "Its attestation document may have any age while its certificate is valid.")
	}
	if p.AllowDebug {
		t.line(0, "Debug mode is ACCEPTED: the parent reads the console of such an enclave.")
	} else {
		t.line(0, "Debug mode is refused.")
	}
	warnAboutBuilds(t, p.Measurements)
	return t.String()
}

func keyPolicyInWords(p *keypolicy.Policy) string {
	t := &text{}
	t.line(0, fmt.Sprintf("A KMS key policy with %d statements:", len(p.Statements)))
	for i, s := range p.Statements {
		t.line(0, "")
		t.line(0, oneLine(strings.TrimSpace(fmt.Sprintf("%d. %s", i+1, s.Sid))))
		var who []string
		for _, id := range append(principals("", s.Principals), principals("all but ", s.NotPrincipals)...) {
			who = append(who, oneLine(id))
		}
		t.hanging(2, 4, strings.Fields(map[string]string{"Allow": "allows", "Deny": "DENIES"}[s.Effect]+" "+strings.Join(who, ", ")))
		if len(s.Actions) > 0 {
			t.hanging(2, 4, strings.Fields("to use "+oneLine(strings.Join(s.Actions, ", "))))
		} else {
			t.hanging(2, 4, strings.Fields("to use everything but "+oneLine(strings.Join(s.NotActions, ", "))))
		}
		if r := append(slices.Clone(s.Resources), s.NotResources...); !slices.Equal(r, []string{"*"}) || len(s.NotResources) > 0 {
			t.hanging(2, 4, strings.Fields(map[bool]string{false: "on ", true: "on everything but "}[len(s.NotResources) > 0]+oneLine(strings.Join(r, ", "))))
		}
		for _, c := range s.Conditions {
			t.line(2, oneLine(fmt.Sprintf("if %s (%s)", c.Key, c.Operator)))
			for _, v := range c.Values {
				t.line(6, oneLine(v))
			}
		}
	}
	return t.String()
}

func principals(before string, list []keypolicy.Principal) []string {
	var ids []string
	for _, p := range list {
		id := p.ID
		if p.Kind != "AWS" {
			id = p.Kind + " " + id
		}
		ids = append(ids, before+id)
	}
	return ids
}
