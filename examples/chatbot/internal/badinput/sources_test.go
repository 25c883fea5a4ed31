package badinput

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the module's.
const root = "../../../.."

// searched are where servers are made that clients reach.
var searched = []string{"examples/chatbot", "envelope"}

// elsewhere are folders whose servers are not the chatbot's: a program that tests
// run in a guest, and tools that load and break the chatbot.
var elsewhere = []string{
	"examples/chatbot/internal/nitrotest", "examples/chatbot/bench", "examples/chatbot/chaos",
}

// mounts are registrations under which others stand, and no endpoints.
var mounts = []string{
	`examples/chatbot: "/v1/"`, `examples/chatbot: "/"`, // openai and web in the local server
}

// TestEveryEndpoint finds the endpoints in the source: whatever is registered
// under a pattern or a method name, and the KMS's table of operations. Each must
// have rows, and none may have rows that is not there any more.
func TestEveryEndpoint(t *testing.T) {
	covered := map[string]bool{}
	for _, e := range endpoints() {
		if e.source != "" {
			covered[e.source] = len(e.rows) > 0
		}
	}
	for _, r := range callRows() {
		if r.source != "" {
			covered[r.source] = true
		}
	}
	found := map[string]string{}
	for _, dir := range searched {
		if err := findEndpoints(dir, found); err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 25 {
		t.Errorf("only %d endpoints were found: does the search still work?", len(found))
	}
	for _, source := range slices.Sorted(maps.Keys(found)) {
		if !covered[source] {
			t.Errorf("%s: the endpoint %s has no row", found[source], source)
		}
	}
	for _, source := range slices.Sorted(maps.Keys(covered)) {
		if found[source] == "" {
			t.Errorf("rows for %s, which is not in the source", source)
		}
	}
}

// findEndpoints notes where each endpoint is registered in a folder's files, but
// not those of tests.
func findEndpoints(dir string, found map[string]string) error {
	return filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains(elsewhere, filepath.ToSlash(rel)) || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		ast.Inspect(file, func(n ast.Node) bool {
			for _, source := range endpointsOf(n, pkg) {
				if !slices.Contains(mounts, pkg+": "+source) {
					found[source] = fmt.Sprintf("%s:%d", rel, set.Position(n.Pos()).Line)
				}
			}
			return true
		})
		return nil
	})
}

// endpointsOf are the endpoints that a node registers: a call of Handle or one
// like it, on a mux or a server or of package vsockrpc, or the operations of the
// KMS.
func endpointsOf(n ast.Node, pkg string) []string {
	switch n := n.(type) {
	case *ast.CallExpr:
		call := n.Fun
		if generic, ok := call.(*ast.IndexListExpr); ok {
			call = generic.X
		}
		name, ok := call.(*ast.SelectorExpr)
		if !ok || !strings.HasPrefix(name.Sel.Name, "Handle") || len(n.Args) < 2 {
			return nil
		}
		switch name.Sel.Name {
		case "Handle", "HandleFunc", "HandleLent", "HandleStream", "HandleServerStream", "HandleClientStream", "HandleBidiStream":
		default:
			return nil
		}
		pattern := n.Args[0]
		if on, ok := name.X.(*ast.Ident); ok && on.Name == "vsockrpc" {
			pattern = n.Args[1]
		}
		return []string{inWords(pattern, pkg)}
	case *ast.ValueSpec:
		if pkg != "envelope/kmstest" || n.Names[0].Name != "operations" {
			return nil
		}
		var all []string
		for _, e := range n.Values[0].(*ast.CompositeLit).Elts {
			all = append(all, strings.Trim(inWords(e.(*ast.KeyValueExpr).Key, pkg), `"`))
		}
		return all
	}
	return nil
}

// inWords is a pattern as it is written. The one that stands for everything says
// whose.
func inWords(e ast.Expr, pkg string) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Value == `"/"` && strings.HasSuffix(pkg, "internal/openai") {
			return `openai "/"`
		}
		return e.Value
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return inWords(e.X, pkg) + "." + e.Sel.Name
	}
	return fmt.Sprintf("%T in %s", e, pkg)
}
