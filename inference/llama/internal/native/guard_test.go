//go:build linux && (amd64 || arm64)

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
)

// TestGuard has one stub for each reason to refuse a library. The stubs differ
// from those of TestGuardAccepts in that alone.
func TestGuard(t *testing.T) {
	type refused struct {
		name   string
		base   string // version of the stub that is changed
		change func(*stub)
		want   string // the reason
	}
	cases := []refused{
		{"null version", "0.5.0", func(s *stub) { s.version = nullVersion }, "its version is unknown"},
		{"overlong version", "0.5.0", func(s *stub) { s.version = "0.5.0-" + strings.Repeat("x", 400) }, "its version is too long"},
		{"version one too long", "0.5.0", func(s *stub) { s.version = "0.5.0-" + strings.Repeat("x", maxVersion-5) }, "its version is too long"},
		{"0.7 with the layout of 0.4", "0.4.0", func(s *stub) { s.version = "0.7.0" }, "llama_context_params has 160 bytes, not 168"},
		{"0.4 with the layout of 0.7", "0.7.0", func(s *stub) { s.version = "0.4.0" }, "llama_context_params has 168 bytes, not 160"},
		{"size of 0.7, image of 0.4", "0.4.0", func(s *stub) { s.version, s.contextSize = "0.7.0", 168 }, "llama_context_params has 00 00 00 00 00 00 at offset 136, not 00 01 01 01 01 00"},
		{"size of 0.4, image of 0.7", "0.7.0", func(s *stub) { s.version, s.contextSize = "0.4.0", 160 }, "llama_context_params has 00 00 00 00 00 00 at offset 128, not 00 01 01 01 01 00"},
		{"context without a byte", "0.5.0", func(s *stub) { s.contextSize = 159 }, "llama_context_params has 159 bytes, not 160"},
		{"context with a byte more", "0.7.0", func(s *stub) { s.contextSize = 169 }, "llama_context_params has 169 bytes, not 168"},
		{"context far too small", "0.5.0", func(s *stub) { s.contextSize = 32 }, "llama_context_params has 32 bytes, not 160"},
		{"context far too large", "0.7.0", func(s *stub) { s.contextSize = 480 }, "llama_context_params has 480 bytes, not 168"},
		{"model without a byte", "0.5.0", func(s *stub) { s.modelSize = modelTail - 1 }, "llama_model_params has 77 bytes, not 80"},
		{"model with a byte more", "0.5.0", func(s *stub) { s.modelSize = 81 }, "llama_model_params has 81 bytes, not 80"},
		{"model far too small", "0.7.0", func(s *stub) { s.modelSize = 24 }, "llama_model_params has 24 bytes, not 80"},
		{"model far too large", "0.7.0", func(s *stub) { s.modelSize = 480 }, "llama_model_params has 480 bytes, not 80"},
		{"no number of layers", "0.5.0", func(s *stub) { clear(s.model[0]); clear(s.model[1]) }, "llama_model_params has 0 at offset 16, not a number of layers"},
		{"bools four bytes on", "0.5.0", func(s *stub) {
			for i := range 2 {
				copy(s.context[i][128:], []byte{0, 0, 0, 0, 0, 1, 1, 1, 1, 0})
			}
		}, "llama_context_params has 00 00 00 00 00 01 at offset 128, not 00 01 01 01 01 00"},
	}
	for _, version := range []string{"", "0", "0.5", "0.3.9", "0.10.0", "1.5.0", "0.+5.0", "0.05.0", "0.5.x", "0.5.-1", "00.5.0", "0.5.0.0", " 0.5.0", "b4242", "\xff\n", strings.Repeat("0.5.", 16)} {
		cases = append(cases, refused{fmt.Sprintf("version %q", version), "0.5.0", func(s *stub) { s.version = version }, "its version is unknown"})
	}
	for _, version := range []string{"0.5.0", "0.7.0"} {
		l, _ := layoutOf(version)
		for i := range defaultBools {
			cases = append(cases, refused{fmt.Sprintf("bool %d of %s", i, version), version, func(s *stub) {
				s.setContext(l.boolOffset+i, 1-defaultBools[i])
			}, fmt.Sprintf(" at offset %d, not 00 01 01 01 01 00", l.boolOffset)})
		}
		for i, v := range defaultHead {
			cases = append(cases, refused{fmt.Sprintf("head %d of %s", i, version), version, func(s *stub) {
				s.setContext(4*i, byte(v)+2)
			}, fmt.Sprintf("llama_context_params has %d at offset %d, not %d", v+2, 4*i, v)})
		}
		for i, v := range defaultEnums {
			cases = append(cases, refused{fmt.Sprintf("enum %d of %s", i, version), version, func(s *stub) {
				s.setContext(ctxEnums+4*i, 0x7f)
			}, fmt.Sprintf(" at offset %d, not %d", ctxEnums+4*i, v)})
		}
		// Two calls, two answers: in the first byte, a middle one and the
		// ones around the padding. The last byte looks like a smaller
		// structure.
		for _, at := range []int{0, 60, l.boolOffset - 1, l.boolOffset + 8} {
			cases = append(cases, refused{fmt.Sprintf("unsteady context, byte %d of %s", at, version), version, func(s *stub) {
				s.context[1][at] ^= 1
			}, fmt.Sprintf("llama_context_params differs from call to call at offset %d", at)})
		}
		cases = append(cases, refused{"unsteady end of context of " + version, version, func(s *stub) {
			s.context[1][l.contextSize-1] ^= 1
		}, fmt.Sprintf("llama_context_params has %d bytes, not %d", l.contextSize-1, l.contextSize)})
	}
	for _, at := range []int{0, 8, 40, 48, 56, 64} {
		for _, i := range []int{at, at + 7} {
			cases = append(cases, refused{fmt.Sprintf("model pointer, byte %d", i), "0.5.0", func(s *stub) {
				s.setModel(i, 0xff)
			}, fmt.Sprintf(" at offset %d, not a null pointer", at)})
		}
	}
	for _, at := range []int{0, 35, 40, 77} {
		want := fmt.Sprintf("llama_model_params differs from call to call at offset %d", at)
		cases = append(cases, refused{fmt.Sprintf("unsteady model, byte %d", at), "0.7.0", func(s *stub) { s.model[1][at] ^= 1 }, want})
	}
	for _, name := range needed() {
		cases = append(cases, refused{"without " + name, "0.7.0", func(s *stub) { s.without = name }, "it has no " + name})
	}

	c := compiler{t.TempDir(), map[string][]byte{}}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			s := newStub(tt.base)
			tt.change(s)
			path := c.build(t, s)
			l, err := Load(path)
			var abi *ABIError
			if !errors.As(err, &abi) || l != nil {
				t.Fatalf("%v, want an ABIError", err)
			}
			if !strings.HasSuffix(abi.Reason, tt.want) {
				t.Errorf("reason %q, want %q", abi.Reason, tt.want)
			}
			version := s.version
			if s.without == "llama_version" || version == nullVersion {
				version = ""
			}
			if abi.Path != path || abi.Version != version[:min(len(version), maxVersion)] {
				t.Errorf("path %q, version %q; want %q, %q", abi.Path, abi.Version, path, version)
			}
			found := fmt.Sprintf("version %q", abi.Version)
			if version == "" {
				found = "of unknown version"
			}
			for _, part := range []string{path, found, abi.Reason, KnownVersions} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
		})
	}
}

