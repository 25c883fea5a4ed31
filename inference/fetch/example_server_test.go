package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

// serveModel is a server with one file, whose version it names.
func serveModel(model []byte) *httptest.Server {
	return httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "model.gguf", time.Time{}, bytes.NewReader(model))
	}))
}

// A download that was stopped is gone on with by the same call. The digest is
// that of the whole file, so it makes no difference who stopped it, or where.
func ExampleFile_resume() {
	model := bytes.Repeat([]byte("weights "), 1<<17)
	srv := serveModel(model)
	defer srv.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sum := sha256.Sum256(model) // it is in the program, from elsewhere than the file
	opts := fetch.Options{
		URL:    srv.URL + "/model.gguf",
		Path:   filepath.Join(dir, "model.gguf"),
		SHA256: hex.EncodeToString(sum[:]),
		Client: srv.Client(), // nil for servers with public certificates
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	opts.Progress = func(p fetch.Progress) {
		if p.Done > 0 {
			stop() // the user has no patience
		}
	}
	fmt.Println(errors.Is(fetch.File(ctx, opts), context.Canceled))

	var last fetch.Progress
	opts.Progress = func(p fetch.Progress) { last = p }
	err = fetch.File(context.Background(), opts)
	fmt.Println(err, last.Done == int64(len(model)), last.Resumed > 0)
	// Output:
	// true
	// <nil> true true
}

// The digest decides which file it is, not the server. Nothing of another one
// is left, and a file that is there already is not replaced unasked.
func ExampleFile_digest() {
	srv := serveModel([]byte("weights that somebody has changed"))
	defer srv.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sum := sha256.Sum256([]byte("weights"))
	opts := fetch.Options{
		URL:    srv.URL + "/model.gguf",
		Path:   filepath.Join(dir, "model.gguf"),
		SHA256: hex.EncodeToString(sum[:]),
		Client: srv.Client(), // nil for servers with public certificates
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(errors.Is(fetch.File(ctx, opts), fetch.ErrDigest))
	left, err := os.ReadDir(dir)
	fmt.Println(len(left), err)

	if err := os.WriteFile(opts.Path, []byte("my own model"), 0o600); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(fetch.File(ctx, opts), fetch.ErrExists))
	// Output:
	// true
	// 0 <nil>
	// true
}
