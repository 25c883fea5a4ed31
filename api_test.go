package nitroseal_test

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestAPI holds the exported names of all packages that others may import to a
// list, one line for each constant, variable, function, type, field and method,
// so that every change of them is seen in review. docs/STABILITY.md says what
// may change when. The list is that of Linux.
func TestAPI(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the list is that of Linux")
	}
	var public []string
	for line := range strings.Lines(goOutput(t, os.Environ(), "list", "-f", "{{.Name}} {{.ImportPath}}", "./...")) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "main" && isPublic(path) {
			public = append(public, path)
		}
	}
	slices.Sort(public)
	exports := map[string]string{} // files with the compiler's account of each package
	args := append([]string{"list", "-deps", "-export", "-f", "{{.ImportPath}} {{.Export}}"}, public...)
	for line := range strings.Lines(goOutput(t, os.Environ(), args...)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var features []string
	for _, path := range public {
		pkg, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		features = append(features, apiOf(pkg)...)
	}
	compareFile(t, "testdata/api.txt", strings.Join(features, "\n")+"\n", "the API has changed; CHANGELOG.md must say so")
}

// isPublic tells packages that others can import, and shall.
func isPublic(path string) bool {
	rel := strings.TrimPrefix(path, module)
	return !strings.HasPrefix(rel, "examples/") && !slices.Contains(strings.Split(rel, "/"), "internal")
}

// apiOf lists the exported names of a package, sorted.
func apiOf(pkg *types.Package) []string {
	var list []string
	qualifier := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return strings.TrimPrefix(p.Path(), module)
	}
	add := func(format string, args ...any) {
		for i, a := range args {
			if typ, ok := a.(types.Type); ok {
				args[i] = types.TypeString(typ, qualifier)
			}
		}
		list = append(list, "pkg "+strings.TrimPrefix(pkg.Path(), module)+", "+fmt.Sprintf(format, args...))
	}
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			add("const %s %s = %s", name, obj.Type(), obj.Val().ExactString())
		case *types.Var:
			add("var %s %s", name, obj.Type())
		case *types.Func:
			add("func %s%s", name, signature(obj, qualifier))
		case *types.TypeName:
			addType(add, obj, qualifier)
		}
	}
	slices.Sort(list)
	return list
}

// addType lists a type: its fields or methods one by one, so that adding one
// adds a line.
func addType(add func(string, ...any), obj *types.TypeName, q types.Qualifier) {
	if obj.IsAlias() {
		add("type %s = %s", obj.Name(), types.Unalias(obj.Type()))
		return
	}
	named := obj.Type().(*types.Named)
	name := obj.Name() + typeParams(named, q)
	switch u := named.Underlying().(type) {
	case *types.Struct:
		hidden := ""
		for f := range u.Fields() {
			switch {
			case !f.Exported():
				hidden = " with unexported fields"
			case f.Embedded():
				add("type %s struct, embedded %s", name, f.Type())
			default:
				add("type %s struct, %s %s", name, f.Name(), f.Type())
			}
		}
		add("type %s struct%s", name, hidden)
	case *types.Interface:
		sealed := ""
		for m := range u.Methods() {
			if !m.Exported() {
				sealed = ", sealed"
				continue
			}
			add("type %s interface, %s%s", name, m.Name(), signature(m, q))
		}
		add("type %s interface%s", name, sealed)
	default:
		add("type %s %s", name, u)
	}
	// Methods of the pointer's set, promoted ones included.
	if types.IsInterface(named) {
		return
	}
	values := types.NewMethodSet(named)
	for sel := range types.NewMethodSet(types.NewPointer(named)).Methods() {
		m := sel.Obj().(*types.Func)
		if !m.Exported() {
			continue
		}
		star := "*"
		if values.Lookup(m.Pkg(), m.Name()) != nil {
			star = ""
		}
		add("method (%s%s) %s%s", star, name, m.Name(), signature(m, q))
	}
}

func typeParams(named *types.Named, q types.Qualifier) string {
	var list []string
	for p := range named.TypeParams().TypeParams() {
		list = append(list, p.Obj().Name()+" "+types.TypeString(p.Constraint(), q))
	}
	if list == nil {
		return ""
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// signature is a function's, with the names of its parameters: they are part of
// what a caller reads.
func signature(f *types.Func, q types.Qualifier) string {
	return strings.TrimPrefix(types.TypeString(f.Type(), q), "func")
}