// TestGuardAccepts shows that the stubs of TestGuard are good but for what
// they are refused for. Nothing may be called in them afterwards.
func TestGuardAccepts(t *testing.T) {
	c := compiler{t.TempDir(), map[string][]byte{}}
	for name, change := range map[string]func(*stub){
		"as it is": func(*stub) {},
		"padding": func(s *stub) {
			// What the compiler leaves there is no sign of anything.
			l, _ := layoutOf(s.version)
			for _, i := range []int{l.boolOffset + 6, l.boolOffset + 7} {
				s.context[0][i], s.context[1][i] = 1, 2
			}
			for _, i := range []int{36, 37, 38, 39, 78, 79} {
				s.model[0][i], s.model[1][i] = 1, 2
			}
		},
		"longest version": func(s *stub) {
			s.version += "-" + strings.Repeat("x", maxVersion-1-len(s.version))
		},
	} {
		for _, version := range []string{"0.4.0", "0.5.0", "0.5.0-dev", "0.6.12", "0.7.0", "0.8.1-rc.2", "0.9.0"} {
			t.Run(name+" "+version, func(t *testing.T) {
				s := newStub(version)
				change(s)
				path := c.build(t, s)
				h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
				if err != nil {
					t.Fatal(err)
				}
				defer purego.Dlclose(h)
				l, err := open(h, path)
				if err != nil {
					t.Fatal(err)
				}
				if l.Version != s.version || l.Path != path || l.layout != newLayout(version) {
					t.Errorf("%s %s %+v", l.Version, l.Path, l.layout)
				}
			})
		}
	}
}

// newLayout says again what layout a version has.
func newLayout(version string) layout {
	if strings.Compare(version, "0.7") < 0 {
		return layout{contextSize: 160, boolOffset: 128}
	}
	return layout{contextSize: 168, boolOffset: 136}
}

// TestLoadNothing tries what is no library for this machine. Such files are
// not refused for their interface, and leave the process free to load another.
func TestLoadNothing(t *testing.T) {
	dir := t.TempDir()
	c := compiler{t.TempDir(), map[string][]byte{}}
	elf := c.compiled(t, 160, 80)
	other := append([]byte(nil), elf...)
	other[18] ^= 0x3e ^ 0xb7 // e_machine: x86-64 becomes AArch64, and the reverse
	for name, content := range map[string][]byte{
		"absent":    nil,
		"empty":     {},
		"text":      []byte(strings.Repeat("no library\n", 1000)),
		"cut off":   elf[:100],
		"processor": other,
	} {
		path := filepath.Join(dir, name)
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Load(path)
		var abi *ABIError
		if err == nil || l != nil || errors.As(err, &abi) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l, err := Load(dir); err == nil || l != nil {
		t.Error("a folder was loaded")
	}
	s := newStub("0.10.0")
	var abi *ABIError
	if _, err := Load(c.build(t, s)); !errors.As(err, &abi) {
		t.Errorf("afterwards: %v", err)
	}
}
