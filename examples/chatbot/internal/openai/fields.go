package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// fields are the members of one JSON object of a request. Each is taken once by
// its reader; what nobody has taken is unknown, and refused by done. null counts
// as absent, as in OpenAI's API. The first error stays, and after it all
// readers return zero values, so that callers check it once.
type fields struct {
	path string // what the names in errors begin with, such as "messages[0]."
	vals map[string]json.RawMessage
	err  *apiError
}

// readFields reads exactly one object. param names it in errors.
func readFields(raw []byte, param string) *fields {
	f := &fields{vals: map[string]json.RawMessage{}}
	if param != "" {
		f.path = param + "."
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		f.err = badRequest("invalid_type", param, "an object is needed")
		return f
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var val json.RawMessage
		if err != nil || !ok || d.Decode(&val) != nil {
			f.err = badRequest("invalid_json", param, "not JSON")
			return f
		}
		if _, twice := f.vals[name]; twice {
			f.fail("invalid_json", name, "stands there twice")
			return f
		}
		f.vals[name] = val
	}
	if _, err := d.Token(); err != nil { // the closing brace
		f.err = badRequest("invalid_json", param, "not JSON")
	} else if _, err := d.Token(); err != io.EOF {
		f.err = badRequest("invalid_json", param, "data after the JSON value")
	}
	return f
}

// readBody is readFields for a whole request, which must be UTF-8.
func readBody(body []byte) *fields {
	if !utf8.Valid(body) {
		return &fields{err: badRequest("invalid_json", "", "the body is not UTF-8")}
	}
	if !json.Valid(body) {
		return &fields{err: badRequest("invalid_json", "", "the body is not one JSON value")}
	}
	return readFields(body, "")
}

// maxName bounds the names in errors, which can be the client's own.
const maxName = 64

// fail sets the first error, about the member name.
func (f *fields) fail(code, name, message string) {
	if f.err != nil {
		return
	}
	param := []rune(f.path + name)
	if len(param) > maxName {
		param = append(param[:maxName:maxName], '…')
	}
	f.err = badRequest(code, string(param), strconv.QuoteToGraphic(string(param))+": "+message)
}

// take returns a member and removes it.
func (f *fields) take(name string) (json.RawMessage, bool) {
	if f.err != nil {
		return nil, false
	}
	raw, ok := f.vals[name]
	delete(f.vals, name)
	return raw, ok && string(raw) != "null"
}

// done refuses what is left, the first by name.
func (f *fields) done() *apiError {
	if f.err == nil && len(f.vals) > 0 {
		f.fail("unknown_parameter", slices.Min(slices.Collect(maps.Keys(f.vals))), "this parameter is not known")
	}
	return f.err
}

// text takes a string.
func (f *fields) text(name string) (string, bool) {
	raw, ok := f.take(name)
	if !ok {
		return "", false
	}
	return f.asText(raw, name)
}

// asText reads a string that was taken before.
func (f *fields) asText(raw json.RawMessage, name string) (s string, ok bool) {
	if f.err != nil {
		return "", false
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		f.fail("invalid_type", name, "a string is needed")
		return "", false
	}
	if unpaired(raw) {
		f.fail("invalid_value", name, "holds half a character (an unpaired surrogate)")
		return "", false
	}
	return s, true
}

// unpaired reports whether a JSON string has an escape for one half of a
// surrogate pair, which the decoder would replace in silence.
func unpaired(raw []byte) bool {
	unit := func(i int) rune { // the UTF-16 unit of the escape at i, or -1
		if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if r := unit(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // past the sign after the backslash, which may be one itself
	}
	return false
}

// flag takes a boolean.
func (f *fields) flag(name string) bool {
	raw, ok := f.take(name)
	if ok && string(raw) != "true" && string(raw) != "false" {
		f.fail("invalid_type", name, "true or false is needed")
		return false
	}
	return string(raw) == "true"
}

// integer takes a whole number.
func (f *fields) integer(name string, low, high int64) (int64, bool) {
	raw, ok := f.take(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < low || n > high {
		f.fail("invalid_value", name, fmt.Sprintf("a whole number from %d to %d is needed", low, high))
		return 0, false
	}
	return n, true
}

// number takes a number.
func (f *fields) number(name string, low, high float64) (float64, bool) {
	raw, ok := f.take(name)
	if !ok {
		return 0, false
	}
	var n float64
	if json.Unmarshal(raw, &n) != nil || math.IsInf(n, 0) || n < low || n > high {
		f.fail("invalid_value", name, fmt.Sprintf("a number from %g to %g is needed", low, high))
		return 0, false
	}
	return n, true
}

// list takes an array of at most limit elements.
func (f *fields) list(name string, limit int) ([]json.RawMessage, bool) {
	raw, ok := f.take(name)
	if !ok {
		return nil, false
	}
	return f.asList(raw, name, limit)
}

// asList reads an array that was taken before. It stops at the limit, since
// two bytes of a request can be an element.
func (f *fields) asList(raw json.RawMessage, name string, limit int) ([]json.RawMessage, bool) {
	if f.err != nil {
		return nil, false
	}
	if raw[0] != '[' {
		f.fail("invalid_type", name, "an array is needed")
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	var all []json.RawMessage
	_, err := d.Token()
	for err == nil && d.More() {
		if len(all) == limit {
			f.fail("array_above_max_length", name, fmt.Sprintf("%d elements are the most", limit))
			return nil, false
		}
		var e json.RawMessage
		err = d.Decode(&e)
		all = append(all, e)
	}
	if err != nil {
		f.fail("invalid_json", name, "not JSON")
		return nil, false
	}
	return all, true
}

// object takes an object.
func (f *fields) object(name string) (*fields, bool) {
	raw, ok := f.take(name)
	if !ok {
		return nil, false
	}
	o := readFields(raw, f.path+name)
	f.err = o.err
	return o, o.err == nil
}

// ignore takes members that change nothing.
func (f *fields) ignore(names ...string) {
	for _, n := range names {
		f.take(n)
	}
}

// only takes a member that cannot be done, unless it has one of the values,
// written as compact JSON, that ask for nothing.
func (f *fields) only(name, message string, values ...string) {
	raw, ok := f.take(name)
	if !ok {
		return
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil || !slices.Contains(values, compact.String()) {
		f.fail("unsupported_parameter", name, message)
	}
}
