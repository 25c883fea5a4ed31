package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options says what to download.
type Options struct {
	// URL is where the file is: https, or http with AllowHTTP.
	URL string
	// Path is where it goes, readable for the user only. Its folder exists.
	Path string
	// SHA256 is the digest of the whole file in hexadecimal.
	SHA256 string
	// Overwrite allows to replace a file at Path that has another digest.
	Overwrite bool
	// AllowHTTP allows a URL without TLS. A redirect from https to http is
	// refused nevertheless.
	AllowHTTP bool

	// Client makes the requests; headers that a server wants are a matter of
	// its Transport. Its Timeout is not used: a large file may take hours.
	// nil means one with http.DefaultTransport, which honours HTTPS_PROXY.
	Client *http.Client
	// MaxBytes is the largest file to accept. 0 means 64 GiB.
	MaxBytes int64
	// StallTimeout is how long to wait for the next byte. 0 means 30 seconds.
	StallTimeout time.Duration
	// Retries is how often to try again when attempts bring nothing new. 0
	// means 8, negative means not to.
	Retries int

	// Progress is called after each piece of at most 256 KiB, and before the
	// first. The download waits for it. nil means not to.
	Progress func(Progress)
	// Logger gets a line for each interruption. nil means no log.
	Logger *slog.Logger
}

// Progress is how far a download is.
type Progress struct {
	// Done counts the bytes in the part file. It falls back to 0 when the
	// download starts over.
	Done int64
	// Total is the size of the file, or -1 if the server does not tell.
	Total int64
	// Resumed counts those bytes of Done that were there before this call.
	Resumed int64
}

// File downloads a file to opts.Path. If that is there already with the right
// digest, File succeeds without the network.
//
// When it fails or ctx ends, what has come stays beside Path for the next
// call, unless the error is ErrDigest or ErrTooLarge. The errors are those of
// this package, *StatusError, ctx's own error, and those of files and network.
func File(ctx context.Context, opts Options) error {
	d, err := newDownload(opts)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if err := d.run(ctx); err != nil {
		return fmt.Errorf("fetch: %s: %w", redacted(d.url), err)
	}
	return nil
}

// download is one call of File.
type download struct {
	opts   Options
	url    *url.URL
	client *http.Client

	file    *os.File  // the part file, locked
	hash    hash.Hash // of its bytes
	done    int64     // how many they are
	resumed int64
	reached int64 // the most that done has ever been
	state   state
}

// newDownload checks the options and replaces zero values.
func newDownload(opts Options) (*download, error) {
	u, err := url.Parse(opts.URL)
	if err != nil || u.Host == "" {
		return nil, errors.New("Options.URL is no absolute URL") // err quotes it
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !opts.AllowHTTP) {
		return nil, fmt.Errorf("Options.URL has the scheme %q: %w", u.Scheme, ErrInsecure)
	}
	digest, err := hex.DecodeString(opts.SHA256)
	if err != nil || len(digest) != sha256.Size {
		return nil, fmt.Errorf("Options.SHA256 is not %d hexadecimal digits", 2*sha256.Size)
	}
	if opts.Path == "" {
		return nil, errors.New("Options.Path is empty")
	}
	if strings.ContainsRune(opts.Path, 0) {
		return nil, errors.New("Options.Path holds a NUL")
	}
	if opts.MaxBytes < 0 || opts.StallTimeout < 0 {
		return nil, errors.New("Options.MaxBytes or Options.StallTimeout is negative")
	}
	opts.SHA256 = strings.ToLower(opts.SHA256)
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 64 << 30
	}
	if opts.StallTimeout == 0 {
		opts.StallTimeout = 30 * time.Second
	}
	if opts.Retries == 0 {
		opts.Retries = 8
	}
	if opts.Progress == nil {
		opts.Progress = func(Progress) {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &download{opts: opts, url: u, client: newClient(opts.Client), hash: sha256.New(), state: state{Size: -1}}, nil
}

func (d *download) partName() string  { return d.opts.Path + ".part" }
func (d *download) stateName() string { return d.opts.Path + ".part.json" }

func (d *download) run(ctx context.Context) error {
	there, err := d.there(ctx)
	if there || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	had := err == nil
	if d.file, err = openLocked(d.partName()); err != nil {
		return err
	}
	defer d.file.Close()
	// Another call may have finished before this one got the lock.
	if !had {
		there, err := d.there(ctx)
		if there {
			return d.discard()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := d.resume(ctx); err != nil {
		return err
	}
	if d.done != d.state.Size {
		if err := d.download(ctx); err != nil {
			if errors.Is(err, ErrTooLarge) || d.done == 0 {
				return errors.Join(err, d.discard())
			}
			return err
		}
	}
	return d.finish()
}

// there says whether Path has the right digest. It is fs.ErrNotExist if there
// is nothing, and no error if there is something that may be overwritten.
func (d *download) there(ctx context.Context) (bool, error) {
	f, err := os.Open(d.opts.Path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false, fmt.Errorf("%w: %s is no regular file", ErrExists, d.opts.Path)
	}
	h := sha256.New()
	if _, err := io.Copy(h, reader{ctx, f}); err != nil {
		return false, err
	}
	if hex.EncodeToString(h.Sum(nil)) == d.opts.SHA256 {
		return true, nil
	}
	if !d.opts.Overwrite {
		return false, fmt.Errorf("%w: %s has another digest", ErrExists, d.opts.Path)
	}
	return false, nil
}

// resume takes over what an earlier call has left, or starts with nothing.
func (d *download) resume(ctx context.Context) error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", d.partName())
	}
	s, ok := readState(d.stateName())
	if !ok || s.SHA256 != d.opts.SHA256 || s.Size >= 0 && info.Size() > s.Size {
		return d.restart()
	}
	// The bytes of an earlier process count only as they are on disk now.
	n, err := io.Copy(d.hash, reader{ctx, d.file})
	if err != nil {
		return err
	}
	d.state, d.done, d.resumed, d.reached = s, n, n, n
	return nil
}

// restart forgets what has come.
func (d *download) restart() error {
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	d.hash.Reset()
	d.done, d.resumed, d.state = 0, 0, state{Size: -1}
	return remove(d.stateName())
}

// finish checks the digest and gives the file its name.
func (d *download) finish() error {
	if sum := hex.EncodeToString(d.hash.Sum(nil)); sum != d.opts.SHA256 {
		err := fmt.Errorf("%w: the file has SHA-256 %s, %s was expected", ErrDigest, sum, d.opts.SHA256)
		return errors.Join(err, d.discard())
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	// In this order, since without the part file another call may begin.
	if err := remove(d.stateName()); err != nil {
		return err
	}
	if err := os.Rename(d.partName(), d.opts.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.opts.Path))
}

// discard removes the part file and its state, in the order of finish.
func (d *download) discard() error {
	return errors.Join(remove(d.stateName()), remove(d.partName()))
}

// reader ends when ctx ends.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.ctx.Err()
	}
	return r.Reader.Read(p)
}
