package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestContentRange(t *testing.T) {
	for text, want := range map[string]byteRange{
		"bytes 0-0/1":                      {0, 0, 1},
		"Bytes 5-9/10":                     {5, 9, 10},
		"":                                 {},
		"bytes":                            {},
		"bytes 5-9":                        {},
		"bytes 5/10":                       {},
		"bytes 5-10/10":                    {},
		"bytes 6-5/10":                     {},
		"bytes +5-9/10":                    {},
		"bytes 5-9/*":                      {},
		"bytes */10":                       {},
		"bytes=5-9/10":                     {},
		"bytes 5 - 9 / 10":                 {},
		"bytes 5-9/10 ":                    {},
		"bytes 5-9/10, bytes 0-1/10":       {},
		"bytes 0x5-9/10":                   {},
		"bytes 1_0-19/20":                  {},
		"bytes 0-1/9223372036854775807":    {},
		"bytes 0-1/99999999999999999999":   {},
		"bytes ٠-1/2":                      {},
		"items 0-0/1":                      {},
		"bytes 0-0/1/2":                    {},
		"bytes 0-0-0/1":                    {},
		"bytes 0000-0001/4611686018427387": {0, 1, 4611686018427387},
	} {
		got, ok := parseContentRange(http.Header{"Content-Range": {text}})
		if got != want || ok != (want != byteRange{}) {
			t.Errorf("%q: %v %v", text, got, ok)
		}
	}
	if got, ok := parseContentRange(http.Header{"Content-Range": {"bytes 0-0/1", "bytes 0-0/1"}}); ok {
		t.Errorf("twice: %v", got)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 5-9/10", "bytes */10", "bytes 0-1/9223372036854775807", "bytes +1-2/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseContentRange(http.Header{"Content-Range": {text}})
		if !ok {
			if r != (byteRange{}) {
				t.Errorf("%v beside a refusal", r)
			}
			return
		}
		if r.first < 0 || r.last < r.first || r.size <= r.last || r.size+pieceSize < 0 {
			t.Errorf("%v", r)
		}
		// Written anew it is the same but for zeros in front.
		if got, ok := parseContentRange(http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", r.first, r.last, r.size)}}); !ok || got != r {
			t.Errorf("%v became %v", r, got)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "1e3"} {
		f.Add(s)
	}
	now := time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got < 0 {
			t.Errorf("%v", got)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"sha256":"00","validator":"\"v1\"","size":10}`))
	f.Add([]byte(`{"validator":"\r\n","size":-2}`))
	name := f.TempDir() + "/state"
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, ok := readState(name)
		if ok && (s.Size < -1 || s.Validator == "" || strings.ContainsAny(s.Validator, "\r\n")) {
			t.Errorf("%+v", s)
		}
	})
}

func TestBackoff(t *testing.T) {
	for failures, most := range map[int]time.Duration{1: firstWait, 2: 2 * firstWait, 5: 16 * firstWait, 7: maxWait, 1000: maxWait} {
		seen := map[time.Duration]bool{}
		for range 50 {
			got := backoff(failures)
			if got < most/2 || got > most {
				t.Errorf("%d failures: %v", failures, got)
			}
			seen[got] = true
		}
		if len(seen) < 10 {
			t.Errorf("%d failures: always the same", failures)
		}
	}
}

// TestFull says what a full disk means, and leaves other errors alone.
func TestFull(t *testing.T) {
	d := &download{done: 10, state: state{Size: 30}}
	full := &fs.PathError{Op: "write", Path: "m.part", Err: syscall.ENOSPC}
	err := d.fileError(full)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk is full, 20 of 30 bytes are missing") {
		t.Error(err)
	}
	d.state.Size = -1
	if err := d.fileError(full); !strings.Contains(err.Error(), "disk is full after 10 bytes") {
		t.Error(err)
	}
	if err := d.fileError(fs.ErrPermission); err != fs.ErrPermission {
		t.Error(err)
	}
}

// TestLock has many take the lock and remove the file while they have it, as
// the end of a download does. Whoever gets the lock has it on the file that is
// there.
func TestLock(t *testing.T) {
	name := t.TempDir() + "/part"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for got := 0; got < 200; {
				f, err := openLocked(name)
				if errors.Is(err, ErrBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				got++
				mine, err1 := f.Stat()
				now, err2 := os.Lstat(name)
				if err1 != nil || err2 != nil || !os.SameFile(mine, now) {
					t.Errorf("another file than the one that is locked: %v %v", err1, err2)
				}
				if err := errors.Join(os.Remove(name), f.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
