package kmstest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// Condition keys that this server can give a value, in lower case, as
// condition keys are compared (IAM User Guide, "IAM JSON policy elements:
// Condition"; AWS KMS developer guide, "Condition keys for AWS KMS").
const (
	keyContext     = "kms:encryptioncontext:"
	keyContextKeys = "kms:encryptioncontextkeys"
	keyPCR         = "kms:recipientattestation:pcr"
	keyImage       = "kms:recipientattestation:imagesha384"
	keyCaller      = "aws:principalarn"
	keyAccount     = "kms:calleraccount"
	keyViaService  = "kms:viaservice" // never present: calls come directly
)

func knownKey(key string) bool {
	switch key {
	case keyContextKeys, keyImage, keyCaller, keyAccount, keyViaService:
		return true
	}
	if name, ok := strings.CutPrefix(key, keyContext); ok {
		return name != ""
	}
	if n, ok := strings.CutPrefix(key, keyPCR); ok {
		i, err := strconv.Atoi(n)
		return err == nil && i >= 0 && i < 32 && strconv.Itoa(i) == n
	}
	return false
}

// condition is one operator on one key.
type condition struct {
	key      string
	values   []string
	negated  bool // StringNot…: no value may match
	ifExists bool
	forAll   bool // ForAllValues: each value of the request must match
	forAny   bool // ForAnyValue: one of them must
	null     bool // Null: values say whether the key is absent
	match    func(pattern, value string) bool
}

// operators are those on strings, without prefix and suffix.
var operators = map[string]condition{
	"StringEquals":              {match: func(p, v string) bool { return p == v }},
	"StringNotEquals":           {match: func(p, v string) bool { return p == v }, negated: true},
	"StringEqualsIgnoreCase":    {match: strings.EqualFold},
	"StringNotEqualsIgnoreCase": {match: strings.EqualFold, negated: true},
	"StringLike":                {match: keypolicy.Match},
	"StringNotLike":             {match: keypolicy.Match, negated: true},
	"ArnEquals":                 {match: likeARN},
	"ArnLike":                   {match: likeARN},
	"ArnNotEquals":              {match: likeARN, negated: true},
	"ArnNotLike":                {match: likeARN, negated: true},
}

func parseCondition(op, key string, values []string) (condition, error) {
	if !knownKey(strings.ToLower(key)) {
		return condition{}, fmt.Errorf("condition key %q is not known to this server", key)
	}
	name, forAll := strings.CutPrefix(op, "ForAllValues:")
	name, forAny := strings.CutPrefix(name, "ForAnyValue:")
	var c condition
	if name == "Null" {
		if forAll || forAny || len(values) != 1 || (values[0] != "true" && values[0] != "false") {
			return condition{}, fmt.Errorf("condition Null on %q must be \"true\" or \"false\"", key)
		}
		c.null = true
	} else {
		name, ifExists := strings.CutSuffix(name, "IfExists")
		var ok bool
		if c, ok = operators[name]; !ok || (forAll && forAny) {
			return condition{}, fmt.Errorf("condition operator %q is not known to this server", op)
		}
		c.ifExists = ifExists
	}
	if len(values) == 0 {
		return condition{}, fmt.Errorf("condition %s on %q has no value", op, key)
	}
	// Policy variables, such as ${aws:username}, would need IAM.
	if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "${") }) {
		return condition{}, fmt.Errorf("condition on %q has a policy variable, which this server does not know", key)
	}
	c.key, c.values, c.forAll, c.forAny = strings.ToLower(key), values, forAll, forAny
	return c, nil
}

// holds evaluates the condition against the request's keys.
func (c *condition) holds(keys map[string][]string) bool {
	values, present := keys[c.key]
	if c.null {
		return (c.values[0] == "true") == !present
	}
	if !present {
		// An absent key fails a condition, unless it is negated or says
		// otherwise; ForAllValues holds for no values at all.
		return c.ifExists || c.forAll || (c.negated && !c.forAny)
	}
	good := func(v string) bool {
		return slices.ContainsFunc(c.values, func(p string) bool { return c.match(p, v) }) != c.negated
	}
	if c.forAll {
		return !slices.ContainsFunc(values, func(v string) bool { return !good(v) })
	}
	return slices.ContainsFunc(values, good)
}
