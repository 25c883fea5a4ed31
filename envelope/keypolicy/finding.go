package keypolicy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Severity is how much a Finding matters.
type Severity int

const (
	// Note is something to know; a policy with notes only passes.
	Note Severity = iota
	// Warning weakens what the policy promises, or keeps it from working.
	Warning
	// Critical defeats attestation: somebody outside an enclave, or an enclave
	// of somebody else's, gets the plaintext.
	Critical
)

// String is "note", "warning" or "critical".
func (s Severity) String() string { return [...]string{"note", "warning", "critical"}[s] }

// MarshalText is String, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that a policy gets wrong.
type Finding struct {
	Code      Code     `json:"code"`
	Severity  Severity `json:"severity"`
	Statement int      `json:"statement"`     // from 1; 0 is the whole policy
	Sid       string   `json:"sid,omitempty"` // of the statement
	Problem   string   `json:"problem"`       // what the policy says
	Attack    string   `json:"attack"`        // what an attacker, or bad luck, does with it
	Fix       string   `json:"fix"`           // what to write instead
}

// String is the finding on one line.
func (f Finding) String() string {
	where := "policy"
	if f.Statement > 0 {
		where = fmt.Sprintf("statement %d", f.Statement)
		if f.Sid != "" {
			where += fmt.Sprintf(" (%s)", strings.Map(printable, f.Sid))
		}
	}
	return fmt.Sprintf("%s: %s: %s: %s. %s %s", f.Severity, where, f.Code, strings.Map(printable, f.Problem), f.Attack, f.Fix)
}

// printable keeps what a policy says from moving a terminal's cursor.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return '.'
	}
	return r
}

// Code names a kind of Finding. Codes are stable.
type Code string

// Codes of findings. What each means is said by Finding.Attack and Fix.
const (
	// The form.
	Malformed          Code = "malformed"
	OldVersion         Code = "old-version"
	MalformedPrincipal Code = "malformed-principal"
	UnknownAction      Code = "unknown-action"
	WrongResource      Code = "wrong-resource"
	UnknownKey         Code = "unknown-condition-key"
	UnknownOperator    Code = "unknown-operator"

	// Who gets plaintext without the right enclave.
	NoAttestation     Code = "no-attestation"
	UnattestedDecrypt Code = "unattested-decrypt"
	UnattestedDataKey Code = "unattested-data-key"
	EveryPrincipal    Code = "every-principal"
	WholeAccount      Code = "whole-account"
	ServicePrincipal  Code = "service-principal"
	InvertedMatch     Code = "inverted-match"
	ReadsAnswers      Code = "enclave-role-reads-answers"

	// How a grant may be widened.
	CreatesGrants   Code = "creates-grants"
	ChangesPolicy   Code = "changes-policy"
	DestroysKey     Code = "destroys-key"
	RootAdministers Code = "root-administers"
	Immutable       Code = "immutable"

	// Conditions on attestation.
	AttestationOptional Code = "attestation-optional"
	AttestationNegated  Code = "attestation-negated"
	AttestationAbsent   Code = "attestation-absent"
	AttestationWildcard Code = "attestation-wildcard"
	AnyEnclave          Code = "any-enclave"
	ZeroPCR             Code = "zero-pcr"
	MissingPCR0         Code = "missing-pcr0"
	PartsOfImage        Code = "parts-of-image"
	SignerOnly          Code = "signer-only"
	MalformedPCR        Code = "malformed-pcr"
	UpperCasePCR        Code = "upper-case-pcr"
	SeveralValues       Code = "several-values"
	OtherMeasurement    Code = "other-measurement"
	NeverHolds          Code = "never-holds"

	// Encryption context.
	NoContext       Code = "no-context"
	ContextOptional Code = "context-optional"
	WritesAnything  Code = "writes-any-context"
	WritesQuestions Code = "enclave-role-writes-requests"
)

// explanation is what a code means.
type explanation struct {
	severity    Severity
	attack, fix string
}

