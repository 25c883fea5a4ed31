package keypolicy

import (
	"fmt"
	"slices"
	"strings"
)

// form reports what KMS would refuse or never match.
func (l *linter) form(i int) {
	s := &l.policy.Statements[i]
	for _, p := range slices.Concat(s.Principals, s.NotPrincipals) {
		switch {
		case p.Kind == "AWS" && (p.ID == "*" || isRoot(p.ID) || principalARN.MatchString(p.ID)):
		case p.Kind == "Service" && (strings.HasSuffix(p.ID, ".amazonaws.com") || strings.HasSuffix(p.ID, ".amazonaws.com.cn")) && !strings.ContainsAny(p.ID, "*? "):
		default:
			l.add(i, MalformedPrincipal, "%q is no %s principal of a key policy", p.ID, p.Kind)
		}
	}
	for _, pattern := range s.useless() {
		l.add(i, UnknownAction, "KMS has no action %s", pattern)
	}
	for _, r := range slices.Concat(s.Resources, s.NotResources) {
		if r != "*" && !keyARN.MatchString(r) || len(s.NotResources) > 0 {
			l.add(i, WrongResource, "the resource is %q", r)
		}
	}
}

// attestation reports what is wrong with the conditions on attestation.
func (l *linter) attestation(i int) {
	s, f := &l.policy.Statements[i], &l.facts[i]
	for _, g := range f.guard.findings {
		if f.guarded && !f.guard.image() && explanations[g.Code].severity == Critical {
			continue // a Deny statement sees to it
		}
		l.add(i, g.Code, "%s", g.Problem)
	}
	if code, problem, ok := f.guard.gaps(); ok && (!f.guarded || f.guard.image()) {
		l.add(i, code, "%s", problem)
	}
	if len(f.guard.pinned) > 0 || f.guard.never {
		var without []string
		for _, a := range s.among(slices.Concat(revealing, writing, escalating)) {
			if !slices.Contains(attestable, a) {
				without = append(without, a)
			}
		}
		if len(without) > 0 {
			l.add(i, NeverHolds, "a condition on attestation applies to %s", names(without))
		}
	}
	if len(f.optional) > 0 && len(s.among(revealing)) > 0 {
		l.add(i, ContextOptional, "%s may be left out", strings.Join(f.optional, ", "))
	}
	if (f.guarded || f.guard.any) && s.covers("Decrypt") && len(f.contexts) == 0 {
		l.add(i, NoContext, "allows kms:Decrypt whatever the encryption context")
	}
}

// secret are the actions of a statement that hand out secrets, apart from
// those that its conditions on attestation rule out.
func (l *linter) secret(i int, of []string) []string {
	if g := &l.facts[i].guard; g.never {
		return nil
	} else if found := l.policy.Statements[i].among(of); len(g.pinned) == 0 {
		return found
	} else {
		return slices.DeleteFunc(found, func(a string) bool { return !slices.Contains(attestable, a) })
	}
}

// principals reports who is meant where too many are.
func (l *linter) principals(i int) {
	s, f := &l.policy.Statements[i], &l.facts[i]
	used := l.secret(i, slices.Concat(revealing, minting, writing, escalating))
	if len(used) == 0 {
		return
	}
	if len(s.NotPrincipals) > 0 || len(s.NotActions) > 0 {
		l.add(i, InvertedMatch, "allows %s by NotPrincipal or NotAction", names(used))
	}
	arns, account := s.narrowed()
	reads := len(l.secret(i, slices.Concat(revealing, minting))) > 0
	for _, p := range s.Principals {
		switch {
		case p == Principal{"AWS", "*"} && len(arns) > 0:
		case p == Principal{"AWS", "*"} && account && reads && !f.guarded:
			l.add(i, WholeAccount, "every principal of an account or organization may use %s", names(used))
		case p == Principal{"AWS", "*"} && !account:
			l.add(i, EveryPrincipal, "every principal may use %s", names(used))
		case p.Kind == "AWS" && isRoot(p.ID) && reads && !f.guarded:
			l.add(i, WholeAccount, "%s stands for the account's IAM policies, and may use %s", p.ID, names(used))
		case p.Kind == "AWS" && isRoot(p.ID) && len(l.secret(i, escalating)) > 0:
			l.add(i, RootAdministers, "%s may use %s", p.ID, names(l.secret(i, escalating)))
		case p.Kind == "Service":
			l.add(i, ServicePrincipal, "%s may use %s", p.ID, names(used))
		}
	}
}

