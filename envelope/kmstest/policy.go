package kmstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxPolicy is the largest key policy, in bytes (AWS KMS API Reference,
// PutKeyPolicy).
const maxPolicy = 32 << 10

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

// rawStatement is the JSON form (IAM User Guide, "IAM JSON policy elements
// reference").
type rawStatement struct {
	Sid       string
	Effect    string
	Principal json.RawMessage
	Action    oneOrMore
	Resource  oneOrMore
	Condition map[string]map[string]oneOrMore
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*o = oneOrMore{s}
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errors.New("neither a string nor a list of strings")
	}
	*o = list
	return nil
}

// parsePolicy reads a key policy. Whatever it does not understand is an error:
// a simulator that ignored a condition would pass policies that KMS fails.
func parsePolicy(source string) (*policy, error) {
	if len(source) > maxPolicy {
		return nil, fmt.Errorf("the policy has %d bytes, at most %d are allowed", len(source), maxPolicy)
	}
	if err := checkNames([]byte(source)); err != nil {
		return nil, err
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := decodeStrict([]byte(source), &raw); err != nil {
		return nil, err
	}
	if raw.Version != "2012-10-17" && raw.Version != "2008-10-17" {
		return nil, errors.New("the policy's Version is not 2012-10-17")
	}
	var list []rawStatement
	if len(raw.Statement) > 0 && raw.Statement[0] == '{' {
		list = make([]rawStatement, 1)
		if err := decodeStrict(raw.Statement, &list[0]); err != nil {
			return nil, err
		}
	} else if err := decodeStrict(raw.Statement, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the policy has no Statement")
	}
	p := &policy{source: source}
	for i, r := range list {
		s, err := r.parse()
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

// checkNames refuses objects that have a name twice, in whatever case:
// encoding/json would take the last and drop a condition in silence.
func checkNames(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	var names []map[string]bool // of the objects that are open; nil for lists
	isName := false
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errors.New("not a policy: no JSON")
		}
		inObject := len(names) > 0 && names[len(names)-1] != nil
		switch v := t.(type) {
		case json.Delim:
			switch v {
			case '{':
				names = append(names, map[string]bool{})
			case '[':
				names = append(names, nil)
			default:
				names = names[:len(names)-1]
			}
			if len(names) > 16 {
				return errors.New("not a policy: nested too deeply")
			}
			isName = len(names) > 0 && names[len(names)-1] != nil
			continue
		case string:
			if inObject && isName {
				folded := strings.ToLower(v)
				if names[len(names)-1][folded] {
					return fmt.Errorf("not a policy: %q occurs twice in an object", v)
				}
				names[len(names)-1][folded] = true
				isName = false
				continue
			}
		}
		isName = inObject // a value is over; a name follows, or the end
	}
}

func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not a policy: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("not a policy: data after the JSON value")
	}
	return nil
}

func (r *rawStatement) parse() (s statement, err error) {
	switch r.Effect {
	case "Allow":
	case "Deny":
		s.deny = true
	default:
		return s, errors.New("the Effect is neither Allow nor Deny")
	}
	if s.principals, err = parsePrincipals(r.Principal); err != nil {
		return s, err
	}
	if len(r.Action) == 0 {
		return s, errors.New("no Action")
	}
	for _, a := range r.Action {
		if a != "*" && !strings.HasPrefix(strings.ToLower(a), "kms:") {
			return s, fmt.Errorf("action %q is not of KMS", a)
		}
		s.actions = append(s.actions, strings.ToLower(a))
	}
	if len(r.Resource) == 0 {
		return s, errors.New("no Resource")
	}
	s.resources = r.Resource
	for op, keys := range r.Condition {
		for key, values := range keys {
			c, err := parseCondition(op, key, values)
			if err != nil {
				return s, err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return s, nil
}

func parsePrincipals(raw json.RawMessage) ([]string, error) {
	var all string
	if json.Unmarshal(raw, &all) == nil && all == "*" {
		return []string{"*"}, nil
	}
	var by map[string]oneOrMore
	if err := json.Unmarshal(raw, &by); err != nil || len(by) != 1 || len(by["AWS"]) == 0 {
		return nil, errors.New(`the Principal must be "*" or {"AWS": …}`)
	}
	for _, arn := range by["AWS"] {
		if arn == "*" {
			continue
		}
		if !strings.HasPrefix(arn, "arn:aws") || strings.ContainsAny(arn, "*?") {
			return nil, fmt.Errorf("principal %q is no ARN; KMS takes no wildcards but * alone", arn)
		}
	}
	return by["AWS"], nil
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
	if !slices.ContainsFunc(s.actions, func(p string) bool { return like(p, action) }) {
		return false
	}
	if !slices.ContainsFunc(s.resources, func(p string) bool { return like(p, r.resource) }) {
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
		if !like(p[i], f[i]) {
			return false
		}
	}
	return true
}

// like matches s against a pattern with * (any characters) and ? (one). It
// takes time proportional to the product of the lengths at worst.
func like(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0: // let the last * take one character more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
