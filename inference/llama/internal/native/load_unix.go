//go:build (linux || darwin) && (amd64 || arm64)

package native

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// current is the process's library. There is at most one: ggml keeps global
// tables, and two copies would share them by symbol name.
var current struct {
	sync.Mutex
	lib *Lib
}

// Load opens the shared library at path, or returns it if it is open already.
// A library of an unknown layout is refused with an *ABIError before any call
// that takes or returns a structure by its type.
func Load(path string) (*Lib, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	current.Lock()
	defer current.Unlock()
	if l := current.lib; l != nil {
		if l.Path != path {
			return nil, fmt.Errorf("llama: the process already uses the library %s, it cannot load %s too", l.Path, path)
		}
		return l, nil
	}
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("llama: open library: %w", err)
	}
	l, err := open(h, path)
	if err != nil {
		// Nothing of it ran but its initializers.
		return nil, errors.Join(err, purego.Dlclose(h))
	}
	if err := l.start(h); err != nil {
		return nil, err
	}
	current.lib = l
	return l, nil
}

// open checks the library and binds its functions.
func open(h uintptr, path string) (*Lib, error) {
	l := &Lib{Path: path}
	refuse := func(format string, args ...any) error {
		return &ABIError{Path: path, Version: l.Version, Reason: fmt.Sprintf(format, args...)}
	}
	version, err := purego.Dlsym(h, "llama_version")
	if err != nil {
		return nil, refuse("it has no llama_version")
	}
	var versionFn func() *byte
	purego.RegisterFunc(&versionFn, version)
	if l.Version = cString(versionFn(), maxVersion+1); len(l.Version) > maxVersion {
		l.Version = l.Version[:maxVersion]
		return nil, refuse("its version is too long")
	}
	known := false
	if l.layout, known = layoutOf(l.Version); !known {
		return nil, refuse("its version is unknown")
	}
	contextDefaults, err := purego.Dlsym(h, "llama_context_default_params")
	if err != nil {
		return nil, refuse("it has no llama_context_default_params")
	}
	modelDefaults, err := purego.Dlsym(h, "llama_model_default_params")
	if err != nil {
		return nil, refuse("it has no llama_model_default_params")
	}
	p := probeDefaults(contextDefaults)
	if err := l.layout.checkContext(p); err != nil {
		return nil, refuse("%v", err)
	}
	l.contextDefaults = p.a
	if err := checkModel(probeDefaults(modelDefaults)); err != nil {
		return nil, refuse("%v", err)
	}
	symbols := l.symbols()
	addrs := make(map[string]uintptr, len(symbols))
	for _, name := range slices.Sorted(maps.Keys(symbols)) {
		if addrs[name], err = purego.Dlsym(h, name); err != nil {
			return nil, refuse("it has no %s", name)
		}
	}
	initContext, err := purego.Dlsym(h, "llama_init_from_model")
	if err != nil {
		return nil, refuse("it has no llama_init_from_model")
	}
	for name, fn := range symbols {
		purego.RegisterFunc(fn, addrs[name])
	}
	l.bindInitContext(initContext)
	return l, nil
}

// bindInitContext binds llama_init_from_model with a parameter structure of
// the layout's size.
func (l *Lib) bindInitContext(addr uintptr) {
	if l.layout.contextSize == 160 {
		var fn func(LlamaModel, contextParams160) Context
		purego.RegisterFunc(&fn, addr)
		l.initContext = func(m LlamaModel, params []byte) Context {
			return fn(m, *(*contextParams160)(unsafe.Pointer(&params[0])))
		}
		return
	}
	var fn func(LlamaModel, contextParams168) Context
	purego.RegisterFunc(&fn, addr)
	l.initContext = func(m LlamaModel, params []byte) Context {
		return fn(m, *(*contextParams168)(unsafe.Pointer(&params[0])))
	}
}

// start makes the library ready: environment, log, backends.
func (l *Lib) start(h uintptr) error {
	// Go's own environment is not the one that C reads. GGML_BACKEND_PATH
	// would load a library of somebody's choice; a backtrace would start a
	// debugger and print memory.
	var err error
	if l.strlen, err = purego.Dlsym(h, "strlen"); err != nil {
		return fmt.Errorf("llama: libc: %w", err)
	}
	unsetenv, err1 := purego.Dlsym(h, "unsetenv")
	setenv, err2 := purego.Dlsym(h, "setenv")
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("llama: libc: %w", err)
	}
	var unset func(string) int32
	var set func(name, value string, overwrite int32) int32
	purego.RegisterFunc(&unset, unsetenv)
	purego.RegisterFunc(&set, setenv)
	if unset("GGML_BACKEND_PATH") != 0 || set("GGML_NO_BACKTRACE", "1", 1) != 0 {
		return errors.New("llama: libc: environment could not be set")
	}
	l.logSet(logCallback(), 0)
	l.ggmlLogSet(logCallback(), 0)
	dirs := []string{filepath.Dir(realPath(l.Path))}
	// Distributions keep the backends in a folder of their own.
	below, _ := filepath.Glob(filepath.Join(dirs[0], "ggml", "*"))
	dirs = append(append(dirs, filepath.Join(dirs[0], "ggml")), below...)
	for _, dir := range dirs {
		if l.deviceCount() > 0 {
			break
		}
		l.loadBackends(dir)
	}
	if l.deviceCount() == 0 {
		return fmt.Errorf("llama: no ggml backend for this CPU beside %s", l.Path)
	}
	l.backendInit()
	return nil
}

// realPath follows symbolic links, since the backends lie beside the real file.
func realPath(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return path
}

var progressCallback = sync.OnceValue(func() uintptr {
	return purego.NewCallback(func(_ float32, key uintptr) bool { return onProgress(key) })
})

var logCallback = sync.OnceValue(func() uintptr {
	return purego.NewCallback(func(level int32, text *byte, _ uintptr) { onLog(level, text) })
})