// narrowed returns the principals whom conditions leave of everybody, and
// whether they leave those of an account or organization.
func (s *Statement) narrowed() (arns []string, account bool) {
	for _, t := range s.tests() {
		if t.holdsWithout() || t.negated || t.base == "null" || slices.ContainsFunc(t.Values, t.vague) || slices.Contains(t.Values, "") {
			continue
		}
		switch t.key {
		case "aws:principalarn":
			arns = t.Values
		case "kms:calleraccount", "aws:principalaccount", "aws:principalorgid":
			account = true
		}
	}
	return arns, account
}

// named returns the principals that the statement names, by itself or by
// conditions. Everybody and whole accounts, of which other rules tell, are
// not among them.
func (s *Statement) named() []string {
	var list []string
	for _, p := range s.Principals {
		if p.ID != "*" && !isRoot(p.ID) {
			list = append(list, p.ID)
		}
	}
	if s.everybody() {
		arns, _ := s.narrowed()
		list = append(list, arns...)
	}
	return list
}

// reading reports who gets plaintext without an attestation.
func (l *linter) reading(i int) {
	s, f := &l.policy.Statements[i], &l.facts[i]
	if f.guard.any || f.guarded || len(s.named()) == 0 {
		return // what is wrong with its conditions, or with everybody, is said
	}
	if found := l.secret(i, minting); len(found) > 0 && f.untrusted {
		l.add(i, UnattestedDataKey, "the enclave's role may use %s without an attestation", names(found))
	}
	found := l.secret(i, revealing)
	if len(found) == 0 {
		return
	}
	attested, apart := false, !slices.Contains(found, "DeriveSharedSecret") // that has no context
	for j := range l.facts {
		// A statement whose conditions are wrong counts too: that is its own
		// finding, and this one keeps apart from what it is meant to decrypt.
		t, d := &l.policy.Statements[j], &l.facts[j]
		if t.Effect == "Allow" && (d.guarded || d.guard.any) && len(t.among(attestable)) > 0 {
			attested = true
			apart = apart && (len(t.among(revealing)) == 0 || f.contexts.disjoint(d.contexts))
		}
	}
	what := names(found)
	switch {
	case !attested:
		l.add(i, NoAttestation, "allows %s, and nothing in the policy asks for an enclave", what)
	case !apart:
		l.add(i, UnattestedDecrypt, "allows %s without an attestation, for what the enclave decrypts too", what)
	case f.untrusted:
		l.add(i, ReadsAnswers, "the enclave's role may use %s without an attestation", what)
	}
}

// writing reports who makes ciphertext that the enclave or the clients take
// for somebody else's.
func (l *linter) writing(i int) {
	s, f := &l.policy.Statements[i], &l.facts[i]
	found := l.secret(i, writing)
	if f.guarded || f.guard.any {
		found = slices.DeleteFunc(found, func(a string) bool { return slices.Contains(attestable, a) })
	}
	if len(found) == 0 || len(s.named()) == 0 && len(l.secret(i, slices.Concat(revealing, minting))) > 0 {
		return // of everybody and whole accounts more than that is said
	}
	what := names(found)
	if len(f.contexts) == 0 {
		l.add(i, WritesAnything, "allows %s whatever the encryption context", what)
		return
	}
	for j := range l.facts {
		d := &l.facts[j]
		if f.untrusted && l.policy.Statements[j].Effect == "Allow" && d.guarded && l.policy.Statements[j].covers("Decrypt") &&
			len(d.contexts) > 0 && !f.contexts.disjoint(d.contexts) {
			l.add(i, WritesQuestions, "the enclave's role may use %s under a context that the enclave decrypts", what)
			return
		}
	}
}

// escalating are the actions by which a caller gives out more than he was given.
var escalating = []string{"CreateGrant", "PutKeyPolicy", "ReplicateKey"}

// administration reports who may widen the policy.
func (l *linter) administration(i int) {
	f := &l.facts[i]
	found := l.secret(i, escalating)
	if slices.Contains(found, "CreateGrant") {
		l.add(i, CreatesGrants, "allows kms:CreateGrant")
	}
	if !f.untrusted {
		return
	}
	found = slices.DeleteFunc(found, func(a string) bool { return a == "CreateGrant" })
	if len(found) > 0 {
		l.add(i, ChangesPolicy, "the enclave's role, or everybody, may use %s", names(found))
	}
	if found := l.secret(i, destroying); len(found) > 0 {
		l.add(i, DestroysKey, "the enclave's role, or everybody, may use %s", names(found))
	}
}

// names lists actions for a finding, the first four by name.
func names(actions []string) string {
	var list []string
	for _, a := range actions {
		if a = "kms:" + a; !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	if more := len(list) - 4; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:4], ", "), more)
	}
	return strings.Join(list, ", ")
}
