package proxy_test

import (
	"embed"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// The files are in the binary, since it also runs in a guest without them.
//
//go:embed testdata/allowlist
var allowlists embed.FS

// valid calls f with each allowlist of testdata and its entries.
func valid(t testing.TB, f func(name, file string, want []string)) {
	t.Helper()
	files, err := fs.Glob(allowlists, "testdata/allowlist/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		file, err := allowlists.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := allowlists.ReadFile(name + ".want")
		if err != nil {
			t.Fatal(err)
		}
		f(name, string(file), strings.Fields(string(want)))
	}
}

func TestParseAllowlist(t *testing.T) {
	valid(t, func(name, file string, want []string) {
		list, err := proxy.ParseAllowlist(iotest.OneByteReader(strings.NewReader(file)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if got := list.Targets(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		for _, target := range want {
			if !list.Allows(target) {
				t.Errorf("%s: %s is not allowed", name, target)
			}
		}
	})
	if got := (*proxy.Allowlist)(nil).Targets(); got != nil {
		t.Errorf("%q", got)
	}
}

// invalid are files that must be refused, with the line that the error names.
var invalid = []struct {
	name, file string
	line       int
	says       string
}{
	{"an empty file", "", 1, "no entries"},
	{"comments only", "# nothing\n\n", 2, "no entries"},
	{"no list", "allowlist:\n", 1, "no entries"},
	{"an empty list", "allowlist: []\n", 1, `"allowlist:"`},
	{"null", "allowlist: ~\n", 1, `"allowlist:"`},
	{"the key of old versions", "whitelist:\n- {address: a, port: 1}\n", 1, `"allowlist:"`},
	{"another key", "allowlist:\n- {address: a, port: 1}\nother: 1\n", 3, "entry"},
	{"the key twice", "allowlist:\nallowlist:\n- {address: a, port: 1}\n", 2, "entry"},
	{"a quoted key", "\"allowlist\":\n- {address: a, port: 1}\n", 1, `"allowlist:"`},
	{"an indented key", " allowlist:\n - {address: a, port: 1}\n", 1, `"allowlist:"`},
	{"a list without a key", "- {address: a, port: 1}\n", 1, `"allowlist:"`},
	{"a second document", "allowlist:\n- {address: a, port: 1}\n---\n", 3, "entry"},
	{"two starts", "---\n---\nallowlist:\n- {address: a, port: 1}\n", 2, `"allowlist:"`},
	{"an end of the document", "allowlist:\n- {address: a, port: 1}\n...\n", 3, "entry"},
	{"a directive", "%YAML 1.2\n---\nallowlist:\n- {address: a, port: 1}\n", 1, `"allowlist:"`},
	{"a byte-order mark", "\ufeffallowlist:\n- {address: a, port: 1}\n", 1, "ASCII"},
	{"no address", "allowlist:\n- {port: 1}\n", 2, "without an address"},
	{"no port", "allowlist:\n- {address: a}\n", 2, "without a port"},
	{"no port, and a next entry", "allowlist:\n- address: a\n- address: b\n  port: 1\n", 3, "without a port"},
	{"no port at the end", "allowlist:\n- address: a\n# end\n", 3, "without a port"},
	{"two addresses", "allowlist:\n- {address: a, address: b, port: 1}\n", 2, "second address"},
	{"two ports", "allowlist:\n- address: a\n  port: 1\n  port: 2\n", 4, "second port"},
	{"an unknown key", "allowlist:\n- {address: a, port: 1, name: x}\n", 2, "neither address nor port"},
	{"an unknown key in block style", "allowlist:\n- address: a\n  port: 1\n  tls: no\n", 4, "neither address nor port"},
	{"a quoted key of an entry", "allowlist:\n- {\"address\": a, port: 1}\n", 2, "neither"},
	{"a key beside a flow entry", "allowlist:\n- {address: a, port: 1}\n  port: 2\n", 3, "entry"},
	{"an empty address", "allowlist:\n- {address: , port: 1}\n", 2, "want"},
	{"an empty quoted address", "allowlist:\n- {address: '', port: 1}\n", 2, "neither a host name"},
	{"no space after the colon", "allowlist:\n- {address:a, port: 1}\n", 2, "want"},
	{"no space after the dash", "allowlist:\n-{address: a, port: 1}\n", 2, "entry"},
	{"a dash alone", "allowlist:\n-\n  address: a\n  port: 1\n", 2, "entry"},
	{"a flow entry that is not closed", "allowlist:\n- {address: a, port: 1\n", 2, `"}"`},
	{"a flow entry over two lines", "allowlist:\n- {address: a,\n   port: 1}\n", 2, `"}"`},
	{"text after a flow entry", "allowlist:\n- {address: a, port: 1} x\n", 2, `"}"`},
	{"a trailing comma", "allowlist:\n- {address: a, port: 1,}\n", 2, "want"},
	{"a nested flow entry", "allowlist:\n- {address: {a: b}, port: 1}\n", 2, "neither a host name"},
	{"a flow list", "allowlist: [{address: a, port: 1}]\n", 1, `"allowlist:"`},
	{"a list in the list", "allowlist:\n- - address: a\n", 2, "neither address nor port"},
	{"an entry that is indented otherwise", "allowlist:\n- {address: a, port: 1}\n - {address: b, port: 1}\n", 3, "indented"},
	{"a key that is indented otherwise", "allowlist:\n- address: a\n   port: 1\n", 3, "entry"},
	{"a key at the dash", "allowlist:\n- address: a\nport: 1\n", 3, "entry"},
	{"a tab for indentation", "allowlist:\n- address: a\n\tport: 1\n", 3, "tab"},
	{"a tab at the end", "allowlist:\n- address: a\t\n  port: 1\n", 2, "tab"},
	{"a port of 0", "allowlist:\n- {address: a, port: 0}\n", 2, "port"},
	{"a port of 65536", "allowlist:\n- {address: a, port: 65536}\n", 2, "port"},
	{"a negative port", "allowlist:\n- {address: a, port: -1}\n", 2, "port"},
	{"an octal port", "allowlist:\n- {address: a, port: 0443}\n", 2, "port"},
	{"a hexadecimal port", "allowlist:\n- {address: a, port: 0x1bb}\n", 2, "port"},
	{"a quoted port", "allowlist:\n- {address: a, port: \"443\"}\n", 2, "port"},
	{"a named port", "allowlist:\n- {address: a, port: https}\n", 2, "port"},
	{"a huge port", "allowlist:\n- {address: a, port: 18446744073709552059}\n", 2, "port"},
	{"a wildcard", "allowlist:\n- {address: \"*.amazonaws.com\", port: 443}\n", 2, "neither a host name"},
	{"a URL", "allowlist:\n- address: https://kms.example\n  port: 443\n", 2, "neither a host name"},
	{"an address with a port", "allowlist:\n- {address: kms.example:443, port: 443}\n", 2, "neither a host name"},
	{"an address in brackets", "allowlist:\n- {address: \"[::1]\", port: 443}\n", 2, "neither a host name"},
	{"a number", "allowlist:\n- {address: 2130706433, port: 443}\n", 2, "neither a host name"},
	{"a comma in quotes", "allowlist:\n- {address: \"a, port: 1\"}\n", 2, "neither a host name"},
	{"an escape", "allowlist:\n- {address: \"\\x61\", port: 1}\n", 2, "neither a host name"},
	{"an anchor", "allowlist:\n- {address: &a b, port: 1}\n", 2, "neither a host name"},
	{"a tag", "allowlist:\n- {address: !!str a, port: 1}\n", 2, "neither a host name"},
	{"a block scalar", "allowlist:\n- address: |\n    a\n  port: 1\n", 2, "neither a host name"},
	{"a quote that is not closed", "allowlist:\n- {address: \"a, port: 1}\n", 2, "quote"},
	{"a quote over two lines", "allowlist:\n- address: 'a\n    b'\n  port: 1\n", 2, "quote"},
	{"a comment sign in a word", "allowlist:\n- {address: a#b, port: 1}\n", 2, "neither a host name"},
	{"a letter that is not ASCII", "allowlist:\n- {address: h\u00f6st, port: 1}\n", 2, "ASCII"},
	{"a carriage return in a comment", "allowlist:\n- {address: a, port: 1}\n# x\r- {address: b, port: 1}\n", 3, "control"},
	{"a line separator in a comment", "allowlist:\n- {address: a, port: 1}\n# x\u2028- {address: b, port: 1}\n", 3, "control"},
	{"a NUL", "allowlist:\n- {address: a\x00, port: 1}\n", 2, "control"},
	{"no UTF-8", "allowlist:\n# \xff\n- {address: a, port: 1}\n", 2, "UTF-8"},
	{"too many entries", "allowlist:\n" + strings.Repeat("- {address: a, port: 1}\n", 4097), 4098, "4096 entries"},
	{"too many bytes", "allowlist:\n- {address: a, port: 1}\n" + strings.Repeat("#\n", 128<<10), 1, "larger"},
}

func TestParseAllowlistRefuses(t *testing.T) {
	for _, tt := range invalid {
		list, err := proxy.ParseAllowlist(strings.NewReader(tt.file))
		var e *proxy.AllowlistError
		if list != nil || !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want line %d and %q", tt.name, err, tt.line, tt.says)
		}
	}
	broken := errors.New("broken")
	if list, err := proxy.ParseAllowlist(iotest.ErrReader(broken)); list != nil || !errors.Is(err, broken) {
		t.Error(err)
	}
	if list, err := proxy.NewAllowlist("host"); list != nil || err == nil {
		t.Error("an entry without a port accepted")
	}
	// The limits themselves are taken.
	for _, file := range []string{
		"allowlist:\n" + strings.Repeat("- {address: a, port: 1}\n", 4096),
		"allowlist:\n- {address: a, port: 1}\n#" + strings.Repeat("x", 256<<10-len("allowlist:\n- {address: a, port: 1}\n#")),
	} {
		if list, err := proxy.ParseAllowlist(strings.NewReader(file)); err != nil || !slices.Equal(list.Targets(), []string{"a:1"}) {
			t.Error(err)
		}
	}
}

// Whatever the file, the answer is a list or an *AllowlistError that names a
// line of it; and a list, written in the one style of AWS's file, is read as
// the same one.
func FuzzParseAllowlist(f *testing.F) {
	valid(f, func(_, file string, _ []string) { f.Add(file) })
	for _, tt := range invalid {
		if len(tt.file) < 4096 {
			f.Add(tt.file)
		}
	}
	f.Fuzz(func(t *testing.T, file string) {
		list, err := proxy.ParseAllowlist(strings.NewReader(file))
		if err != nil {
			var e *proxy.AllowlistError
			if list != nil || !errors.As(err, &e) || e.Line < 1 || e.Line > strings.Count(file, "\n")+1 {
				t.Fatalf("%v, %v", list, err)
			}
			return
		}
		targets := list.Targets()
		if len(targets) == 0 || len(targets) > strings.Count(file, "address: ") {
			t.Fatalf("%d entries", len(targets))
		}
		var b strings.Builder
		b.WriteString("allowlist:\n")
		for _, target := range targets {
			i := strings.LastIndexByte(target, ':')
			b.WriteString("- {address: " + strings.Trim(target[:i], "[]") + ", port: " + target[i+1:] + "}\n")
		}
		again, err := proxy.ParseAllowlist(strings.NewReader(b.String()))
		if err != nil || !slices.Equal(again.Targets(), targets) {
			t.Fatalf("%q was read as %q, %v", b.String(), again.Targets(), err)
		}
	})
}
