package libllama_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// A library that an image brings along is found in its folder, and nothing else
// is looked at.
func ExampleFind() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_, err = libllama.Find(dir)
	fmt.Println(errors.Is(err, libllama.ErrNotFound))

	if err := os.WriteFile(filepath.Join(dir, "libllama.so"), nil, 0o600); err != nil {
		log.Fatal(err)
	}
	path, err := libllama.Find(dir) // its folder is llama.Options.LibraryDir
	fmt.Println(filepath.Base(path), err)
	// Output:
	// true
	// libllama.so <nil>
}

// A program that sets itself up uses what is on the machine, and only then
// fetches the known build.
func ExampleFetch() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, err := libllama.Find("")
	if errors.Is(err, libllama.ErrNotFound) {
		_, err = libllama.Fetch(ctx) // with the npm client; the digest is pinned
	}
	if err != nil {
		log.Fatal(err) // it says what to do
	}
}

// What Fetch has unpacked is found first, unless the environment names another
// folder, which is then the only one.
func ExampleSearchDirs() {
	dirs := libllama.SearchDirs()
	if dir := os.Getenv(libllama.DirEnv); dir != "" {
		fmt.Println(slices.Equal(dirs, []string{dir}))
		return
	}
	cache, err := libllama.CacheDir()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dirs[0] == cache)
	// Output: true
}

// Machines that cannot reach the npm registry get the archive in another way:
// `npm pack` of this name and version elsewhere, then Install with the digest.
func ExamplePackageFor() {
	pkg, ok := libllama.PackageFor("linux", "arm64")
	fmt.Println(pkg.Name, ok)
	_, ok = libllama.PackageFor("darwin", "arm64") // Homebrew has llama.cpp
	fmt.Println(ok)
	// Output:
	// @node-llama-cpp/linux-arm64 true
	// false
}

// An archive is unpacked only if it is the one whose digest is known. Nobody
// finds half of a library in the folder.
func ExampleInstall() {
	tmp, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	data := archive() // as `npm pack` writes it
	file := filepath.Join(tmp, "linux-x64.tgz")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(tmp, "llama")

	pkg, _ := libllama.PackageFor("linux", "amd64")
	err = libllama.Install(file, pkg.Integrity, dir)
	fmt.Println(errors.Is(err, libllama.ErrIntegrity)) // it is not the real one
	_, err = os.Stat(dir)
	fmt.Println(errors.Is(err, os.ErrNotExist))

	sum := sha512.Sum512(data) // of a build of one's own
	fmt.Println(libllama.Install(file, base64.StdEncoding.EncodeToString(sum[:]), dir))
	path, err := libllama.Find(dir)
	fmt.Println(filepath.Base(path), err)
	// Output:
	// true
	// true
	// <nil>
	// libllama.so <nil>
}

// archive returns an npm package with a library.
func archive() []byte {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	library := []byte("a library")
	h := &tar.Header{Name: "package/bins/linux-x64/libllama.so", Typeflag: tar.TypeReg, Size: int64(len(library)), Mode: 0o755}
	if err := tw.WriteHeader(h); err != nil {
		log.Fatal(err)
	}
	if _, err := tw.Write(library); err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		log.Fatal(err)
	}
	return buf.Bytes()
}
