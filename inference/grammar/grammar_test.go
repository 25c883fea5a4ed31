package grammar_test

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference/grammar"
)

// gbnfCases are grammars with texts that match them and texts that do not.
var gbnfCases = []struct {
	name, gbnf string
	good, bad  []string
}{
	{"literal", `root ::= "ab\n\"\\\[\]\x41\u00e9\U0001F600"`, []string{"ab\n\"\\[]Aé😀"}, []string{"", "ab", "ab\n\"\\[]Aé😀x"}},
	{"empty", `root ::= ""`, []string{""}, []string{"a"}},
	{"no text at all", "root ::=", []string{""}, []string{"a"}},
	{"sets", `root ::= [a-cx-] [^a-c\n] .`, []string{"adz", "-é\n", "xx\U0010FFFF"}, []string{"dd", "aaz", "a\nz", "ad", "ad\x00"}},
	{"quantifiers", `root ::= "a"* "b"+ "c"? [d]{2} [e]{1,} "f"{0,2} "g"{0}`, []string{"bdde", "aabbcddeeff"}, []string{"adde", "bde", "bddfff", "bddefff", "bddeg"}},
	{"alternatives", "root ::= \"a\" | \"b\" |\n \"c\" | ", []string{"a", "b", "c", ""}, []string{"ab"}},
	{"rules, comments, line ends", "# x\r\nroot ::= two two # y\r\n\r\ntwo ::= (\n \"a\" # z\n | \"b\"\n) \r\n", []string{"ab", "bb"}, []string{"a", "abb"}},
	{"ambiguous but regular", `root ::= ([a-c]* [b-d]*)* ("a" | "a" | "ab")* "b"?`, []string{"", "abcd", "dcba"}, []string{"e"}},
	{"nested stars", `root ::= (("a"*)*)+ "b"`, []string{"b", "aaab"}, []string{"", "a"}},
	{"many stars", "root ::= " + strings.Repeat("[a-z ]* ", 50) + `"!"`, []string{"!", "a b!"}, []string{"a", "A!"}},
	{"right recursion", "root ::= \"a\" ws \"b\"\nws ::= | \" \" ws", []string{"ab", "a   b"}, []string{"a b ", "a"}},
	{"right recursion through others", "root ::= \"a\" more\nmore ::= \",\" root | end\nend ::= \".\"", []string{"a.", "a,a,a."}, []string{"a", "a,."}},
	{"parentheses", `root ::= "(" root ")" | "x"`, []string{"x", "((x))"}, []string{"", "(x", "x)", "((x)))"}},
	{"parentheses in a row", `root ::= ("(" root ")")*`, []string{"", "()", "(()())()"}, []string{"(", "())", ")("}},
	{"arithmetic", `root ::= expr "="
expr ::= term ([-+] term)*
term ::= num | id | call | "(" ws expr ")" ws
call ::= id "(" (expr ("," expr)*)? ")" ws
num ::= [0-9]+ ws
id ::= [a-z] [a-z0-9]* ws
ws ::= [ \t\n]*`, []string{"1=", "a1 +(b-2 )-f(x,3)=", "f()="}, []string{"", "1", "a+=", "f(,)=", "(1="}},
	{"a nullable rule that is called", "root ::= a \"x\" a \"y\"\na ::= (\"(\" a \")\")?", []string{"xy", "(())x()y"}, []string{"(xy", "x"}},
	{"unreachable rule", "root ::= \"a\"\nother ::= \"b\"", []string{"a"}, []string{"b"}},
	{"surrogates and NUL as limits of a set", `root ::= [^\x00-\x1F\uD800-\uDFFF"]`, []string{"a", "\uFFFD"}, []string{"\"", "\x01", "\xed\xa0\x80"}},
}

func TestParse(t *testing.T) {
	for _, c := range gbnfCases {
		t.Run(c.name, func(t *testing.T) {
			g, err := grammar.Parse(c.gbnf)
			if err != nil {
				t.Fatal(err)
			}
			checkMatches(t, g, c.good, c.bad)
			checkCanonical(t, g)
		})
	}
}

func checkMatches(t *testing.T, g *grammar.Grammar, good, bad []string) {
	t.Helper()
	for _, s := range good {
		if !g.Match(s) {
			t.Errorf("%q does not match\n%.2000s", s, g)
		}
	}
	for _, s := range bad {
		if g.Match(s) {
			t.Errorf("%q matches\n%.2000s", s, g)
		}
	}
}

// checkCanonical checks that the text of g means what g does.
func checkCanonical(t *testing.T, g *grammar.Grammar) {
	t.Helper()
	again, err := grammar.Reparse(g.String())
	if err != nil {
		t.Fatalf("the canonical text is refused: %v\n%.2000s", err, g)
	}
	if again.String() != g.String() {
		t.Errorf("the canonical text is not kept:\n%.2000s\nbecomes\n%.2000s", g, again)
	}
	if !isASCII(g.String()) {
		t.Errorf("the canonical text is not plain ASCII:\n%.2000s", g)
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] != '\n' && (s[i] < ' ' || s[i] > '~') {
			return false
		}
	}
	return true
}

