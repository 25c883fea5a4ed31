package vsockrpc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMinimalServer builds the smallest server and looks at what it links:
// everything in an enclave has to be trusted, and measured.
func TestMinimalServer(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command is here, as in a guest")
	}
	file := filepath.Join(t.TempDir(), "minimal")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./testdata/minimal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a minimal server has %d bytes", info.Size())
	if info.Size() >= 4<<20 {
		t.Errorf("a minimal server has %d bytes, 4 MiB or more", info.Size())
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.Module.Path}}{{end}}", "./testdata/minimal").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := slices.Compact(slices.Sorted(strings.FieldsSeq(string(out))))
	want := []string{
		"github.com/fxamacker/cbor/v2",
		"github.com/mdlayher/socket",
		"github.com/mdlayher/vsock",
		"github.com/nitroseal/nitroseal",
		"github.com/x448/float16",
		"golang.org/x/net",
		"golang.org/x/sync",
		"golang.org/x/sys",
	}
	if !slices.Equal(modules, want) {
		t.Errorf("it links %v, want %v", modules, want)
	}
}
