package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is one module that packages of the program come from.
type module struct {
	path, version string
	// dir is the module's folder, and dirs those of its linked packages.
	dir  string
	dirs []string
	// needs are the paths of the modules that its linked packages import.
	needs []string
}

// listed is what this program reads of the output of "go list -json".
type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	Module     *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{}
	}
}

// linked returns the modules, but for the main one, that the program is linked
// from for a platform, sorted by path, and the main module's needs. The build
// is the released one: without cgo.
func linked(goos, goarch string) (modules []*module, needs []string, err error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Imports,Module", program)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	var packages []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("go list: %w", err)
		}
		packages = append(packages, p)
	}
	owner := map[string]string{} // of a package: the path of its module
	byPath := map[string]*module{}
	root := &module{}
	for _, p := range packages {
		if p.Module == nil {
			continue // the standard library
		}
		if p.Module.Replace != nil {
			return nil, nil, fmt.Errorf("%s is replaced: a release must not be", p.Module.Path)
		}
		owner[p.ImportPath] = p.Module.Path
		m := byPath[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			if p.Module.Main {
				m = root
			} else {
				modules = append(modules, m)
			}
			byPath[p.Module.Path] = m
		}
		m.dirs = append(m.dirs, p.Dir)
	}
	for _, p := range packages {
		m := byPath[owner[p.ImportPath]]
		for _, imp := range p.Imports {
			to, ok := owner[imp]
			if ok && to != owner[p.ImportPath] && !slices.Contains(m.needs, to) {
				m.needs = append(m.needs, to)
			}
		}
	}
	for _, m := range append(modules, root) {
		slices.Sort(m.needs)
	}
	slices.SortFunc(modules, func(a, b *module) int { return strings.Compare(a.path, b.path) })
	return modules, root.needs, nil
}

// licenseFiles returns the names of the licence files of the module, relative
// to its folder: those of the module itself and those beside linked packages,
// which hold code of others where there is one.
func (m *module) licenseFiles() ([]string, error) {
	found := map[string]bool{}
	for _, dir := range m.dirs {
		for {
			rel, err := filepath.Rel(m.dir, dir)
			if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
				return nil, fmt.Errorf("%s has a package outside of its folder", m.path)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if e.Type().IsRegular() && isLicenseName(e.Name()) {
					found[filepath.Join(rel, e.Name())] = true
				}
			}
			if rel == "." {
				break
			}
			dir = filepath.Dir(dir)
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// isLicenseName tells names of files with terms or notices.
func isLicenseName(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	return slices.Contains([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS", "COPYRIGHT"}, base)
}
