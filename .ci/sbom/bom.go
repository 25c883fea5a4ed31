package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// writeBOM prints the document of a binary. The modules are those that the
// binary itself names; they must be the ones that this tree would link, so that
// the document is never about a binary of another tree.
func writeBOM(out io.Writer, file, version string) error {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return err
	}
	if info.Path != program {
		return fmt.Errorf("%s is a binary of %s, not of %s", file, info.Path, program)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	setting := map[string]string{}
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	goos, goarch := setting["GOOS"], setting["GOARCH"]
	modules, needs, err := linked(goos, goarch)
	if err != nil {
		return err
	}
	components, deps, err := goComponents(info, modules)
	if err != nil {
		return err
	}
	std := component{
		Type: "library", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		Description: "Go's standard library and runtime", Licenses: licensed("BSD-3-Clause"),
	}.withPURL("pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"))
	llm := component{
		Type: "machine-learning-model", Ref: "model:" + model.Name, Name: model.Name,
		Description: "the embedded default model; the command line may name another",
		Licenses:    licensed("Apache-2.0"), Hashes: []hash{{"SHA-256", model.Digest}},
	}
	components = append(components, std, llm)
	refs := []string{std.Ref, llm.Ref}
	if llama, ok, err := llamaComponent(goos, goarch); err != nil {
		return err
	} else if ok {
		components, refs = append(components, llama), append(refs, llama.Ref)
	}
	for _, need := range needs {
		refs = append(refs, deps.refOf[need])
	}
	slices.Sort(refs)
	sum := sha256.Sum256(data)
	top := component{
		Type: "application", Name: "chatbot", Version: version, Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
		Licenses:   licensed("Apache-2.0"),
		Properties: []property{{"build:GOARCH", goarch}, {"build:GOOS", goos}, {"build:CGO_ENABLED", setting["CGO_ENABLED"]}},
	}.withPURL("pkg:golang/" + strings.TrimSuffix(program, "/examples/chatbot") + "@" + version + "#examples/chatbot")
	for _, c := range components {
		deps.list = append(deps.list, dependency{Ref: c.Ref, DependsOn: deps.of[c.Ref]})
	}
	doc := document{
		Format: "CycloneDX", SpecVersion: "1.6", SerialNumber: serial(sum), Version: 1,
		Metadata: metadata{Component: top}, Components: components,
		Dependencies: append([]dependency{{Ref: top.Ref, DependsOn: refs}}, deps.list...),
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// edges are the dependencies between components, by reference.
type edges struct {
	refOf map[string]string // from the path of a module
	of    map[string][]string
	list  []dependency
}

// goComponents returns a component for each module, checked against those that
// the binary names.
func goComponents(info *buildinfo.BuildInfo, modules []*module) ([]component, edges, error) {
	deps := edges{refOf: map[string]string{}, of: map[string][]string{}}
	sums := map[string]string{}
	for _, d := range info.Deps {
		if d.Replace != nil {
			return nil, deps, fmt.Errorf("%s is replaced in the binary", d.Path)
		}
		sums[d.Path+"@"+d.Version] = d.Sum
	}
	if len(sums) != len(modules) {
		return nil, deps, fmt.Errorf("the binary is linked from %d modules, this tree needs %d", len(sums), len(modules))
	}
	var components []component
	for _, m := range modules {
		sum, ok := sums[m.path+"@"+m.version]
		if !ok || sum == "" {
			return nil, deps, fmt.Errorf("the binary is not linked from %s %s with a checksum, as this tree is", m.path, m.version)
		}
		_, expression, err := m.terms()
		if err != nil {
			return nil, deps, err
		}
		c := component{
			Type: "library", Name: m.path, Version: m.version, Licenses: licensed(expression),
			Properties: []property{{"go:sum", sum}},
		}.withPURL("pkg:golang/" + m.path + "@" + m.version)
		deps.refOf[m.path] = c.Ref
		components = append(components, c)
	}
	for _, m := range modules {
		for _, need := range m.needs {
			deps.of[deps.refOf[m.path]] = append(deps.of[deps.refOf[m.path]], deps.refOf[need])
		}
	}
	return components, deps, nil
}

// llamaComponent is the archive of libllama for a platform, if one is pinned.
func llamaComponent(goos, goarch string) (component, bool, error) {
	pkg, ok := libllama.PackageFor(goos, goarch)
	if !ok {
		return component{}, false, nil
	}
	digest, err := base64.StdEncoding.DecodeString(pkg.Integrity)
	if err != nil {
		return component{}, false, fmt.Errorf("integrity of %s: %w", pkg.Name, err)
	}
	return component{
		Type: "library", Name: pkg.Name, Version: libllama.PackageVersion,
		Description: "prebuilt libllama and libggml of llama.cpp: not in the binary, loaded at run time",
		Licenses:    licensed("MIT"), Hashes: []hash{{"SHA-512", hex.EncodeToString(digest)}},
	}.withPURL("pkg:npm/" + strings.Replace(pkg.Name, "@", "%40", 1) + "@" + libllama.PackageVersion), true, nil
}

// serial is a UUID made from the binary's digest (RFC 9562, version 8), so that
// the same binary has the same document.
func serial(sum [32]byte) string {
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
