package kmstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// policy is a parsed key policy.
type policy struct {
	source     string
	statements []statement
}

// statement is one of a policy's, with every element understood.
type statement struct {
	deny       bool
	principals []string // patterns of ARNs; "*" is everybody
	actions    []string // patterns, lower case
	resources  []string // patterns of key ARNs
	conditions []condition
}

// parsePolicy reads a key policy. Whatever it does not understand is an error:
// a simulator that ignored a condition would pass policies that KMS fails.
func parsePolicy(source string) (*policy, error) {
	written, err := keypolicy.Parse([]byte(source))
	if err != nil {
		return nil, err
	}
	if written.Version != "2012-10-17" && written.Version != "2008-10-17" {
		return nil, errors.New("the policy's Version is not 2012-10-17")
	}
	p := &policy{source: source}
	for i := range written.Statements {
		s, err := compile(&written.Statements[i])
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func compile(w *keypolicy.Statement) (s statement, err error) {
	if len(w.NotPrincipals)+len(w.NotActions)+len(w.NotResources) > 0 {
		return s, errors.New("this server does not know NotPrincipal, NotAction and NotResource")
	}
	s.deny = w.Effect == "Deny"
	for _, p := range w.Principals {
		switch {
		case p.Kind != "AWS":
			return s, fmt.Errorf("this server does not know principals of kind %s", p.Kind)
		case p.ID == "*":
		case !strings.HasPrefix(p.ID, "arn:aws") || strings.ContainsAny(p.ID, "*?"):
			return s, fmt.Errorf("principal %q is no ARN; KMS takes no wildcards but * alone", p.ID)
		}
		s.principals = append(s.principals, p.ID)
	}
	for _, a := range w.Actions {
		if a != "*" && !strings.HasPrefix(strings.ToLower(a), "kms:") {
			return s, fmt.Errorf("action %q is not of KMS", a)
		}
		s.actions = append(s.actions, strings.ToLower(a))
	}
	s.resources = w.Resources
	for _, c := range w.Conditions {
		parsed, err := parseCondition(c.Operator, c.Key, c.Values)
		if err != nil {
			return s, err
		}
		s.conditions = append(s.conditions, parsed)
	}
	return s, nil
}

// request is what a policy is evaluated against.
type request struct {
	principal string
	action    string // "kms:Decrypt"
	resource  string // the key's ARN
	keys      map[string][]string
}

// allows evaluates the policy: an explicit Deny wins, then an Allow, and
// nothing at all denies (IAM User Guide, "Policy evaluation logic").
func (p *policy) allows(r *request) bool {
	allowed := false
	for _, s := range p.statements {
		if !s.matches(r) {
			continue
		}
		if s.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s *statement) matches(r *request) bool {
	if !slices.ContainsFunc(s.principals, func(p string) bool { return s.covers(p, r.principal) }) {
		return false
	}
	action := strings.ToLower(r.action)
	if !slices.ContainsFunc(s.actions, func(p string) bool { return keypolicy.Match(p, action) }) {
		return false
	}
	if !slices.ContainsFunc(s.resources, func(p string) bool { return keypolicy.Match(p, r.resource) }) {
		return false
	}
	for _, c := range s.conditions {
		if !c.holds(r.keys) {
			return false
		}
	}
	return true
}

// covers reports whether a Principal of the statement is the caller. That of
// an account's root user stands for the whole account: a Deny of it denies
// everybody there, while an Allow only lets IAM policies allow, which this
// server does not have (AWS KMS developer guide, "Default key policy").
func (s *statement) covers(principal, caller string) bool {
	if principal == "*" || principal == caller {
		return true
	}
	return s.deny && strings.HasSuffix(principal, ":root") && accountOf(principal) == accountOf(caller)
}

// accountOf is the account in an ARN, or "".
func accountOf(arn string) string {
	if f := strings.SplitN(arn, ":", 6); len(f) == 6 {
		return f[4]
	}
	return ""
}

// likeARN matches ARNs as AWS does: each of the six fields by itself.
func likeARN(pattern, s string) bool {
	p, f := strings.SplitN(pattern, ":", 6), strings.SplitN(s, ":", 6)
	if len(p) != 6 || len(f) != 6 {
		return false
	}
	for i := range p {
		if !keypolicy.Match(p[i], f[i]) {
			return false
		}
	}
	return true
}
