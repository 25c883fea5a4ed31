package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// The licences of the prebuilt libllama. Its npm package has only that of the
// project that builds it.
var (
	//go:embed licenses/llama.cpp.txt
	llamaLicense string
	//go:embed licenses/node-llama-cpp.txt
	builderLicense string
)

// platforms are those that are released.
var platforms = [][2]string{{"linux", "amd64"}, {"linux", "arm64"}}

// notice is one text and what it applies to.
type notice struct {
	kind string // SPDX identifier, or empty for a notice or grant beside one
	text string
	of   []string
}

// terms returns the texts that come with a module and the expression that its
// licences make together.
func (m *module) terms() (notices []notice, expression string, err error) {
	names, err := m.licenseFiles()
	if err != nil {
		return nil, "", err
	}
	var ids []string
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(m.dir, name))
		if err != nil {
			return nil, "", err
		}
		n := notice{text: string(text), of: []string{m.path + " " + m.version + ", " + name}}
		if isTerms(name) {
			if n.kind, err = classify(n.text); err != nil {
				return nil, "", fmt.Errorf("%s, %s: %w", m.path, name, err)
			}
			if !slices.Contains(ids, n.kind) {
				ids = append(ids, n.kind)
			}
		}
		notices = append(notices, n)
	}
	if len(ids) == 0 {
		return nil, "", fmt.Errorf("%s has no licence", m.path)
	}
	slices.Sort(ids)
	return notices, strings.Join(ids, " AND "), nil
}

// writeLicenses prints each text once, under the names of all that have it.
func writeLicenses(out io.Writer) error {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	goLicense, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "LICENSE"))
	if err != nil {
		return err
	}
	ours, err := os.ReadFile("LICENSE")
	if err != nil {
		return errors.New("run it in the root of the repository")
	}
	all := []notice{
		{text: string(ours), of: []string{"nitroseal itself", "the language model " + model.Name + ", which is part of the binary"}},
		{text: string(goLicense), of: []string{"Go's standard library and runtime, which are part of the binary"}},
		{text: llamaLicense, of: []string{"llama.cpp, of which the binary loads libllama and libggml at run time"}},
		{text: builderLicense, of: []string{"node-llama-cpp " + libllama.PackageVersion + ", whose npm packages hold those libraries"}},
	}
	for i := range all {
		if all[i].kind, err = classify(all[i].text); err != nil {
			return fmt.Errorf("%s: %w", all[i].of[0], err)
		}
	}
	for _, p := range platforms {
		modules, _, err := linked(p[0], p[1])
		if err != nil {
			return err
		}
		for _, m := range modules {
			notices, _, err := m.terms()
			if err != nil {
				return err
			}
			all = append(all, notices...)
		}
	}
	var b bytes.Buffer
	b.WriteString("Licences of what the chatbot's binary holds and loads. Made by\n\"go run ./.ci/sbom licenses >THIRD_PARTY_LICENSES\"; do not edit.\n")
	for _, n := range merge(all) {
		kind := n.kind
		if kind == "" {
			kind = "notice"
		}
		fmt.Fprintf(&b, "\n%s\n%s\n", strings.Repeat("=", 78), kind)
		for _, of := range n.of {
			fmt.Fprintf(&b, "  - %s\n", of)
		}
		fmt.Fprintf(&b, "%s\n\n%s\n", strings.Repeat("-", 78), strings.TrimRight(strings.Trim(n.text, "\n"), " \n"))
	}
	_, err = out.Write(b.Bytes())
	return err
}

// merge puts equal texts together, in the order of their first appearance.
func merge(all []notice) []notice {
	var merged []notice
	at := map[string]int{}
	for _, n := range all {
		i, ok := at[n.text]
		if !ok {
			i = len(merged)
			at[n.text] = i
			merged = append(merged, notice{kind: n.kind, text: n.text})
		}
		for _, of := range n.of {
			if !slices.Contains(merged[i].of, of) {
				merged[i].of = append(merged[i].of, of)
			}
		}
	}
	return merged
}
