package keypolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/attest"
)

// The entry of the encryption context that keeps questions and answers apart,
// and its values.
const (
	DirectionName     = "direction"
	DirectionRequest  = "request"
	DirectionResponse = "response"
)

// Spec says whom a key serves. Principals are ARNs of IAM roles or users, all
// of one account or of several; each may be in one list only.
type Spec struct {
	// Admins administer the key and cannot use it, but can change the policy,
	// so that they can help themselves to its use: keep this role apart from
	// everything that runs. At least one is required.
	Admins []string
	// Clients encrypt requests and, unless SealedResponses is set, decrypt
	// responses. At least one is required.
	Clients []string
	// Enclaves are the roles whose credentials the enclave uses. The parent
	// has them too, and by themselves they open nothing. None is needed with
	// Delegated.
	Enclaves []string
	// Delegated lets clients sign requests that only the enclave can use
	// (envelope.SignDecrypt), so that no credentials travel.
	Delegated bool
	// AttestedResponses has the enclave seal its answers under a data key that
	// it gets by attestation (kms:GenerateDataKey), instead of by kms:Encrypt,
	// which whoever has its role's credentials may call. Then a response that
	// opens was made in the enclave. With Delegated it covers clients' signed
	// requests too.
	AttestedResponses bool
	// SealedResponses is for answers that come back encrypted to the client
	// itself, as those of package session do: the key then has nothing to do
	// with responses, and nobody is granted anything for them. It excludes
	// AttestedResponses.
	SealedResponses bool
	// Measurements are the builds of the enclave that may decrypt, at least
	// one and at most 8. Each needs PCR0, the whole image; PCR1, 2, 3, 4, 8
	// and 16 to 31 narrow it where given.
	Measurements []attest.Measurement
	// AllowDebug takes measurements with zero registers, which every enclave in
	// debug mode has: for tests only.
	AllowDebug bool
	// Context is what the encryption context must have besides the direction,
	// in both directions. Case does not tell names apart.
	Context map[string]string
}

// ErrSpec is what every error of Spec.Policy matches.
var ErrSpec = errors.New("key policy cannot be made")

// SpecError says what is wrong with a Spec. It matches ErrSpec.
type SpecError struct {
	Field  string // of Spec
	Reason string
}

func (e *SpecError) Error() string {
	return fmt.Sprintf("keypolicy: %s: %s: %s", ErrSpec, e.Field, e.Reason)
}

func (e *SpecError) Unwrap() error { return ErrSpec }

// maxMeasurements bounds how many builds one key serves at a time; what is out
// of use should be removed.
const maxMeasurements = 8

// Policy is the key policy in JSON, indented. The same Spec makes the same
// bytes. Lint finds nothing in it above Note, except where AllowDebug is set.
//
// One statement for each measurement lets an enclave decrypt, if it is
// attested and the encryption context has direction=request. What the lists
// say is all that is allowed: no account, no service and no grant. Errors
// match ErrSpec.
func (s Spec) Policy() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	list := []statementJSON{{
		Sid: "Administration", Principal: s.Admins, Action: administrative,
	}, {
		Sid: "ClientsWriteRequests", Principal: s.Clients, Action: []string{"kms:Encrypt"},
		Condition: s.when(DirectionRequest, nil),
	}}
	if !s.SealedResponses {
		list = append(list, statementJSON{
			Sid: "ClientsReadResponses", Principal: s.Clients, Action: []string{"kms:Decrypt"},
			Condition: s.when(DirectionResponse, nil),
		})
	}
	attested := s.Enclaves
	if s.Delegated {
		attested = append(slices.Clone(attested), s.Clients...)
	}
	for i, m := range s.Measurements {
		list = append(list, statementJSON{
			Sid: fmt.Sprintf("EnclaveReadsRequests%d", i+1), Principal: attested, Action: []string{"kms:Decrypt"},
			Condition: s.when(DirectionRequest, m.PCRs),
		})
		if s.AttestedResponses {
			list = append(list, statementJSON{
				Sid: fmt.Sprintf("EnclaveWritesResponses%d", i+1), Principal: attested, Action: []string{"kms:GenerateDataKey"},
				Condition: s.when(DirectionResponse, m.PCRs),
			})
		}
	}
	if !s.AttestedResponses && !s.SealedResponses && len(s.Enclaves) > 0 {
		list = append(list, statementJSON{
			Sid: "EnclaveWritesResponses", Principal: s.Enclaves, Action: []string{"kms:Encrypt"},
			Condition: s.when(DirectionResponse, nil),
		})
	}
	policy, err := encode(list)
	if err != nil {
		return nil, err
	}
	if len(policy) > MaxSize {
		return nil, &SpecError{"Clients", fmt.Sprintf("the policy would have %d bytes, and KMS takes %d", len(policy), MaxSize)}
	}
	return policy, nil
}

