package nitroseal_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nitroseal/nitroseal/"

// mayImport is the module's layering: which packages of the module each group
// may import. Groups are named by their first path element; examples may
// import everything.
var mayImport = map[string][]string{
	"internal":  {"internal"},
	"attest":    {"attest", "internal"},
	"envelope":  {"envelope", "attest", "internal"},
	"vsockrpc":  {"vsockrpc", "internal"},
	"inference": {"inference", "internal"},
}

// mayAlsoImport are exceptions, for packages whose purpose is to bring two
// groups together.
var mayAlsoImport = map[string]string{
	"envelope/session/sessionrpc": "vsockrpc",
}

// TestImports holds the packages to that layering, and keeps simulators out of
// library code: only tests, other simulators and the examples may use them.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 9 {
		t.Fatalf("go list names %d packages, the module has more", len(lines))
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		pkg, ok := strings.CutPrefix(fields[0], module)
		if !ok {
			if len(fields) > 1 {
				t.Errorf("the root package imports %v; it is documentation only", fields[1:])
			}
			continue
		}
		group, _, _ := strings.Cut(pkg, "/")
		if group == "examples" {
			continue
		}
		allowed, ok := mayImport[group]
		if !ok {
			t.Errorf("%s is in no group that the layering knows", pkg)
		}
		for _, imp := range fields[1:] {
			if imp == "testing" {
				t.Errorf("%s imports testing", pkg)
			}
			imp, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if to, _, _ := strings.Cut(imp, "/"); !slices.Contains(allowed, to) && mayAlsoImport[pkg] != imp {
				t.Errorf("%s must not import %s", pkg, imp)
			}
			if isSimulator(imp) && !isSimulator(pkg) {
				t.Errorf("%s imports the simulator %s", pkg, imp)
			}
		}
	}
}

func isSimulator(pkg string) bool {
	for part := range strings.SplitSeq(pkg, "/") {
		if strings.HasSuffix(part, "test") && part != "attest" {
			return true
		}
	}
	return false
}
