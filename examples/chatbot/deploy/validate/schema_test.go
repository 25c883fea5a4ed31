package validate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// kubernetes is the release whose OpenAPI schemas the manifests are held to. They
// are in the module of Kubernetes itself, which is fetched as any module is, and
// compared with its checksum. Nothing of it is compiled.
const (
	kubernetes    = "k8s.io/kubernetes@v1.37.2"
	kubernetesSum = "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE="
)

// schemas returns the schemas of an API group's file.
func schemas(t *testing.T) func(group string) *document {
	t.Helper()
	out, err := output(t, tool(t, "go"), "mod", "download", "-json", kubernetes)
	var m struct{ Dir, Sum, Error string }
	if parse := json.Unmarshal([]byte(out), &m); err != nil || parse != nil || m.Error != "" {
		if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") == "" {
			t.Skipf("%s cannot be fetched: %v", kubernetes, errors.Join(err, parse))
		}
		t.Fatalf("%v, %v: %s", err, parse, out)
	}
	if m.Sum != kubernetesSum {
		t.Fatalf("%s has the checksum %s", kubernetes, m.Sum)
	}
	loaded := map[string]*document{}
	return func(group string) *document {
		if d, ok := loaded[group]; ok {
			return d
		}
		d := &document{}
		if err := json.Unmarshal([]byte(read(t, filepath.Join(m.Dir, "api/openapi-spec/v3", group+"_openapi.json"))), d); err != nil {
			t.Fatal(err)
		}
		loaded[group] = d
		return d
	}
}

type document struct {
	Components struct{ Schemas map[string]*schema }
}

// schema is what Kubernetes uses of OpenAPI's schemas.
type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Format     string
	Required   []string
	Properties map[string]*schema
	Additional *schema `json:"additionalProperties"`
	Items      *schema
	AllOf      []*schema
	OneOf      []*schema
	Enum       []any
	Kinds      []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
}

// kind returns the schema of a kind, or nil.
func (d *document) kind(group, version, kind string) *schema {
	for _, s := range d.Components.Schemas {
		for _, k := range s.Kinds {
			if k.Group == group && k.Version == version && k.Kind == kind && s.Properties["spec"] != nil ||
				k.Kind == kind && len(s.Properties) > 0 && len(s.Kinds) == 1 && k.Group == group && k.Version == version {
				return s
			}
		}
	}
	return nil
}

// check returns what is wrong with a value.
func (d *document) check(s *schema, at string, value any) (bad []string) {
	for s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	for _, part := range s.AllOf {
		bad = append(bad, d.check(part, at, value)...)
	}
	if len(s.OneOf) > 0 && !slices.ContainsFunc(s.OneOf, func(one *schema) bool { return len(d.check(one, at, value)) == 0 }) {
		bad = append(bad, at+" is none of what it may be")
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		bad = append(bad, fmt.Sprintf("%s is %v, not one of %v", at, value, s.Enum))
	}
	wrong := fmt.Sprintf("%s is a %T, not a %s", at, value, s.Type)
	switch v := value.(type) {
	case map[string]any:
		if s.Type != "" && s.Type != "object" {
			return append(bad, wrong)
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				bad = append(bad, at+" lacks "+name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			of := s.Properties[name]
			if of == nil {
				of = s.Additional
			}
			switch {
			case of != nil:
				bad = append(bad, d.check(of, at+"."+name, v[name])...)
			case s.Type == "object" && len(s.Properties) > 0:
				bad = append(bad, at+"."+name+" is unknown")
			}
		}
	case []any:
		if s.Type != "" && s.Type != "array" {
			return append(bad, wrong)
		}
		for i, item := range v {
			if s.Items != nil {
				bad = append(bad, d.check(s.Items, fmt.Sprintf("%s[%d]", at, i), item)...)
			}
		}
	case string:
		if s.Type != "" && s.Type != "string" {
			bad = append(bad, wrong)
		}
	case bool:
		if s.Type != "" && s.Type != "boolean" {
			bad = append(bad, wrong)
		}
	case float64:
		if s.Type != "" && s.Type != "number" && (s.Type != "integer" || v != float64(int64(v))) {
			bad = append(bad, wrong)
		}
	default:
		bad = append(bad, fmt.Sprintf("%s is %v", at, value))
	}
	return bad
}

// checkManifest holds a manifest to the schemas.
func checkManifest(t *testing.T, load func(string) *document, text []byte) []string {
	t.Helper()
	var value map[string]any
	if err := yaml.UnmarshalStrict(text, &value); err != nil {
		return []string{err.Error()}
	}
	apiVersion, _ := value["apiVersion"].(string)
	kind, _ := value["kind"].(string)
	group, version, named := strings.Cut(apiVersion, "/")
	file := "apis__" + group + "__" + version
	if !named {
		group, version, file = "", apiVersion, "api__"+apiVersion
	}
	d := load(file)
	s := d.kind(group, version, kind)
	if s == nil {
		return []string{apiVersion + " has no " + kind}
	}
	return d.check(s, kind, value)
}

func TestSchemas(t *testing.T) {
	load := schemas(t)
	for _, overlay := range overlays {
		for _, r := range build(t, overlay).Resources() {
			text, err := r.AsYAML()
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range checkManifest(t, load, text) {
				t.Errorf("%s: %s", overlay, bad)
			}
		}
	}
	for want, text := range map[string]string{
		"lacks selector":  "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {}}",
		"is unknown":      "apiVersion: apps/v1\nkind: Deployment\nspec: {selector: {}, template: {}, replicsa: 2}",
		"is a string":     "apiVersion: apps/v1\nkind: Deployment\nspec: {selector: {}, template: {}, replicas: '2'}",
		"is a float64":    "apiVersion: v1\nkind: ConfigMap\ndata: {MEMORY: 1}",
		"is none of what": "apiVersion: policy/v1\nkind: PodDisruptionBudget\nspec: {maxUnavailable: [1]}",
		"not a integer":   "apiVersion: apps/v1\nkind: Deployment\nspec: {selector: {}, template: {}, replicas: 1.5}",
		"has no":          "apiVersion: apps/v1\nkind: Deploymnet",
	} {
		if bad := strings.Join(checkManifest(t, load, []byte(text)), "; "); !strings.Contains(bad, want) {
			t.Errorf("%q does not say %q", bad, want)
		}
	}
}
