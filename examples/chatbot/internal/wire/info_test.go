package wire

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// Names come from the model's file: whatever they are, the info fits into a key
// configuration, and is text.
func TestInfoCutsNames(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"short":              {"bloom", "bloom"},
		"empty":              {"", ""},
		"as long as can be":  {strings.Repeat("x", 256), strings.Repeat("x", 256)},
		"long":               {strings.Repeat("x", 1<<20), strings.Repeat("x", 256)},
		"long, in words":     {strings.Repeat("é", 200), strings.Repeat("é", 128)},
		"cut in a character": {"x" + strings.Repeat("é", 200), "x" + strings.Repeat("é", 127)},
		"not text":           {"a\xffb", "a\ufffdb"},
		"not text, long":     {strings.Repeat("\xff", 1<<10), "\ufffd"},
		"not text, at times": {strings.Repeat("x\xff", 1<<10), strings.Repeat("x\ufffd", 64)},
	} {
		b, err := EncodeInfo(Info{ModelName: tt.in, Engine: tt.in, ModelDigest: strings.Repeat("ab", 32), KeyARN: strings.Repeat("k", 2048)})
		if err != nil || len(b) > session.MaxInfo {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
			continue
		}
		got, err := DecodeInfo(b)
		if err != nil || got.ModelName != tt.want || got.Engine != tt.want || len(got.ModelName) > 256 || !utf8.ValidString(got.ModelName) {
			t.Errorf("%s: %q, %v", name, got.ModelName, err)
		}
	}
}

func TestDecodeInfoRefuses(t *testing.T) {
	good := strings.Join(strings.Fields(goldenInfo), "")
	for name, in := range map[string]string{
		"nothing":             "",
		"empty":               "a0",
		"another type":        "80",
		"trailing bytes":      good + "00",
		"cut off":             good[:len(good)-2],
		"a field missing":     "a6" + good[2:strings.Index(good, "0763")],
		"unknown key":         "a8" + good[2:] + "0800",
		"key twice":           "a8" + good[2:] + "0763" + "61726e",
		"indefinite":          "bf" + good[2:] + "ff",
		"not hexadecimal":     strings.Replace(good, "61626364", "61626367", 1),
		"half a byte":         strings.Replace(good, "0264"+"61626364", "0263"+"616263", 1),
		"name not UTF-8":      strings.Replace(good, "01616d", "0161ff", 1),
		"name as bytes":       strings.Replace(good, "01616d", "01416d", 1),
		"negative":            strings.Replace(good, "04191100", "0420", 1),
		"weights as float":    strings.Replace(good, "031a2160ec00", "03f93c00", 1),
		"longer than need be": strings.Replace(good, "04191100", "041a00001100", 1),
	} {
		if i, err := DecodeInfo(unhex(t, in)); err == nil || i != (Info{}) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if _, err := DecodeInfo(make([]byte, session.MaxInfo+1)); err == nil {
		t.Error("over the limit")
	}
}