// TestParseGrammarFiles parses grammars as people write them, and follows
// answers that they let through.
func TestParseGrammarFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.gbnf")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d grammars in testdata: %v", len(files), err)
	}
	rng := rand.New(rand.NewSource(1))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		g, err := grammar.Parse(string(text))
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		checkCanonical(t, g)
		for range 50 {
			if s := g.Sample(rng, 100); !g.Match(s) {
				t.Errorf("%s: %q is let through but does not match", f, s)
			} else {
				checkCut(t, g, s)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		gbnf, reason string
		line, col    int
	}{
		{"", "no rule named root", 0, 0},
		{"a ::= \"a\"", "no rule named root", 0, 0},
		{"a ::= \"a\" root{0}", "no rule named root", 0, 0},
		{"root ::= a", "used but not defined", 1, 10},
		{"root ::= \"a\"\nroot ::= \"b\"", "defined already", 2, 1},
		{"root ::= root \"a\" | \"b\"", "left recursion", 1, 1},
		{"root ::= \"x\" | a\na ::= b root \"y\"\nb ::= \"z\"?", "left recursion", 1, 1},
		{"root ::= \"x\"\na ::= b | \"y\"\nb ::= a", "left recursion", 2, 1},
		{"root ::= (root?)* \"a\"", "left recursion", 1, 1},
		{"root ::= \"a\" root", "never end", 1, 1},
		{"root ::= \"a\"\nb ::= \"b\" c\nc ::= \"c\" b", "never end", 2, 1},
		{"root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"\"", "ambiguous", 1, 1},
		{"root ::= e\ne ::= \"(\" e \")\" | \"(\" f \"]\" | \"x\"\nf ::= \"(\" f \")\" | \"y\"", "ambiguous", 2, 1},
		{"root ::= \"a\" e\ne ::= \"(\" e \")\"? | \"x\"", "ambiguous", 2, 1},
		{"root ::= \"a", "missing", 1, 12},
		{"root ::= [a", "missing", 1, 12},
		{"root ::= [a-", "missing", 1, 13},
		{"root ::= []", "no characters", 1, 10},
		{"root ::= [^\\x00-\\U0010FFFF]", "no characters", 1, 10},
		{"root ::= [\\x00]", "no characters", 1, 10},
		{"root ::= [z-a]", "ends before it begins", 1, 14},
		{`root ::= "\q"`, "not known", 1, 11},
		{`root ::= "\`, "not known", 1, 11},
		{`root ::= "\x4`, "hexadecimal", 1, 14},
		{`root ::= "\xg0"`, "hexadecimal", 1, 13},
		{`root ::= "\x00"`, "no character", 1, 11},
		{`root ::= "\uD800"`, "no character", 1, 11},
		{`root ::= "\U00110000"`, "no character", 1, 11},
		{`root ::= "\UFFFFFFFF"`, "no character", 1, 11},
		{"root ::= *", "nothing to repeat", 1, 10},
		{"root ::= \"a\" | +", "nothing to repeat", 1, 16},
		{"root ::= \"a\"{2,1}", "ends before it begins", 1, 17},
		{"root ::= \"a\"{2000}", "above the limit", 1, 17},
		{"root ::= \"a\"{99999999999999999999}", "above the limit", 1, 17},
		{"root ::= \"a\"{,2}", "number is missing", 1, 14},
		{"root ::= \"a\"{1;2}", "} is missing", 1, 15},
		{"root ::= (\"a\"", ") is missing", 1, 14},
		{"root ::= \"a\")", "neither an element", 1, 13},
		{"root = \"a\"", "::= is missing", 1, 6},
		{"::= \"a\"", "name is missing", 1, 1},
		{"root ::= \"a\"\x00", "NUL", 1, 1},
		{"root ::= \"\xff\"", "UTF-8", 1, 1},
		{"root ::= <think>", "tokens", 1, 10},
		{"root ::= !<[1]>", "tokens", 1, 10},
		{"root ::= a_b\na ::= \"a\"", "neither an element", 1, 11},
	} {
		g, err := grammar.Parse(c.gbnf)
		var syntax *grammar.SyntaxError
		if g != nil || !errors.Is(err, grammar.ErrInvalid) || !errors.As(err, &syntax) {
			t.Errorf("%q: %v, %v", c.gbnf, g, err)
			continue
		}
		if !strings.Contains(syntax.Reason, c.reason) || syntax.Line != c.line || syntax.Column != c.col {
			t.Errorf("%q: %v, want %d:%d %s", c.gbnf, err, c.line, c.col, c.reason)
		}
	}
}

// TestHostile parses grammars that keep a parser busy, or libllama: each must
// be refused or be made harmless, soon.
func TestHostile(t *testing.T) {
	rules := func(n int, format, last string) string {
		var b strings.Builder
		b.WriteString("root ::= r0\n")
		for i := range n {
			b.WriteString(strings.NewReplacer("I", fmt.Sprint(i), "J", fmt.Sprint(i+1)).Replace(format) + "\n")
		}
		return b.String() + fmt.Sprintf("r%d ::= %s\n", n, last)
	}
	for name, gbnf := range map[string]string{
		"deep":                    "root ::= " + strings.Repeat("(", 30000) + `"a"` + strings.Repeat(")", 30000),
		"deep but allowed":        "root ::= " + strings.Repeat("(", 64) + `"a"` + strings.Repeat(")*", 64),
		"doubling":                rules(60, `rI ::= rJ rJ`, `"a"`),
		"doubling, nullable":      rules(60, `rI ::= "" | rJ rJ`, `"a"`),
		"doubling, called":        rules(60, `rI ::= "(" rJ ")" rJ "."`, `"a"`),
		"chain":                   rules(2000, `rI ::= rJ "x"`, `"a"`),
		"chain of tails":          rules(2000, `rI ::= "x" rJ | "y"`, `"a"`),
		"backward chain of tails": rules(2000, `rI ::= rJ | "y"`, `"a"`),
		"clashing chain":          rules(500, `rI ::= rJ "x" | rJ "y"`, `"a"`),
		"nullable chain":          rules(2000, `rI ::= rJ?`, `"a"`),
		"repeated repetition":     `root ::= (("a"{1999}){1999}){1999}`,
		"large repetition":        `root ::= .{0,1999} .{0,1999} .{0,1999} "a"`,
		"exponential subsets":     `root ::= [ab]* "a" [ab]{30}`,
		"many exponential":        `root ::= ([ab]* "a" [ab]{10} | [bc]* "b" [bc]{10} | [cd]* "c" [cd]{10})* "x"`,
		"long literals":           "root ::= " + strings.Repeat(`"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"* `, 900),
		"large sets":              "root ::= " + strings.Repeat(`[acegikmoqsuwy]? `, 3000),
		"wide sets":               "root ::= [" + strings.Repeat(`aĀꙀ`, 10000) + "]*",
		"many alternatives":       "root ::= " + strings.Repeat(`"a" | `, 10000) + `"b"`,
		"crossing sets":           "root ::= " + crossing(2500) + `"!"`,
		"comments":                "root ::= \"a\"" + strings.Repeat("\n#", 32000),
		"many rules":              strings.Repeat("a", 60000),
		"follows":                 rules(400, `rI ::= "[" rJ "]" rJ?`, `"a"`),
		"quadratic recursion":     rules(300, `rI ::= "a" r0 "b" | "c" rJ "d" | "e"`, `"f"`),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			g, err := grammar.Parse(gbnf[:min(len(gbnf), grammar.MaxBytes)])
			took := time.Since(start)
			t.Logf("%d bytes: %v, %v", len(gbnf), took, err)
			if took > time.Minute {
				t.Errorf("took %v", took)
			}
			if err != nil {
				if !errors.Is(err, grammar.ErrInvalid) {
					t.Errorf("%v is not ErrInvalid", err)
				}
				return
			}
			states, choices := g.Size()
			t.Logf("%d states, %d choices, %d bytes", states, choices, len(g.String()))
			if states > grammar.MaxStates || choices > grammar.MaxChoices || len(g.String()) > 2*grammar.MaxText {
				t.Errorf("%d states, %d choices, %d bytes", states, choices, len(g.String()))
			}
			checkCanonical(t, g)
		})
	}
}

