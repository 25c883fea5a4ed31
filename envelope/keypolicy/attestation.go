package keypolicy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
)

// Condition keys, in lower case: they have none (AWS KMS developer guide,
// "AWS KMS condition keys" and "AWS KMS condition keys for attested platforms").
const (
	contextPrefix     = "kms:encryptioncontext:"
	attestationPrefix = "kms:recipientattestation:"
)

// register returns which PCR a condition key is about: ImageSha384 is PCR0.
// It is -1 where the key begins like one of those but is none.
func register(key string) (n int, about bool) {
	name, ok := strings.CutPrefix(strings.ToLower(key), attestationPrefix)
	if !ok {
		return 0, false
	}
	if name == "imagesha384" {
		return 0, true
	}
	digits, ok := strings.CutPrefix(name, "pcr")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n > 31 || strconv.Itoa(n) != digits {
		return -1, true
	}
	return n, true
}

// operator is a condition operator, taken apart (IAM User Guide, "IAM JSON
// policy elements: Condition operators").
type operator struct {
	base           string // in lower case, without negation, prefix and suffix
	negated        bool   // StringNot…
	ifExists       bool
	forAll, forAny bool
}

func parseOperator(s string) operator {
	var o operator
	s = strings.ToLower(s)
	s, o.forAll = strings.CutPrefix(s, "forallvalues:")
	s, o.forAny = strings.CutPrefix(s, "foranyvalue:")
	s, o.ifExists = strings.CutSuffix(s, "ifexists")
	for _, kind := range []string{"string", "arn"} {
		if rest, ok := strings.CutPrefix(s, kind+"not"); ok {
			o.negated, s = true, kind+rest
		}
	}
	o.base = s
	return o
}

// holdsWithout reports whether a condition holds in a request that has no such
// key, which is what an attacker sends.
func (o operator) holdsWithout() bool {
	return o.ifExists || o.forAll || o.negated && !o.forAny
}

// exact reports whether the condition holds only for the values that it names,
// apart from wildcards under StringLike.
func (o operator) exact() bool {
	return !o.holdsWithout() && !o.negated && slices.Contains([]string{"stringequals", "stringequalsignorecase", "stringlike"}, o.base)
}

// test is a condition with its operator taken apart, as it works together with
// the statement's others.
type test struct {
	Condition
	key string // in lower case; ImageSha384 is PCR0
	operator
}

// tests returns the statement's conditions. IfExists and ForAllValues are left
// out of those whose key must be there because another condition, Null, says
// so: AWS recommends that pair.
func (s *Statement) tests() []test {
	var list []test
	required := map[string]bool{}
	for _, c := range s.Conditions {
		t := test{c, strings.ToLower(c.Key), parseOperator(c.Operator)}
		if n, about := register(c.Key); about && n >= 0 {
			t.key = fmt.Sprintf("%spcr%d", attestationPrefix, n)
		}
		if t.base == "null" && strings.EqualFold(c.Values[0], "false") {
			required[t.key] = true
		}
		list = append(list, t)
	}
	for i := range list {
		if required[list[i].key] {
			list[i].ifExists, list[i].forAll = false, false
		}
	}
	return list
}

var hexPCR = regexp.MustCompile(`^[0-9a-fA-F]{96}$`)

// guard is what the attestation conditions of a statement amount to.
type guard struct {
	any      bool             // there are some
	never    bool             // one of them can hold in no request
	pinned   map[int][]string // values in lower case, by register
	findings []Finding        // without statement
}

