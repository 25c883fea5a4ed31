package grammar_test

import (
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// This file is a validator for what FromJSONSchema knows, written from JSON
// Schema's specification and independent of the package.

func parseJSON(t testing.TB, s string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		t.Fatalf("%q is not JSON: %v", s, err)
	}
	return v
}

func rat(v any) *big.Rat {
	r, _ := new(big.Rat).SetString(string(v.(json.Number)))
	return r
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case json.Number:
		return name == "number" || name == "integer" && rat(v).IsInt()
	case []any:
		return name == "array"
	}
	return name == "object"
}

func same(v, w any) bool {
	if n, ok := v.(json.Number); ok {
		m, ok := w.(json.Number)
		return ok && rat(n).Cmp(rat(m)) == 0
	}
	a, _ := json.Marshal(v)
	b, _ := json.Marshal(w)
	return string(a) == string(b)
}

func valid(root, schema, v any) bool {
	if b, ok := schema.(bool); ok {
		return b
	}
	s := schema.(map[string]any)
	for keyword, arg := range s {
		if !holds(root, s, keyword, arg, v) {
			return false
		}
	}
	return true
}

func count(schemas any, root, v any) int {
	n := 0
	for _, s := range schemas.([]any) {
		if valid(root, s, v) {
			n++
		}
	}
	return n
}

func holds(root any, s map[string]any, keyword string, arg, v any) bool {
	switch keyword {
	case "type":
		names, ok := arg.([]any)
		if !ok {
			names = []any{arg}
		}
		return slices.ContainsFunc(names, func(n any) bool { return isType(n.(string), v) })
	case "const":
		return same(arg, v)
	case "enum":
		return slices.ContainsFunc(arg.([]any), func(w any) bool { return same(w, v) })
	case "anyOf":
		return count(arg, root, v) > 0
	case "oneOf":
		return count(arg, root, v) == 1
	case "allOf":
		return count(arg, root, v) == len(arg.([]any))
	case "$ref":
		target := root
		for _, p := range strings.Split(arg.(string), "/")[1:] {
			target = target.(map[string]any)[strings.NewReplacer("~1", "/", "~0", "~").Replace(p)]
		}
		return valid(root, target, v)
	}
	switch v := v.(type) {
	case string:
		return holdsString(keyword, arg, v)
	case json.Number:
		cmp := 0
		if strings.HasSuffix(keyword, "imum") {
			cmp = rat(v).Cmp(rat(arg))
		}
		return !(keyword == "minimum" && cmp < 0 || keyword == "maximum" && cmp > 0 ||
			keyword == "exclusiveMinimum" && cmp <= 0 || keyword == "exclusiveMaximum" && cmp >= 0)
	case []any:
		prefix, _ := s["prefixItems"].([]any)
		switch keyword {
		case "minItems":
			return rat(arg).Cmp(big.NewRat(int64(len(v)), 1)) <= 0
		case "maxItems":
			return rat(arg).Cmp(big.NewRat(int64(len(v)), 1)) >= 0
		case "prefixItems":
			for i := range min(len(v), len(prefix)) {
				if !valid(root, prefix[i], v[i]) {
					return false
				}
			}
		case "items":
			for _, e := range v[min(len(v), len(prefix)):] {
				if !valid(root, arg, e) {
					return false
				}
			}
		}
	case map[string]any:
		props, _ := s["properties"].(map[string]any)
		switch keyword {
		case "required":
			for _, n := range arg.([]any) {
				if _, ok := v[n.(string)]; !ok {
					return false
				}
			}
		case "properties":
			for n, p := range props {
				if w, ok := v[n]; ok && !valid(root, p, w) {
					return false
				}
			}
		case "additionalProperties":
			for n, w := range v {
				if _, ok := props[n]; !ok && !valid(root, arg, w) {
					return false
				}
			}
		}
	}
	return true
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func holdsString(keyword string, arg any, v string) bool {
	switch keyword {
	case "minLength":
		return rat(arg).Cmp(big.NewRat(int64(utf8.RuneCountInString(v)), 1)) <= 0
	case "maxLength":
		return rat(arg).Cmp(big.NewRat(int64(utf8.RuneCountInString(v)), 1)) >= 0
	case "pattern":
		return regexp.MustCompile(arg.(string)).MatchString(v)
	case "format":
		layout := map[any]string{"date": "2006-01-02", "time": "15:04:05Z07:00", "date-time": time.RFC3339}[arg]
		if layout != "" {
			_, err := time.Parse(layout, v)
			return err == nil
		}
		return arg != "uuid" || uuid.MatchString(v)
	}
	return true
}
