package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object that knows its order.
type object struct {
	keys []string
	vals map[string]any
}

func (o *object) has(k string) bool { _, ok := o.vals[k]; return ok }

func (o *object) set(k string, v any) {
	if !o.has(k) {
		o.keys = append(o.keys, k)
	}
	o.vals[k] = v
}

// without returns a copy of o without some of its members.
func (o *object) without(names ...string) *object {
	out := &object{vals: map[string]any{}}
next:
	for _, k := range o.keys {
		for _, n := range names {
			if k == n {
				continue next
			}
		}
		out.set(k, o.vals[k])
	}
	return out
}

// String returns o as text that differs from that of any other object.
func (o *object) String() string {
	var b strings.Builder
	o.write(&b)
	return b.String()
}

func (o *object) write(b *strings.Builder) {
	b.WriteByte('{')
	for _, k := range o.keys {
		b.WriteString(strconv.Quote(k) + ":")
		writeValue(b, o.vals[k])
	}
	b.WriteByte('}')
}

func writeValue(b *strings.Builder, v any) {
	switch v := v.(type) {
	case *object:
		v.write(b)
	case []any:
		b.WriteByte('[')
		for _, e := range v {
			writeValue(b, e)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case string:
		b.WriteString(strconv.Quote(v))
	default:
		fmt.Fprint(b, v)
	}
}

var (
	errSyntax    = errors.New("not JSON in UTF-8")
	errDepth     = errors.New("nested too deep")
	errDuplicate = errors.New("an object has two members of the same name")
)

// decode reads a JSON value: *object, []any, string, json.Number, bool or nil.
func decode(text []byte) (any, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errSyntax
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return decodeValue(d, 0)
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errSyntax
	}
	if depth > 2*MaxDepth {
		return nil, errDepth
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return decodeObject(d, depth)
		}
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	default:
		return t, nil
	}
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	o := &object{vals: map[string]any{}}
	for d.More() {
		k, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		name, ok := k.(string)
		if !ok || o.has(name) {
			return nil, errDuplicate
		}
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		o.set(name, v)
	}
	_, err := d.Token()
	return o, err
}

// equal says whether two values are written alike, in whatever order.
func equal(a, b any) bool {
	switch a := a.(type) {
	case *object:
		b, ok := b.(*object)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for k, v := range a.vals {
			if w, ok := b.vals[k]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case *object, []any:
		return false
	}
	return a == b
}
