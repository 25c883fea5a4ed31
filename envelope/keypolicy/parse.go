package keypolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// MaxSize is the largest key policy, in bytes (AWS KMS API Reference,
// PutKeyPolicy).
const MaxSize = 32 << 10

// maxDepth is how deeply a policy's JSON may be nested; a real one needs six.
const maxDepth = 16

// ErrMalformed is what every error of Parse matches.
var ErrMalformed = errors.New("malformed key policy")

// Policy is a key policy as written: nothing is resolved or left out.
type Policy struct {
	Version    string // "" where it is not given, which means 2008-10-17
	ID         string
	Statements []Statement
}

// Statement is one statement of a Policy. Of each pair of elements (Principal
// and NotPrincipal, and so on) one is used and the other is empty.
type Statement struct {
	Sid                       string
	Effect                    string // "Allow" or "Deny"
	Principals, NotPrincipals []Principal
	Actions, NotActions       []string
	Resources, NotResources   []string
	Conditions                []Condition // sorted by operator and key
}

// Principal is whom a statement is about. Everybody is {"AWS", "*"}.
type Principal struct {
	Kind string // "AWS", "Service", "Federated" or "CanonicalUser"
	ID   string
}

// Condition is one operator on one condition key, with alternatives. All the
// conditions of a statement must hold.
type Condition struct {
	Operator, Key string
	Values        []string
}

// Parse reads a key policy in the JSON of the IAM User Guide, "Grammar of the
// IAM JSON policy language". It is strict about the form, where a mistake would
// be read as something else: names that occur twice, elements that do not
// exist or in another case, a missing Effect, and data after the end are
// refused. It does not judge what the policy says; Lint does. Errors match
// ErrMalformed.
func Parse(data []byte) (*Policy, error) {
	p, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("keypolicy: %w: %w", ErrMalformed, err)
	}
	return p, nil
}

func parse(data []byte) (*Policy, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes, more than the %d that KMS takes", len(data), MaxSize)
	}
	if err := checkForm(data); err != nil {
		return nil, err
	}
	var statements json.RawMessage
	p := &Policy{}
	if err := elements(data, map[string]any{"Version": &p.Version, "Id": &p.ID, "Statement": &statements}); err != nil {
		return nil, err
	}
	list := []json.RawMessage{statements}
	if statements != nil && statements[0] == '[' {
		list = nil
		if err := json.Unmarshal(statements, &list); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 || statements == nil {
		return nil, errors.New("no Statement")
	}
	for i, raw := range list {
		s, err := parseStatement(raw)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.Statements = append(p.Statements, s)
	}
	return p, nil
}

// elements decodes an object all of whose names are known.
func elements(data []byte, into map[string]any) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return errors.New("not a JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		v, ok := into[name]
		if !ok {
			return fmt.Errorf("there is no element %q", name)
		}
		if err := json.Unmarshal(object[name], v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func parseStatement(raw json.RawMessage) (Statement, error) {
	var s Statement
	var principals, notPrincipals principalElement
	var conditions map[string]map[string]valueList
	err := elements(raw, map[string]any{
		"Sid": &s.Sid, "Effect": &s.Effect,
		"Principal": &principals, "NotPrincipal": &notPrincipals,
		"Action": (*valueList)(&s.Actions), "NotAction": (*valueList)(&s.NotActions),
		"Resource": (*valueList)(&s.Resources), "NotResource": (*valueList)(&s.NotResources),
		"Condition": &conditions,
	})
	if err != nil {
		return s, err
	}
	s.Principals, s.NotPrincipals = principals, notPrincipals
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return s, errors.New("the Effect is neither Allow nor Deny")
	case (len(s.Principals) > 0) == (len(s.NotPrincipals) > 0):
		return s, errors.New("needs either Principal or NotPrincipal")
	case (len(s.Actions) > 0) == (len(s.NotActions) > 0):
		return s, errors.New("needs either Action or NotAction")
	case (len(s.Resources) > 0) == (len(s.NotResources) > 0):
		return s, errors.New("needs either Resource or NotResource")
	}
	for _, operator := range slices.Sorted(maps.Keys(conditions)) {
		keys := conditions[operator]
		if len(keys) == 0 {
			return s, fmt.Errorf("condition %s is empty", operator)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if len(keys[key]) == 0 {
				return s, fmt.Errorf("condition %s on %q has no value", operator, key)
			}
			s.Conditions = append(s.Conditions, Condition{operator, key, keys[key]})
		}
	}
	return s, nil
}

// valueList is a scalar or a list of scalars.
type valueList []string

func (l *valueList) UnmarshalJSON(b []byte) error {
	list := []json.RawMessage{b}
	if b[0] == '[' {
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
	}
	*l = nil
	for _, raw := range list {
		switch c := raw[0]; {
		case c == '"':
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
			*l = append(*l, s)
		case c == '[' || c == '{' || c == 'n':
			return errors.New("neither a string nor a list of strings")
		default:
			*l = append(*l, string(raw)) // a number, true or false, as text
		}
	}
	return nil
}

// principalElement is "*" or lists by kind.
type principalElement []Principal

func (p *principalElement) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte(`"*"`)) {
		*p = principalElement{{"AWS", "*"}}
		return nil
	}
	var kinds map[string]valueList
	if err := json.Unmarshal(b, &kinds); err != nil || len(kinds) == 0 {
		return errors.New(`neither "*" nor an object such as {"AWS": …}`)
	}
	*p = nil
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, kind) {
			return fmt.Errorf("there is no kind of principal %q", kind)
		}
		if len(kinds[kind]) == 0 {
			return fmt.Errorf("no principal of kind %s", kind)
		}
		for _, id := range kinds[kind] {
			*p = append(*p, Principal{kind, id})
		}
	}
	return nil
}

// checkForm refuses what is no single JSON value, is nested too deeply, or has
// objects with a name twice, in whatever case: encoding/json would take the
// last and drop a condition in silence.
func checkForm(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	var open []map[string]bool // names of the objects that are open; nil for lists
	isName, values := false, 0
	for {
		t, err := d.Token()
		if err == io.EOF && values == 1 && len(open) == 0 {
			return nil
		}
		if err == io.EOF {
			return errors.New("not a single JSON value")
		}
		if err != nil {
			return errors.New("not JSON")
		}
		if len(open) == 0 {
			values++
		}
		inObject := len(open) > 0 && open[len(open)-1] != nil
		switch v := t.(type) {
		case json.Delim:
			switch v {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return errors.New("nested too deeply")
			}
			isName = len(open) > 0 && open[len(open)-1] != nil
			continue
		case string:
			if inObject && isName {
				folded := strings.ToLower(v)
				if open[len(open)-1][folded] {
					return fmt.Errorf("%q occurs twice in an object", v)
				}
				open[len(open)-1][folded] = true
				isName = false
				continue
			}
		}
		isName = inObject // a value is over; a name follows, or the end
	}
}
