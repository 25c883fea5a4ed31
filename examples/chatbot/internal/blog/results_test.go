package blog

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMember(t *testing.T) {
	for text, want := range map[string]string{
		"":            `{"Results": ""}`,
		"plain":       `{"Results": "plain"}`,
		"<a> & \"b\"": `{"Results": "<a> & \"b\""}`,
		"\u00e9\n\\":  "{\"Results\": \"\u00e9\\n\\\\\"}",
	} {
		if got := string(member("Results", text)); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// The text is cut as little as possible: with the next character it would not
// fit.
func TestEncodeResultsCutsOnlyWhatMustGo(t *testing.T) {
	units := []string{"a", "\u00e9", "\u20ac", "\U0001f642", `"`, "\x01", "\u2028", "a\x01", "\U0001f642\x02"}
	for _, unit := range units {
		for offset := range 8 {
			text := strings.Repeat("x", offset) + strings.Repeat(unit, 4096/len(unit)+1)
			b := encodeResults(text)
			var r map[string]string
			if err := json.Unmarshal(b, &r); err != nil || len(b) > 4096 || !strings.HasPrefix(text, r["Results"]) {
				t.Fatalf("%q: %d bytes, %v", unit, len(b), err)
			}
			rest := text[len(r["Results"]):]
			_, size := utf8.DecodeRuneInString(rest)
			if longer := member("Results", r["Results"]+rest[:size]); rest == "" || len(longer) <= 4096 {
				t.Errorf("%q, offset %d: %d bytes would have fitted", unit, offset, len(longer))
			}
		}
	}
	if got := string(encodeResults("all of it")); got != `{"Results": "all of it"}` {
		t.Error(got)
	}
}

func TestCutAt(t *testing.T) {
	for n, want := range []string{"", "a", "a", "a", "a\u20ac", "a\u20ac"} {
		if got := cutAt("a\u20ac\u00e9", n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