// guardOf judges the conditions on attestation of an Allow statement.
func guardOf(s *Statement, opts Options) guard {
	g := guard{pinned: map[int][]string{}}
	add := func(code Code, format string, args ...any) {
		g.findings = append(g.findings, Finding{Code: code, Problem: fmt.Sprintf(format, args...)})
	}
	for _, c := range s.tests() {
		n, about := register(c.Key)
		if !about {
			continue
		}
		g.any = true
		o := c.operator
		switch {
		case n < 0:
			add(UnknownKey, "there is no condition key %s", c.Key)
			g.never = g.never || !o.holdsWithout()
		case o.base == "null":
			if strings.EqualFold(c.Values[0], "true") {
				add(AttestationAbsent, "%s must be absent", c.Key)
			} else {
				add(AnyEnclave, "%s must be present, whatever its value", c.Key)
			}
		case o.ifExists:
			add(AttestationOptional, "%s on %s holds when there is no attestation", c.Operator, c.Key)
		case o.forAll:
			add(AttestationOptional, "%s on %s holds when there is no attestation", c.Operator, c.Key)
		case o.negated:
			add(AttestationNegated, "%s on %s holds for all enclaves but the named", c.Operator, c.Key)
		case !o.exact():
			add(UnknownOperator, "%s does not compare %s, which is text", c.Operator, c.Key)
			g.never = true
		default:
			g.pin(n, c.Condition, o, opts, add)
		}
	}
	if g.image() {
		// What other conditions leave open, that of the image closes.
		g.findings = slices.DeleteFunc(g.findings, func(f Finding) bool { return slices.Contains(opening, f.Code) })
	}
	return g
}

// opening are the codes of conditions that hold for too many enclaves.
var opening = []Code{AttestationOptional, AttestationNegated, AttestationWildcard, AnyEnclave, ZeroPCR}

// pin judges the values that one exact condition allows a register.
func (g *guard) pin(n int, c Condition, o operator, opts Options, add func(Code, string, ...any)) {
	var good []string
	open := false
	for _, v := range c.Values {
		lower := strings.ToLower(v)
		switch {
		case o.base == "stringlike" && strings.ContainsAny(v, "*?"):
			add(AttestationWildcard, "%s on %s takes %q", c.Operator, c.Key, v)
			open = true
		case !hexPCR.MatchString(v):
			add(MalformedPCR, "%s on %s compares with %q, which is not 96 hexadecimal digits", c.Operator, c.Key, abbreviated(v))
		case strings.Trim(v, "0") == "":
			add(ZeroPCR, "%s may be all zero", c.Key)
			open = true
		case o.base == "stringequals" && lower != v, o.base == "stringlike" && lower != v:
			add(UpperCasePCR, "%s on %s compares with upper-case digits", c.Operator, c.Key)
		default:
			good = append(good, lower)
			if !expected(n, lower, opts.Measurements) {
				add(OtherMeasurement, "%s allows %s…, which is of no expected measurement", c.Key, lower[:16])
			}
		}
	}
	switch {
	case open:
	case len(good) == 0:
		g.never = true
	case len(good) > 1 && n != 0:
		add(SeveralValues, "%s has %d values", c.Key, len(good))
		fallthrough
	default:
		g.pinned[n] = good
	}
}

// expected reports whether one of the measurements allows the value. With none
// given, all are.
func expected(n int, value string, of []attest.Measurement) bool {
	return len(of) == 0 || slices.ContainsFunc(of, func(m attest.Measurement) bool {
		return m.PCRs[n] == nil || m.PCRs[n].String() == value
	})
}

// image reports whether the statement is only for enclaves of an image that it
// names: by PCR0, by kernel and application, or by the image's signer.
func (g *guard) image() bool {
	has := func(n int) bool { return len(g.pinned[n]) > 0 }
	return has(0) || has(8) || has(1) && has(2)
}

// gaps tells what pinned registers leave open.
func (g *guard) gaps() (Code, string, bool) {
	has := func(n int) bool { return len(g.pinned[n]) > 0 }
	switch {
	case has(0) || g.never || !g.any:
		return "", "", false
	case has(8) && !(has(1) && has(2)):
		return SignerOnly, "only PCR8, the image's signer, is named", true
	case has(1) && has(2):
		return PartsOfImage, "PCR1 and PCR2 are named, but not PCR0", true
	case len(g.pinned) == 0:
		return "", "", false // what was wrong with each condition is said
	}
	return MissingPCR0, "no condition names the whole image", true
}

func abbreviated(s string) string {
	if len(s) > 24 {
		return s[:24] + "…"
	}
	return s
}