// administrative are the actions of Admins: what a key needs over its life,
// without its use, and without grants, which cannot ask for an attestation.
var administrative = []string{
	"kms:CancelKeyDeletion", "kms:DescribeKey", "kms:DisableKey", "kms:DisableKeyRotation",
	"kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus",
	"kms:ListGrants", "kms:ListKeyPolicies", "kms:ListResourceTags", "kms:PutKeyPolicy",
	"kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
	"kms:UpdateKeyDescription",
}

// conditions are by operator and key.
type conditions map[string]map[string]string

// when is the condition for one direction and, where given, one measurement.
// KMS writes registers in lower case; IgnoreCase costs nothing and forgives
// whoever edits the policy by hand.
func (s Spec) when(direction string, pcrs attest.PCRs) conditions {
	context := map[string]string{"kms:EncryptionContext:" + DirectionName: direction}
	for name, value := range s.Context {
		context["kms:EncryptionContext:"+name] = value
	}
	c := conditions{"StringEquals": context}
	if pcrs != nil {
		registers := map[string]string{}
		for n, v := range pcrs {
			registers[fmt.Sprintf("kms:RecipientAttestation:PCR%d", n)] = v.String()
		}
		c["StringEqualsIgnoreCase"] = registers
	}
	return c
}

type statementJSON struct {
	Sid       string
	Principal []string
	Action    []string
	Condition conditions
}

func encode(list []statementJSON) ([]byte, error) {
	type principal struct{ AWS []string }
	type statement struct {
		Sid       string
		Effect    string
		Principal principal
		Action    []string
		Resource  string
		Condition conditions `json:",omitempty"`
	}
	policy := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	for _, s := range list {
		policy.Statement = append(policy.Statement, statement{s.Sid, "Allow", principal{s.Principal}, s.Action, "*", s.Condition})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(policy) // maps are sorted
	return b.Bytes(), err
}

func (s Spec) check() error {
	seen := map[string]string{}
	for _, list := range []struct {
		field    string
		arns     []string
		optional bool
	}{{"Admins", s.Admins, false}, {"Clients", s.Clients, false}, {"Enclaves", s.Enclaves, s.Delegated}} {
		if len(list.arns) == 0 && !list.optional {
			return &SpecError{list.field, "none is given"}
		}
		for _, arn := range list.arns {
			if !principalARN.MatchString(arn) {
				return &SpecError{list.field, fmt.Sprintf("%q is no ARN of an IAM role or user", abbreviated(arn))}
			}
			if other, ok := seen[arn]; ok {
				return &SpecError{list.field, fmt.Sprintf("%s is in %s already", arn, other)}
			}
			seen[arn] = list.field
		}
	}
	if n := len(s.Measurements); n == 0 || n > maxMeasurements {
		return &SpecError{"Measurements", fmt.Sprintf("there are %d; 1 to %d are needed", n, maxMeasurements)}
	}
	if s.SealedResponses && s.AttestedResponses {
		return &SpecError{"SealedResponses", "excludes AttestedResponses: one says that the key has no part in responses, the other which"}
	}
	for i, m := range s.Measurements {
		if err := s.checkPCRs(m.PCRs); err != nil {
			return &SpecError{"Measurements", fmt.Sprintf("number %d: %s", i+1, err)}
		}
	}
	return s.checkContext()
}

func (s Spec) checkPCRs(pcrs attest.PCRs) error {
	if pcrs[0] == nil {
		return errors.New("PCR0, the whole image, is not given")
	}
	for _, n := range slices.Sorted(maps.Keys(pcrs)) {
		switch v := pcrs[n]; {
		case n < 0 || n > 31:
			return fmt.Errorf("there is no PCR%d", n)
		case !hexPCR.MatchString(v.String()):
			return fmt.Errorf("PCR%d has %d bytes instead of 48", n, len(v))
		case v.IsZero() && !s.AllowDebug:
			return fmt.Errorf("PCR%d is all zero, as in debug mode", n)
		}
	}
	return nil
}

// contextName is what a name can be that stands in a condition key.
var contextName = regexp.MustCompile(`^[A-Za-z0-9_.@=+-]{1,128}$`)

func (s Spec) checkContext() error {
	seen := map[string]bool{DirectionName: true}
	for _, name := range slices.Sorted(maps.Keys(s.Context)) {
		value, folded := s.Context[name], strings.ToLower(name)
		switch {
		case !contextName.MatchString(name) || strings.HasPrefix(folded, "aws"):
			return &SpecError{"Context", fmt.Sprintf("%q cannot be a name", abbreviated(name))}
		case seen[folded]:
			return &SpecError{"Context", fmt.Sprintf("%s is there twice, or is set by direction", name)}
		case value == "" || len(value) > 1024 || !utf8.ValidString(value) || strings.Contains(value, "${"):
			return &SpecError{"Context", fmt.Sprintf("the value of %s is empty, too long, not UTF-8 or a policy variable", name)}
		}
		seen[folded] = true
	}
	return nil
}
