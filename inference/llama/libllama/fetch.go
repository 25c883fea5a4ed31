package libllama

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// PackageVersion is the version of the npm package that Fetch gets. It holds
// llama.cpp 0.5.0.
const PackageVersion = "3.22.1"

// ErrIntegrity means that an archive is not the pinned one.
var ErrIntegrity = errors.New("llama: the archive does not have the pinned digest")

// A Package is one archive that Fetch knows.
type Package struct {
	Name      string // of the npm package
	Integrity string // base64 of the SHA-512 of its archive
}

// PackageFor returns the package for a platform as Go names it.
func PackageFor(goos, goarch string) (Package, bool) {
	switch goos + "/" + goarch {
	case "linux/amd64":
		return Package{
			Name:      "@node-llama-cpp/linux-x64",
			Integrity: "5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
		}, true
	case "linux/arm64":
		return Package{
			Name:      "@node-llama-cpp/linux-arm64",
			Integrity: "W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
		}, true
	}
	return Package{}, false
}

// Fetch gets the library for this platform with the npm client and returns
// its folder, CacheDir. Several processes may do so at once.
func Fetch(ctx context.Context) (string, error) {
	pkg, ok := PackageFor(runtime.GOOS, runtime.GOARCH)
	if !ok {
		return "", fmt.Errorf("llama: no prebuilt library for %s/%s is known: install llama.cpp (Homebrew: llama.cpp, Debian: libllama0) and set %s to the folder of its library", runtime.GOOS, runtime.GOARCH, DirEnv)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("llama: npm is needed to fetch libllama: install Node.js (Debian and Ubuntu: apt install npm; macOS: brew install node), or install llama.cpp 0.4 to 0.9 and set %s to the folder of its library", DirEnv)
	}
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("llama: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return "", fmt.Errorf("llama: %w", err)
	}
	defer os.RemoveAll(tmp)

	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--ignore-scripts", pkg.Name+"@"+PackageVersion)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("llama: npm pack %s: %w: %s", pkg.Name, err, bytes.TrimSpace(out))
	}
	archives, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("llama: npm pack left %d archives, not one", len(archives))
	}
	if err := Install(archives[0], pkg.Integrity, dir); err != nil {
		return "", err
	}
	return dir, nil
}

// Install checks an archive's SHA-512 (base64) and unpacks the shared
// libraries in it into dir, which appears complete or not at all. If dir
// exists it is left as it is.
func Install(archive, integrity, dir string) error {
	data, err := os.ReadFile(archive)
	if err != nil {
		return fmt.Errorf("llama: %w", err)
	}
	// Nothing reads the archive before it is known to be the right one.
	if sum := sha512.Sum512(data); base64.StdEncoding.EncodeToString(sum[:]) != integrity {
		return fmt.Errorf("%w: %s", ErrIntegrity, filepath.Base(archive))
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "unpack-")
	if err != nil {
		return fmt.Errorf("llama: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("llama: %w", err)
	}
	if err := unpack(data, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if inDir(dir) != "" {
			return nil // another process was faster
		}
		return fmt.Errorf("llama: %w", err)
	}
	return nil
}
