package keypolicy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
)

// Options tells Lint what a key policy does not say.
type Options struct {
	// Untrusted are ARNs of principals whose credentials root on the parent
	// has, such as the instance's role. Principals whom a statement allows
	// something by attestation count as such without being named.
	Untrusted []string
	// Delegating are ARNs of principals who are allowed something by
	// attestation, but whose credentials never reach the parent, because they
	// sign the one request that the enclave sends (envelope.SignDecrypt).
	Delegating []string
	// Measurements, where given, are the builds that the policy is meant for;
	// PCR values of no such build are reported.
	Measurements []attest.Measurement
}

// Lint reads any key policy and reports what defeats or weakens attestation,
// the worst first. A policy that cannot be parsed is a finding too. No finding
// above Note means that, as far as this policy goes, plaintext reaches only
// the enclaves and principals that it names; what IAM policies, grants and
// organizations add is not seen here.
func Lint(data []byte, opts Options) []Finding {
	p, err := parse(data)
	if err != nil {
		f := Finding{Code: Malformed, Problem: err.Error()}
		f.explain()
		return []Finding{f}
	}
	return p.Lint(opts)
}

// Lint is the function Lint for a policy that is parsed.
func (p *Policy) Lint(opts Options) []Finding {
	l := linter{policy: p, opts: opts}
	l.survey()
	if p.Version != "2012-10-17" {
		l.add(-1, OldVersion, "the Version is %q", p.Version)
	}
	for i := range p.Statements {
		l.form(i)
		if p.Statements[i].Effect == "Allow" {
			l.attestation(i)
			l.principals(i)
			l.reading(i)
			l.writing(i)
			l.administration(i)
		}
	}
	if !l.changeable() {
		l.add(-1, Immutable, "no statement allows kms:PutKeyPolicy")
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return l.findings
}

// linter collects findings about one policy.
type linter struct {
	policy   *Policy
	opts     Options
	facts    []facts // of each statement
	findings []Finding
}

// facts are what the rules want to know about a statement.
type facts struct {
	guard     guard
	guarded   bool // only for enclaves of a named image
	contexts  contexts
	optional  []string // entries of the context that may be left out
	untrusted bool     // the parent has credentials of one of its principals
}

func (l *linter) add(i int, code Code, format string, args ...any) {
	f := Finding{Code: code, Statement: i + 1, Problem: fmt.Sprintf(format, args...)}
	if i >= 0 {
		f.Sid = l.policy.Statements[i].Sid
	}
	f.explain()
	l.findings = append(l.findings, f)
}

func (f *Finding) explain() {
	e := explanations[f.Code]
	f.Severity, f.Attack, f.Fix = e.severity, e.attack, e.fix
}

// survey gathers the facts.
func (l *linter) survey() {
	untrusted := slices.Clone(l.opts.Untrusted)
	for i := range l.policy.Statements {
		s := &l.policy.Statements[i]
		f := facts{guard: guardOf(s, l.opts)}
		f.contexts, f.optional = contextsOf(s)
		f.guarded = f.guard.image() || l.deniedWithout(s)
		l.facts = append(l.facts, f)
		if s.Effect == "Allow" && (f.guard.any || f.guarded) {
			for _, id := range s.named() {
				if !slices.Contains(l.opts.Delegating, id) {
					untrusted = append(untrusted, id)
				}
			}
		}
	}
	for i := range l.policy.Statements {
		s := &l.policy.Statements[i]
		named := s.named()
		l.facts[i].untrusted = s.everybody() && len(named) == 0 || slices.ContainsFunc(named, func(id string) bool {
			return slices.ContainsFunc(untrusted, func(u string) bool { return sameRole(id, u) })
		})
	}
}

// everybody reports whether the statement is about every principal there is.
func (s *Statement) everybody() bool {
	return len(s.NotPrincipals) > 0 || slices.Contains(s.Principals, Principal{"AWS", "*"})
}

// deniedWithout reports whether other statements deny everything secret that s
// allows to requests without the attestation of a named image. Only the plain
// form is recognized: all principals, and PCR0 under StringNotEquals.
func (l *linter) deniedWithout(s *Statement) bool {
	secret := append(s.among(revealing), s.among(minting)...)
	return len(secret) > 0 && !slices.ContainsFunc(secret, func(action string) bool {
		return !slices.ContainsFunc(l.policy.Statements, func(d Statement) bool { return d.deniesWithout(action) })
	})
}

func (s *Statement) deniesWithout(action string) bool {
	if s.Effect != "Deny" || !s.everybody() || len(s.NotPrincipals) > 0 || !s.covers(action) || !slices.Contains(s.Resources, "*") || len(s.Conditions) != 1 {
		return false
	}
	c := s.Conditions[0]
	o := parseOperator(c.Operator)
	n, about := register(c.Key)
	return about && n == 0 && o.negated && o.holdsWithout() &&
		(o.base == "stringequals" || o.base == "stringequalsignorecase") &&
		!slices.ContainsFunc(c.Values, func(v string) bool { return !hexPCR.MatchString(v) || strings.Trim(v, "0") == "" })
}

// changeable reports whether somebody may use PutKeyPolicy.
func (l *linter) changeable() bool {
	has := func(effect string, conditions bool) bool {
		return slices.ContainsFunc(l.policy.Statements, func(s Statement) bool {
			return s.Effect == effect && s.covers("PutKeyPolicy") && (conditions || s.everybody() && len(s.Conditions) == 0)
		})
	}
	return has("Allow", true) && !has("Deny", false)
}