var explanations = map[Code]explanation{
	Malformed: {Critical,
		"KMS refuses such a policy, or reads it otherwise than its author does.",
		"Write it as the IAM User Guide's grammar says."},
	OldVersion: {Warning,
		"Without Version 2012-10-17, policy variables are text and conditions that use them compare with the wrong thing.",
		`Write "Version": "2012-10-17".`},
	MalformedPrincipal: {Critical,
		"KMS refuses the policy or grants to nobody; then somebody in a hurry widens the grant.",
		"Name a role by its ARN; KMS takes no wildcards but * alone, and a placeholder must be filled in."},
	UnknownAction: {Warning,
		"The pattern covers no action of KMS, so what the statement should allow or deny stays as it was.",
		"Correct the action's name."},
	WrongResource: {Warning,
		"In a key policy a statement is about the key that it belongs to; with another resource it does nothing, and a Deny protects nothing.",
		`Write "Resource": "*".`},
	UnknownKey: {Critical,
		"A key that does not exist is in no request: a plain condition on it never holds, and one with IfExists, ForAllValues or a negation always does.",
		"Use kms:RecipientAttestation:ImageSha384 or kms:RecipientAttestation:PCR0 to PCR31."},
	UnknownOperator: {Critical,
		"A condition that compares text as something else never holds, or KMS refuses the policy.",
		"Use StringEqualsIgnoreCase."},
	NoAttestation: {Critical,
		"No statement asks for an attestation, so root on the parent calls Decrypt with the role's credentials and needs no enclave.",
		"Give the enclave's role kms:Decrypt under kms:RecipientAttestation:ImageSha384 or PCR0 only."},
	UnattestedDecrypt: {Critical,
		"Whoever has these credentials reads, without an enclave, what only the enclave should.",
		"Add a condition on kms:RecipientAttestation:PCR0, or one on an encryption context that the enclave's statement excludes."},
	UnattestedDataKey: {Critical,
		"Root on the parent asks for a data key in clear with the role's credentials and hands the enclave ciphertext under a key it knows.",
		"Add a condition on kms:RecipientAttestation:PCR0."},
	EveryPrincipal: {Critical,
		"Every principal of every AWS account is meant, and the parent's role is one of them.",
		"Name the roles."},
	WholeAccount: {Critical,
		"The account's IAM policies decide: whoever administers IAM there, or finds a role with a broad policy, gives it Decrypt without an enclave.",
		"Grant to roles by their ARN, and to the account's root user nothing but administration."},
	ServicePrincipal: {Warning,
		"An AWS service does it on behalf of callers whom this policy does not see.",
		"Grant to the roles that use the service, with kms:ViaService."},
	InvertedMatch: {Critical,
		"Everybody, or every action, that is not named is meant, also those that do not exist yet.",
		"Allow with Principal and Action, and name what is meant."},
	ReadsAnswers: {Warning,
		"The role whose credentials pass through the parent opens what was sealed for the clients, without an enclave.",
		"Let only the clients' roles decrypt that context."},
	CreatesGrants: {Warning,
		"A grant cannot ask for an attestation and does not show in the key policy: whoever creates one hands out Decrypt without an enclave.",
		"Leave kms:CreateGrant out, also of kms:Create*."},
	ChangesPolicy: {Critical,
		"The role that runs on the parent rewrites the key policy, or replicates the key under another, and gives itself Decrypt.",
		"Let a role that nothing on the parent can assume administer the key."},
	DestroysKey: {Warning,
		"Root on the parent disables the key or schedules its deletion, and all data under it is lost.",
		"Let the administrators' role do that."},
	RootAdministers: {Note,
		"Whoever administers IAM in the account may change this policy, and so reach the plaintext.",
		"Let one role administer the key, if losing that role is not the greater risk."},
	Immutable: {Note,
		"Nobody named here may change the policy: no attacker can widen it, and a new build of the enclave needs a new key.",
		"Let an administrators' role use kms:PutKeyPolicy if that is not meant."},
	AttestationOptional: {Critical,
		"Decrypt without a Recipient satisfies the condition: the parent leaves the attestation out and gets the plaintext in clear.",
		"Use StringEqualsIgnoreCase without IfExists and without ForAllValues."},
	AttestationNegated: {Critical,
		"Every other enclave, and a request without any, satisfies the condition.",
		"Name the PCRs that are allowed, under StringEqualsIgnoreCase."},
	AttestationAbsent: {Critical,
		"The grant is exactly for requests that come from no enclave.",
		"Turn the condition round and name PCR0."},
	AttestationWildcard: {Critical,
		"An attacker builds an image of his own that prints what it decrypts, and its measurement matches.",
		"Name the whole value under StringEqualsIgnoreCase."},
	AnyEnclave: {Critical,
		"An attacker builds an image of his own that prints what it decrypts; it has an attestation too.",
		"Name the value of PCR0 under StringEqualsIgnoreCase."},
	ZeroPCR: {Critical,
		"PCR0 to PCR2 are zero in every debug-mode enclave, whatever its image, and others are until something extends them: the parent starts one and reads its console.",
		"Name the measurement of a production build."},
	MissingPCR0: {Critical,
		"An enclave that agrees in the named registers may run another kernel or another application, which the parent has built.",
		"Name PCR0 (ImageSha384), the whole image."},
	PartsOfImage: {Note,
		"PCR1 is the kernel with its command line and PCR2 the application: together they are the image, and each alone is not.",
		"Name PCR0 (ImageSha384), so that nobody takes one of the two out."},
	SignerOnly: {Warning,
		"Every image that this certificate ever signed is allowed, also old ones with known faults, and whoever gets the signing key makes more.",
		"Name PCR0 too, or keep the signing key as safe as the data."},
	MalformedPCR: {Critical,
		"No attestation has such a value, so the enclave is refused; then somebody in a hurry takes the condition out.",
		"Write the 96 hexadecimal digits that the build prints."},
	UpperCasePCR: {Warning,
		"KMS compares lower-case digits, so the enclave is refused.",
		"Use StringEqualsIgnoreCase."},
	SeveralValues: {Note,
		"Each register may have any of its values, so that one build's kernel passes with another's application.",
		"Write one statement for each build."},
	OtherMeasurement: {Warning,
		"A build that is no longer, or not yet, meant to see the data can decrypt it.",
		"Remove measurements that are out of use."},
	NeverHolds: {Warning,
		"The action takes no attestation document, so the condition fails and nobody is allowed.",
		"Give it a statement of its own, or leave it out."},
	NoContext: {Warning,
		"The parent has the enclave decrypt ciphertext that was made for something else, such as an answer given back as a question.",
		"Add StringEquals on kms:EncryptionContext:direction."},
	ContextOptional: {Critical,
		"Ciphertext without that entry satisfies the condition.",
		"Use StringEquals without IfExists and without ForAllValues."},
	WritesAnything: {Warning,
		"The caller makes ciphertext under any encryption context: questions in another's name and answers that no enclave gave.",
		"Add StringEquals on kms:EncryptionContext:direction."},
	WritesQuestions: {Warning,
		"With the role's credentials the parent makes questions of its own and the enclave takes them for a client's.",
		"Let the enclave's role encrypt under the context of answers only."},
}

// Codes returns all codes, sorted.
func Codes() []Code { return slices.Sorted(maps.Keys(explanations)) }
