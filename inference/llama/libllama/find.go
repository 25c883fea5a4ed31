package libllama

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// DirEnv is the environment variable that names the library's folder.
const DirEnv = "NITROSEAL_LIBLLAMA_DIR"

// ErrNotFound means that no folder of the search has the library.
var ErrNotFound = errors.New("llama: libllama not found")

// CacheDir returns the folder that Fetch unpacks into.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("llama: no cache folder: %w", err)
	}
	return filepath.Join(base, "nitroseal", "llama", PackageVersion+"-"+runtime.GOOS+"-"+runtime.GOARCH), nil
}

// SearchDirs returns the folders that Find looks into, in order: the one that
// DirEnv names, alone if it is set, else CacheDir and the system's.
func SearchDirs() []string {
	if dir := os.Getenv(DirEnv); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if dir, err := CacheDir(); err == nil {
		dirs = append(dirs, dir)
	}
	switch runtime.GOOS {
	case "linux":
		if multiarch, ok := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]; ok {
			dirs = append(dirs, filepath.Join("/usr/lib", multiarch))
		}
		dirs = append(dirs, "/usr/local/lib", "/usr/lib64", "/usr/lib")
	case "darwin":
		dirs = append(dirs, "/opt/homebrew/lib", "/usr/local/lib")
	}
	return dirs
}

// Find returns the path of the library. It looks into dir or, if that is
// empty, into SearchDirs. If there is none it returns an error that is
// ErrNotFound and says what to do.
func Find(dir string) (string, error) {
	dirs := []string{dir}
	if dir == "" {
		dirs = SearchDirs()
	}
	for _, d := range dirs {
		if path := inDir(d); path != "" {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w in %s: run `go run github.com/nitroseal/nitroseal/inference/llama/install`, or install llama.cpp and set %s to the folder of its library", ErrNotFound, strings.Join(dirs, ", "), DirEnv)
}

// inDir returns the library in a folder: its plain name before versioned ones,
// the last of those.
func inDir(dir string) string {
	for _, pattern := range []string{"libllama.so", "libllama.dylib", "libllama.so.*", "libllama.v*.so", "libllama.*.dylib"} {
		// The patterns are well-formed, but dir could hold special characters.
		entries, err := os.ReadDir(dir)
		if err != nil {
			return ""
		}
		for _, e := range slices.Backward(entries) {
			if ok, _ := filepath.Match(pattern, e.Name()); ok && !e.IsDir() {
				return filepath.Join(dir, e.Name())
			}
		}
	}
	return ""
}
