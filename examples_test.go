package nitroseal_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// withoutExample are functions that no example calls when tests run, and why
// not.
var withoutExample = map[string]string{
	"inference/llama/libllama.Fetch": "needs a network; its example is compiled only",
}

// TestExamples requires of each exported function of the packages that others
// can import that an example calls it, itself and not through a helper: what a
// reader of the documentation copies has then been compiled and run. Examples
// of every package of the module count, and only those that have an output to
// hold them to, since others are not run. Methods are not asked for.
func TestExamples(t *testing.T) {
	called := calledByExamples(t)
	known := map[string]bool{}
	for pkg, functions := range apiFunctions(t) {
		for _, f := range functions {
			if strings.Contains(f, ".") {
				continue // a method
			}
			name := pkg + "." + f
			known[name] = true
			reason, exempt := withoutExample[name]
			switch {
			case exempt && called[name]:
				t.Errorf("%s is called by an example, and is among those without", name)
			case exempt && reason == "":
				t.Errorf("%s is among those without an example for no reason", name)
			case !exempt && !called[name]:
				t.Errorf("no example calls %s", name)
			}
		}
	}
	for name := range withoutExample {
		if !known[name] {
			t.Errorf("%s is among those without an example, and is no exported function", name)
		}
	}
}

// calledByExamples collects the functions of the module that the bodies of its
// examples call, as "attest.Verify".
func calledByExamples(t *testing.T) map[string]bool {
	t.Helper()
	called := map[string]bool{}
	list := goOutput(t, os.Environ(), "list", "-f",
		`{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`, "./...")
	for name := range strings.Lines(list) {
		name = strings.TrimSpace(name)
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		imports := importsOf(file)
		for _, example := range doc.Examples(file) {
			if example.Output == "" && !example.EmptyOutput {
				continue // compiled only
			}
			ast.Inspect(example.Code, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				fun := call.Fun
				switch f := fun.(type) { // of a generic function with its types
				case *ast.IndexExpr:
					fun = f.X
				case *ast.IndexListExpr:
					fun = f.X
				}
				if sel, ok := fun.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && imports[x.Name] != "" {
						called[imports[x.Name]+"."+sel.Sel.Name] = true
					}
				}
				return true
			})
		}
	}
	return called
}

// importsOf maps the names under which a file imports packages of the module
// to their paths within it.
func importsOf(file *ast.File) map[string]string {
	imports := map[string]string{}
	for _, spec := range file.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		rel, ours := strings.CutPrefix(full, module)
		if !ours {
			continue
		}
		name := path.Base(full)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = rel
	}
	return imports
}
