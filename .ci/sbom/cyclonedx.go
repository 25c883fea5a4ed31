package main

// The part of CycloneDX 1.6 in JSON (ECMA-424) that is used, field by field.

type document struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type        string          `json:"type"`
	Ref         string          `json:"bom-ref"`
	Name        string          `json:"name"`
	Version     string          `json:"version,omitempty"`
	Description string          `json:"description,omitempty"`
	Hashes      []hash          `json:"hashes,omitempty"`
	Licenses    []licenseChoice `json:"licenses"`
	PURL        string          `json:"purl,omitempty"`
	Properties  []property      `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // hexadecimal
}

// licenseChoice holds an SPDX expression, of which one identifier is a case.
type licenseChoice struct {
	Expression string `json:"expression"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// withPURL returns the component with its package URL, which is its reference too.
func (c component) withPURL(purl string) component {
	c.PURL, c.Ref = purl, purl
	return c
}

func licensed(expression string) []licenseChoice {
	return []licenseChoice{{expression}}
}
