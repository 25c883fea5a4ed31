//go:build (linux || darwin) && (amd64 || arm64)

package native

import (
	"strings"
	"testing"

	"github.com/ebitengine/purego"

	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// TestRealLibrary runs the guard on the library that is installed: it must
// have the layout of its version, and no other.
func TestRealLibrary(t *testing.T) {
	path, err := libllama.Find("")
	if err != nil {
		t.Fatal(err)
	}
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := open(h, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("libllama %s: llama_context_params has %d bytes", l.Version, l.layout.contextSize)
	fn, err := purego.Dlsym(h, "llama_context_default_params")
	if err != nil {
		t.Fatal(err)
	}
	p := probeDefaults(fn)
	for _, other := range []layout{layoutV4, layoutV7} {
		err := other.checkContext(p)
		if other == l.layout && err != nil || other != l.layout && (err == nil || !strings.Contains(err.Error(), " bytes, not ")) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	if fn, err = purego.Dlsym(h, "llama_model_default_params"); err != nil {
		t.Fatal(err)
	}
	if got := probeDefaults(fn).extent(); got != modelTail && got != modelSize {
		t.Errorf("llama_model_params has %d bytes", got)
	}
}
