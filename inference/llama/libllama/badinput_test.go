package libllama

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference-llama-libllama.md.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.tgz")
	if err := os.WriteFile(junk, []byte(badinput.Canary), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512([]byte(badinput.Canary))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	install := func(archive, integrity string) func(context.Context) error {
		return func(context.Context) error { return Install(archive, integrity, filepath.Join(dir, "lib")) }
	}
	notFound := badinput.Is("libllama.ErrNotFound", ErrNotFound)
	integrity := badinput.Is("libllama.ErrIntegrity", ErrIntegrity)
	badinput.Table{
		Package: "inference/llama/libllama",
		Prefix:  "llama: ",
		Cases: []badinput.Case{
			badinput.On("Fetch", "a context that has ended", badinput.Plain(), func(context.Context) error { _, err := Fetch(gone); return err }).Vary(),
			badinput.On("Find", "a folder that is not there", notFound, func(context.Context) error { _, err := Find(filepath.Join(dir, "no")); return err }).Vary(),
			badinput.On("Find", "a file in place of a folder", notFound, func(context.Context) error { _, err := Find(junk); return err }).Vary(),
			badinput.On("Install", "an archive that is not there", badinput.Is("fs.ErrNotExist", fs.ErrNotExist), install(filepath.Join(dir, "no"), "")).Vary(),
			badinput.On("Install", "no integrity", integrity, install(junk, "")),
			badinput.On("Install", "an integrity that is no base64", integrity, install(junk, "sha512-\n")),
			badinput.On("Install", "an archive that is none, with its digest", badinput.Plain(), install(junk, base64.StdEncoding.EncodeToString(sum[:]))).Vary(),
			badinput.Value("PackageFor", "a platform that is not known", "false", func() bool { _, ok := PackageFor("plan9", "\x00"); return !ok }),
		},
		NoInput: []string{"CacheDir", "SearchDirs"},
	}.Run(t)
}