func crossing(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[%c-%c]* ", rune(0x4000+i), rune(0x4000+2*n-i))
	}
	return b.String()
}

func TestState(t *testing.T) {
	g, err := grammar.Parse(`root ::= "é" [א-ת]* "😀"+`)
	if err != nil {
		t.Fatal(err)
	}
	s := g.Start()
	for i, b := range []byte("éא😀😀") {
		if s.Done() && i < 8 {
			t.Errorf("done before byte %d", i)
		}
		var ok bool
		if s, ok = s.Next(string([]byte{b})); !ok {
			t.Fatalf("stuck at byte %d", i)
		}
	}
	if !s.Done() {
		t.Error("not done at the end")
	}
	for _, text := range []string{"\xc4", "\xe2", "e", "\xff", "\x80", "\xc3\x28", "é\xf0\x9f\x99", "é\xe0", "é\xf4"} {
		if _, ok := g.Start().Next(text); ok {
			t.Errorf("%q goes on", text)
		}
	}
	if cut, ok := g.Start().Next("é😀\xf0\x9f"); !ok || cut.Done() {
		t.Error("a cut character does not go on, or is an end")
	}
	var zero grammar.State
	if _, ok := zero.Next(""); ok || zero.Done() {
		t.Error("the zero State goes on")
	}
	if (&grammar.Grammar{}).Match("") {
		t.Error("the zero Grammar matches")
	}
}
