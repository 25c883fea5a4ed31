package nitroseal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// bom is a CycloneDX document, with all fields that ours may have: decoding
// refuses others.
type bom struct {
	Format       string `json:"bomFormat"`
	SpecVersion  string `json:"specVersion"`
	SerialNumber string `json:"serialNumber"`
	Version      int    `json:"version"`
	Metadata     struct {
		Component bomComponent `json:"component"`
	} `json:"metadata"`
	Components   []bomComponent `json:"components"`
	Dependencies []struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	} `json:"dependencies"`
}

type bomComponent struct {
	Type        string `json:"type"`
	Ref         string `json:"bom-ref"`
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	Hashes      []struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	} `json:"hashes"`
	Licenses []struct {
		Expression string `json:"expression"`
	} `json:"licenses"`
	PURL       string `json:"purl"`
	Properties []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"properties"`
}

// TestBOM holds the SBOM of a release to the rules of CycloneDX 1.6 for the
// fields that it has, to the binary, and to the list of linked modules.
func TestBOM(t *testing.T) {
	binary := releaseBinary(t)
	text := goOutput(t, os.Environ(), "run", "./.ci/sbom", "bom", "-binary", binary, "-version", "v0.0.0-test")
	if again := goOutput(t, os.Environ(), "run", "./.ci/sbom", "bom", "-binary", binary, "-version", "v0.0.0-test"); again != text {
		t.Error("two runs differ")
	}
	var doc bom
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Format != "CycloneDX" || doc.SpecVersion != "1.6" || doc.Version != 1 {
		t.Errorf("the document is a %s %s, version %d", doc.Format, doc.SpecVersion, doc.Version)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.SerialNumber) {
		t.Errorf("serial number %q", doc.SerialNumber)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if h := doc.Metadata.Component.Hashes; len(h) != 1 || h[0].Content != hex.EncodeToString(sum[:]) {
		t.Errorf("the document's hashes are %v, the binary has %x", h, sum)
	}

	refs := map[string]bool{}
	for _, c := range append(doc.Components, doc.Metadata.Component) {
		checkComponent(t, c)
		if refs[c.Ref] {
			t.Errorf("%q is there twice", c.Ref)
		}
		refs[c.Ref] = true
	}
	checkGraph(t, doc, refs)
	checkListed(t, doc)
}

// checkComponent checks one component by itself.
func checkComponent(t *testing.T, c bomComponent) {
	t.Helper()
	if !slices.Contains([]string{"application", "library", "machine-learning-model"}, c.Type) || c.Ref == "" || c.Name == "" {
		t.Errorf("component %+v", c)
	}
	if c.PURL != "" && !regexp.MustCompile(`^pkg:(golang|npm)/[\w.%/-]+@[\w.-]+(#[\w/]+)?$`).MatchString(c.PURL) {
		t.Errorf("%s: package URL %q", c.Name, c.PURL)
	}
	if len(c.Licenses) != 1 || !regexp.MustCompile(`^(Apache-2\.0|MIT|MPL-2\.0|BSD-[23]-Clause)( AND (Apache-2\.0|MIT|MPL-2\.0|BSD-[23]-Clause))*$`).MatchString(c.Licenses[0].Expression) {
		t.Errorf("%s: licences %v", c.Name, c.Licenses)
	}
	digits := map[string]int{"SHA-256": 64, "SHA-512": 128}
	for _, h := range c.Hashes {
		if _, err := hex.DecodeString(h.Content); err != nil || len(h.Content) != digits[h.Algorithm] {
			t.Errorf("%s: hash %v", c.Name, h)
		}
	}
}

// checkGraph checks that the dependencies name components, and reach all.
func checkGraph(t *testing.T, doc bom, refs map[string]bool) {
	t.Helper()
	of := map[string][]string{}
	for _, d := range doc.Dependencies {
		if !refs[d.Ref] || of[d.Ref] != nil {
			t.Errorf("dependencies of %q: no component, or there twice", d.Ref)
		}
		of[d.Ref] = append([]string{}, d.DependsOn...)
	}
	reached := map[string]bool{}
	todo := []string{doc.Metadata.Component.Ref}
	for len(todo) > 0 {
		ref := todo[0]
		todo = todo[1:]
		if reached[ref] {
			continue
		}
		if !refs[ref] {
			t.Errorf("something depends on %q, which is no component", ref)
		}
		reached[ref] = true
		todo = append(todo, of[ref]...)
	}
	for ref := range refs {
		if !reached[ref] {
			t.Errorf("nothing depends on %s", ref)
		}
	}
}

// checkListed checks that the modules are those that are linked, and that what is
// not a module is there too.
func checkListed(t *testing.T, doc bom) {
	t.Helper()
	want := linkedModules(t)
	var got []string
	others := map[string]bomComponent{}
	for _, c := range doc.Components {
		if strings.HasPrefix(c.PURL, "pkg:golang/") && c.Name != "std" {
			got = append(got, c.Name+" "+c.Version)
			if len(c.Properties) != 1 || !strings.HasPrefix(c.Properties[0].Value, "h1:") {
				t.Errorf("%s has no checksum", c.Name)
			}
			continue
		}
		others[c.Type+" "+c.Name] = c
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the SBOM has the modules\n%v\nlinked are\n%v", got, want)
	}
	if m := others["machine-learning-model "+model.Name]; len(m.Hashes) != 1 || m.Hashes[0].Content != model.Digest {
		t.Errorf("the model is not there: %+v", m)
	}
	if others["library std"].Version == "" || len(others) != 3 {
		t.Errorf("standard library, model and libllama are not all there: %v", others)
	}
}

// TestBOMRefuses checks that no document is made of other binaries.
func TestBOMRefuses(t *testing.T) {
	other := filepath.Join(t.TempDir(), "sbom")
	goOutput(t, os.Environ(), "build", "-o", other, "./.ci/sbom")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"is a binary of " + module + ".ci/sbom", []string{"bom", "-binary", other}},
		{"could not read Go build info", []string{"bom", "-binary", "go.mod"}},
		{"no such file", []string{"bom"}},
		{"there is no", []string{"nonsense"}},
		{"which of", nil},
	} {
		out, err := exec.Command(other, c.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%v: %v, %q; want %q", c.args, err, out, c.want)
		}
	}
}

// TestThirdPartyLicenses holds the file of licences to what is linked. Texts
// that are none of the allowed licences fail it: see .ci/sbom/license.go.
func TestThirdPartyLicenses(t *testing.T) {
	text := goOutput(t, os.Environ(), "run", "./.ci/sbom", "licenses")
	compareFile(t, "THIRD_PARTY_LICENSES", text, "other texts apply now")
	for _, m := range append(linkedModules(t), "llama.cpp", "node-llama-cpp", model.Name, "Go's standard library") {
		if !strings.Contains(text, m) {
			t.Errorf("no licence of %s", m)
		}
	}
}
