//go:build linux && (amd64 || arm64)

package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A stub is a library that claims to be libllama.
type stub struct {
	version string
	// The sizes of its parameter structures, and what they hold after the
	// first call and after later ones.
	contextSize, modelSize int
	context, model         [2][]byte
	// without is a function that it lacks.
	without string
}

// stubSource is the stub's code. The data of the arrays is put into the
// compiled file, which is far quicker than to compile one file per case. Every
// function but three ends the process, so a test that survives shows that the
// guard called none of them. There are no headers, which a compiler for
// another processor might lack.
const stubSource = `
void abort(void);
void *memcpy(void *, const void *, unsigned long);

char stub_version[512] = "image: version";
char stub_context[2][512] = {"image: context 0", "image: context 1"};
char stub_model[2][512] = {"image: model 0", "image: model 1"};

struct context { char b[CONTEXT]; };
struct model { char b[MODEL]; };

const char *llama_version(void) { return stub_version[0] == '*' ? 0 : stub_version; }

struct context llama_context_default_params(void) {
	static int calls;
	struct context c;
	memcpy(c.b, stub_context[calls++ > 0], sizeof c);
	return c;
}

struct model llama_model_default_params(void) {
	static int calls;
	struct model m;
	memcpy(m.b, stub_model[calls++ > 0], sizeof m);
	return m;
}
`

// nullVersion makes llama_version return a null pointer.
const nullVersion = "*"

// newStub returns one that the guard accepts.
func newStub(version string) *stub {
	l, _ := layoutOf(version)
	s := &stub{version: version, contextSize: l.contextSize, modelSize: modelSize}
	for i := range 2 {
		s.context[i] = make([]byte, probeSize)
		for j, v := range defaultHead {
			binary.NativeEndian.PutUint32(s.context[i][4*j:], v)
		}
		for j, v := range defaultEnums {
			binary.NativeEndian.PutUint32(s.context[i][ctxEnums+4*j:], uint32(v))
		}
		copy(s.context[i][l.boolOffset:], defaultBools)
		s.model[i] = make([]byte, probeSize)
		binary.NativeEndian.PutUint32(s.model[i][modelLayers:], ^uint32(0))
	}
	return s
}

// setContext and setModel change a byte of both images.
func (s *stub) setContext(offset int, v byte) { s.context[0][offset], s.context[1][offset] = v, v }
func (s *stub) setModel(offset int, v byte)   { s.model[0][offset], s.model[1][offset] = v, v }

// needed returns the names of all functions that must exist.
func needed() []string {
	names := slices.Collect(maps.Keys(new(Lib).symbols()))
	for _, name := range []string{"llama_version", "llama_context_default_params", "llama_model_default_params", "llama_init_from_model"} {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A compiler makes stubs, one compilation for each pair of sizes.
type compiler struct {
	dir  string
	done map[string][]byte
}

// compiled returns a library without its data.
func (c *compiler) compiled(t *testing.T, contextSize, modelSize int) []byte {
	t.Helper()
	name := fmt.Sprintf("stub-%d-%d", contextSize, modelSize)
	if lib := c.done[name]; lib != nil {
		return lib
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	code := stubSource
	for _, function := range needed() {
		if !strings.Contains(code, function+"(void)") {
			code += "void " + function + "(void) { abort(); }\n"
		}
	}
	src, out := filepath.Join(c.dir, name+".c"), filepath.Join(c.dir, name+".so")
	if err := os.WriteFile(src, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cc, "-shared", "-fPIC", "-nostdlib", "-s", "-w",
		fmt.Sprintf("-DCONTEXT=%d", contextSize), fmt.Sprintf("-DMODEL=%d", modelSize), "-o", out, src)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("this test builds libraries with gcc, or what CC names: %v\n%s", err, msg)
	}
	lib, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c.done[name] = lib
	return lib
}

// build writes the stub to a file.
func (c *compiler) build(t *testing.T, s *stub) string {
	t.Helper()
	lib := bytes.Clone(c.compiled(t, s.contextSize, s.modelSize))
	put := func(marker string, data []byte) {
		at := bytes.Index(lib, []byte(marker+"\x00"))
		if at < 0 || bytes.Count(lib, []byte(marker+"\x00")) != 1 || len(data) > 512 {
			t.Fatalf("no place for %q", marker)
		}
		copy(lib[at:], data)
	}
	put("image: version", append([]byte(s.version), 0))
	for i := range 2 {
		put(fmt.Sprintf("image: context %d", i), s.context[i])
		put(fmt.Sprintf("image: model %d", i), s.model[i])
	}
	if s.without != "" {
		// Another name in the symbol table, under the hash of the old one.
		name := []byte("\x00" + s.without + "\x00")
		if bytes.Count(lib, name) != 1 {
			t.Fatalf("no symbol %s", s.without)
		}
		lib[bytes.Index(lib, name)+1] = 'X'
	}
	path := filepath.Join(t.TempDir(), "libllama.so")
	if err := os.WriteFile(path, lib, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
