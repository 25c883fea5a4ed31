//go:build (linux || darwin) && (amd64 || arm64)

package native

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stub is the source of a library that claims to be libllama. Each case sets
// some of its macros. Every other function ends the process, so a test that
// survives shows that the guard called none.
const stub = `
#include <stdlib.h>
#include <string.h>
#ifndef VERSION
#define VERSION "0.5.0"
#endif
#ifndef SIZE
#define SIZE 160
#endif
#ifndef BOOLS
#define BOOLS 128
#endif
#ifndef HEAD
#define HEAD 512
#endif
#ifndef MODEL
#define MODEL 80
#endif
struct context { char b[SIZE]; };
struct model { char b[MODEL]; };
#ifndef NO_VERSION
const char *llama_version(void) { return VERSION; }
#endif
struct context llama_context_default_params(void) {
	struct context c;
	static const char bools[6] = {0, 1, 1, 1, 1, 0};
	unsigned head[6] = {HEAD, 2048, 512, 1, 0, 0};
	memset(&c, 0, sizeof c);
	memcpy(c.b, head, sizeof head);
	memcpy(c.b + BOOLS, bools, sizeof bools);
	return c;
}
struct model llama_model_default_params(void) {
	struct model m;
	memset(&m, 0, sizeof m);
	return m;
}
#define DIE(name) void name(void) { abort(); }
`

func TestGuard(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Fatal("this test builds libraries: install gcc")
	}
	for _, tt := range []struct {
		name    string
		flags   []string
		symbols bool // whether the other functions exist
		want    string
	}{
		{name: "no version", flags: []string{"-DNO_VERSION"}, symbols: true, want: "it has no llama_version"},
		{name: "older", flags: []string{`-DVERSION="0.3.9"`}, symbols: true, want: "its version is unknown"},
		{name: "newer", flags: []string{`-DVERSION="0.10.0"`}, symbols: true, want: "its version is unknown"},
		{name: "major", flags: []string{`-DVERSION="1.5.0"`}, symbols: true, want: "its version is unknown"},
		{name: "garbage", flags: []string{`-DVERSION="b4242"`}, symbols: true, want: "its version is unknown"},
		{name: "grown", flags: []string{"-DSIZE=168"}, symbols: true, want: "llama_context_params has 168 bytes, not 160"},
		{name: "shrunk", flags: []string{`-DVERSION="0.7.0"`}, symbols: true, want: "llama_context_params has 160 bytes, not 168"},
		{name: "far too large", flags: []string{"-DSIZE=480"}, symbols: true, want: "llama_context_params has 480 bytes, not 160"},
		{name: "moved bools", flags: []string{"-DBOOLS=132"}, symbols: true, want: "at offset 128"},
		{name: "other head", flags: []string{"-DHEAD=513"}, symbols: true, want: "llama_context_params has 513 at offset 0, not 512"},
		{name: "model grown", flags: []string{"-DMODEL=88"}, symbols: true, want: "llama_model_params has 88 bytes, not 80"},
		{name: "missing function", want: "it has no "},
		{name: "missing function, 0.9", flags: []string{`-DVERSION="0.9.1"`, "-DSIZE=168", "-DBOOLS=136"}, want: "it has no "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !seesExtent && strings.Contains(tt.want, " bytes, not ") {
				t.Skip("the size of a returned structure cannot be seen on this processor")
			}
			dir := t.TempDir()
			src, lib := filepath.Join(dir, "stub.c"), filepath.Join(dir, "libllama.so")
			code := stub
			if tt.symbols {
				for name := range new(Lib).symbols() {
					if name != "llama_model_default_params" {
						code += fmt.Sprintf("DIE(%s)\n", name)
					}
				}
				code += "DIE(llama_init_from_model)\n"
			}
			if err := os.WriteFile(src, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(gcc, append(tt.flags, "-shared", "-fPIC", "-o", lib, src)...).CombinedOutput(); err != nil {
				t.Fatalf("gcc: %v\n%s", err, out)
			}
			l, err := Load(lib)
			var abi *ABIError
			if !errors.As(err, &abi) || l != nil {
				t.Fatalf("%v, want an ABIError", err)
			}
			if !strings.Contains(abi.Reason, tt.want) {
				t.Errorf("reason %q, want %q", abi.Reason, tt.want)
			}
			for _, part := range []string{lib, KnownVersions} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
		})
	}
}

func TestLayoutOf(t *testing.T) {
	for version, size := range map[string]int{
		"0.4.0": 160, "0.5.0-dev": 160, "0.6.2": 160, "0.7.0": 168, "0.8.0": 168, "0.9.0": 168,
		"": 0, "0": 0, "0.": 0, "0.5": 0, "0.3.0": 0, "0.10.0": 0, "0.-5.0": 0, "1.5.0": 0, "0.5x.0": 0,
	} {
		if l, ok := layoutOf(version); l.contextSize != size || ok != (size != 0) {
			t.Errorf("%q: %+v %v", version, l, ok)
		}
	}
}
