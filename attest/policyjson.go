package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPolicyJSON bounds a policy file, in bytes.
const maxPolicyJSON = 1 << 20

// policyJSON is the file form of a Policy.
type policyJSON struct {
	Measurements   []measurementJSON `json:"measurements,omitempty"`
	AnyMeasurement bool              `json:"any_measurement,omitempty"`
	AllowDebug     bool              `json:"allow_debug,omitempty"`
	ModuleID       string            `json:"module_id,omitempty"`
	MaxAge         string            `json:"max_age,omitempty"`
}

type measurementJSON struct {
	Name string         `json:"name,omitempty"`
	PCRs map[string]PCR `json:"pcrs"`
}

// ownMembers are the names of policyJSON. They have no place beside what
// nitro-cli prints: its form has no rules but measurements, and a rule that is
// not obeyed must not look as if it were.
var ownMembers = []string{"measurements", "any_measurement", "allow_debug", "module_id", "max_age"}

// nitroMeasurements is the object "Measurements" that nitro-cli prints.
type nitroMeasurements struct {
	Measurements map[string]string
	EnclaveName  string
	ImageName    string
}

// ParsePolicy reads a policy from JSON: either this package's form,
//
//	{"measurements": [{"name": "v1", "pcrs": {"0": "…", "1": "…", "2": "…"}}],
//	 "max_age": "5m", "module_id": "…", "allow_debug": false, "any_measurement": false}
//
// or what nitro-cli prints for build-enclave, describe-eif or, a list of them,
// describe-enclaves, as it is; each enclave is then one alternative. Nonce,
// UserData and PublicKey belong to one exchange and have no file form.
//
// Unknown or duplicate members of the first form are refused, and so is a
// policy that would refuse or accept everything without saying so. At most 1
// MiB is taken.
func ParsePolicy(data []byte) (Policy, error) {
	p, err := parsePolicy(data)
	if err != nil {
		return Policy{}, fmt.Errorf("attest: policy: %w", err)
	}
	var invalid *PolicyError
	if err := p.valid(); errors.As(err, &invalid) {
		return Policy{}, fmt.Errorf("attest: policy: %s", invalid.detail)
	}
	return p, nil
}

func parsePolicy(data []byte) (Policy, error) {
	if len(data) > maxPolicyJSON {
		return Policy{}, fmt.Errorf("%d bytes, at most %d are taken", len(data), maxPolicyJSON)
	}
	if err := checkJSON(data); err != nil {
		return Policy{}, err
	}
	trimmed := bytes.TrimSpace(data)
	if trimmed[0] == '[' {
		var list []nitroMeasurements
		if err := json.Unmarshal(data, &list); err != nil {
			return Policy{}, errors.New("a list, but not of what nitro-cli describe-enclaves prints")
		}
		return fromNitro(list)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return Policy{}, errors.New("neither a policy nor what nitro-cli prints")
	}
	if _, ok := members["Measurements"]; ok {
		for name := range members {
			if slices.Contains(ownMembers, name) {
				return Policy{}, fmt.Errorf("%q has no place beside nitro-cli's Measurements", name)
			}
		}
		var one nitroMeasurements
		if err := json.Unmarshal(data, &one); err != nil {
			return Policy{}, errors.New("the Measurements are not of the form that nitro-cli prints")
		}
		return fromNitro([]nitroMeasurements{one})
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var j policyJSON
	if err := d.Decode(&j); err != nil {
		return Policy{}, err
	}
	p := Policy{AnyMeasurement: j.AnyMeasurement, AllowDebug: j.AllowDebug, ModuleID: j.ModuleID}
	for _, m := range j.Measurements {
		pcrs := PCRs{}
		for name, value := range m.PCRs {
			i, err := strconv.Atoi(name)
			if err != nil || strconv.Itoa(i) != name {
				return Policy{}, fmt.Errorf("%q is no number of a PCR", name)
			}
			pcrs[i] = value
		}
		p.Measurements = append(p.Measurements, Measurement{m.Name, pcrs})
	}
	if j.MaxAge != "" {
		age, err := time.ParseDuration(j.MaxAge)
		if err != nil || age <= 0 {
			return Policy{}, errors.New(`max_age is no duration above 0, such as "5m"`)
		}
		p.MaxAge = age
	}
	return p, nil
}

// fromNitro makes each of nitro-cli's measurements one alternative.
func fromNitro(list []nitroMeasurements) (Policy, error) {
	var p Policy
	for _, n := range list {
		m := Measurement{Name: n.EnclaveName, PCRs: PCRs{}}
		if m.Name == "" {
			m.Name = n.ImageName
		}
		for name, value := range n.Measurements {
			if name == "HashAlgorithm" {
				if !strings.HasPrefix(strings.ToLower(value), "sha384") {
					return Policy{}, errors.New("the measurements are not SHA-384")
				}
				continue
			}
			number, ok := strings.CutPrefix(name, "PCR")
			i, err := strconv.Atoi(number)
			var pcr PCR
			if !ok || err != nil || strconv.Itoa(i) != number || pcr.UnmarshalText([]byte(value)) != nil {
				return Policy{}, errors.New("a member of Measurements is no PCR")
			}
			m.PCRs[i] = pcr
		}
		p.Measurements = append(p.Measurements, m)
	}
	return p, nil
}

// MarshalJSON writes the file form. It fails for a policy with Nonce, UserData
// or PublicKey, which have none, rather than leave a rule out.
func (p Policy) MarshalJSON() ([]byte, error) {
	if p.Nonce != nil || p.UserData != nil || p.PublicKey != nil {
		return nil, errors.New("attest: nonce, user data and public key have no place in a policy file")
	}
	j := policyJSON{AnyMeasurement: p.AnyMeasurement, AllowDebug: p.AllowDebug, ModuleID: p.ModuleID}
	for _, m := range p.Measurements {
		pcrs := make(map[string]PCR, len(m.PCRs))
		for i, value := range m.PCRs {
			pcrs[strconv.Itoa(i)] = value
		}
		j.Measurements = append(j.Measurements, measurementJSON{m.Name, pcrs})
	}
	if p.MaxAge > 0 {
		j.MaxAge = p.MaxAge.String()
	}
	return json.Marshal(j)
}

// checkJSON requires exactly one JSON value in which no object has a name
// twice: encoding/json would silently take the last, or a mixture.
func checkJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := checkValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("data after the JSON value")
	}
	return nil
}

func checkValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return errors.New("not JSON")
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth > 16 {
		return errors.New("nested too deeply")
	}
	names := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return errors.New("not JSON")
			}
			// encoding/json matches names without regard to case.
			folded := strings.ToLower(name.(string))
			if names[folded] {
				return fmt.Errorf("%q occurs twice", name)
			}
			names[folded] = true
		}
		if err := checkValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	if err != nil {
		return errors.New("not JSON")
	}
	return nil
}
