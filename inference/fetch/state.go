package fetch

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"
)

// state is what resuming takes beside the bytes. It names no URL: that may be
// signed, and may be another one for the same file next time.
type state struct {
	// SHA256 is the digest that the bytes are to have in the end.
	SHA256 string `json:"sha256"`
	// Validator goes into If-Range: a strong ETag, with its quotes, or the
	// date of Last-Modified. Without one there is no resuming.
	Validator string `json:"validator"`
	// Size is that of the whole file, or -1 if the server did not tell.
	Size int64 `json:"size"`
}

// validator returns what names the version of the file that a response
// carries, or "".
//
// A weak ETag may stand for files that differ in their bytes. A date stands
// for one version only if the response was made in a later second (RFC 9110,
// section 8.8.2.2).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); len(tag) >= 2 && tag[0] == '"' && tag[len(tag)-1] == '"' {
		return tag
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Sub(modified) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}

// contradicts says whether a response is of another version than v names.
func contradicts(h http.Header, v string) bool {
	if strings.HasPrefix(v, `"`) {
		tag := h.Get("ETag")
		return tag != "" && tag != v
	}
	modified := h.Get("Last-Modified")
	return modified != "" && modified != v
}

// readState returns the state in a file. What cannot be read is no state.
func readState(name string) (state, bool) {
	data, err := os.ReadFile(name)
	var s state
	if err != nil || json.Unmarshal(data, &s) != nil {
		return state{}, false
	}
	ok := s.Validator != "" && s.Size >= -1 && !strings.ContainsAny(s.Validator, "\r\n")
	return s, ok
}

// write replaces the file. It is a new one each time, so that a link with its
// name leads nowhere.
func (s state) write(name string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := remove(name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// remove removes a file that may not be there.
func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
