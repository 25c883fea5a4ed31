package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// page is the manual page of one command or group.
type page struct {
	path  string // such as "model fetch"; "" is the program
	about string
	flags *flag.FlagSet // of a command
	subs  []command     // of a group
}

// write writes the page. All sections are always there, so that a reader, or a
// program that looks for one, need not wonder whether there is something.
func (p page) write(w io.Writer) error {
	m := manuals[p.path]
	t := &text{}
	t.section("NAME")
	t.prose(4, join("chatbot", p.path)+" - "+m.summary)
	t.section("SYNOPSIS")
	t.hanging(4, 12, p.synopsis(m))
	t.section("DESCRIPTION")
	t.prose(4, p.about)
	if p.flags == nil {
		t.section("COMMANDS")
		t.entries(summaries(p.path, p.subs), "")
		t.line(0, "")
		t.prose(4, fmt.Sprintf("%q shows the manual page of each.", join("chatbot", p.path)+" COMMAND -h"))
	} else {
		t.section("FLAGS")
		t.flags(p.flags)
	}
	t.section("FILES")
	t.entries(m.files, "None but those that flags and arguments name.")
	t.section("ENVIRONMENT")
	t.entries(m.env, "None.")
	t.section("EXIT STATUS")
	t.entries(m.exits(), "")
	t.section("EXAMPLES")
	for i, e := range m.examples {
		if i > 0 {
			t.line(0, "")
		}
		t.prose(4, e.about)
		t.line(0, "")
		for l := range strings.SplitSeq(e.call, "\n") {
			t.line(8, l)
		}
	}
	t.section("SEE ALSO")
	var others []string
	for _, name := range m.seeAlso {
		others = append(others, "chatbot "+name)
	}
	t.prose(4, strings.Join(others, ", "))
	_, err := io.WriteString(w, t.String())
	return err
}

// synopsis is how to call the command: required flags, other flags, operands.
func (p page) synopsis(m manual) []string {
	words := strings.Fields(join("chatbot", p.path))
	if p.flags == nil {
		return append(words, "COMMAND", "[flags]")
	}
	others := false
	p.flags.VisitAll(func(f *flag.Flag) {
		if name, usage := placeholder(f); required(usage) {
			words = append(words, strings.TrimSpace("-"+f.Name+" "+name))
		} else {
			others = true
		}
	})
	if others {
		words = append(words, "[flags]")
	}
	return append(words, strings.Fields(m.operands)...)
}

// required tells by its description whether a flag must be given.
func required(usage string) bool {
	return strings.HasSuffix(usage, "(required)") || strings.HasSuffix(usage, "(required, repeatable)")
}

// placeholder is what stands for the value of a flag, empty for one that takes
// none, and its description.
func placeholder(f *flag.Flag) (name, usage string) {
	name, usage = flag.UnquoteUsage(f)
	if !strings.Contains(name, "|") { // words to choose from are as they are
		name = strings.ToUpper(name)
	}
	return name, usage
}

// flagGroups are headings for commands that have many flags. What is in none
// of them comes first, without a heading.
var flagGroups = []struct {
	title string
	names []string
}{
	{"Question and answer", []string{"q", "timeout", "max-tokens", "temperature", "top-k", "top-p", "min-p", "seed", "stop",
		"system", "single", "keep-case", "json", "no-color"}},
	{"The enclave that is trusted", []string{"policy", "roots", "simulated-roots", "measurements", "pcr", "parent-role", "parent-instance",
		"expect-model", "allow-debug", "at", "nonce", "max-age", "module-id"}},
	{"Receipts", []string{"receipt", "question", "answer"}},
	{"Network", []string{"listen", "admin-listen", "plain-listen", "parent", "enclave", "egress", "egress-allowlist", "offer", "trusted-proxy", "tls-cert", "tls-key",
		"serve", "serve-token", "serve-origin"}},
	{"Limits", []string{"rate", "burst", "max-concurrent", "max-concurrent-per-client", "max-request", "drain", "rotate-keys"}},
	{"AWS KMS", []string{"region", "key-arn", "kms-endpoint", "kms-ca", "credentials"}},
	{"The model", []string{"model", "model-digest", "lowercase", "llama-lib", "threads", "sequences", "context",
		"sealed-model", "sealed-model-key-arn", "sealed-model-credentials", "sealed-model-timeout"}},
	{"The image", []string{"arch", "kernel", "cmdline", "ramdisk", "modules", "module", "program", "lib-dir", "file", "name", "version", "signing-key", "signing-cert"}},
	{"The key policy", []string{"key-policy", "mode", "admin", "client", "enclave-role", "encryption-context"}},
	{"The parent", []string{"parent-cid", "cpus", "more-memory"}},
	{"What protects less", []string{"send-credentials", "take-credentials", "without-kms", "retry-elsewhere", "insecure-blog-mode", "blog-key-arn"}},
	{"Development", []string{"simulate-nsm", "simulate-pcrs", "supervised", "break-pcr", "keep", "enclaves"}},
}

// manyFlags is how many flags a command has before it gets headings.
const manyFlags = 10

// flags writes all flags of a set, by groups where there are many.
func (t *text) flags(fs *flag.FlagSet) {
	var all []*flag.Flag
	fs.VisitAll(func(f *flag.Flag) { all = append(all, f) })
	switch {
	case len(all) == 0:
		t.prose(4, "None.")
		return
	case len(all) < manyFlags:
		t.flagList(all)
		return
	}
	ungrouped := slices.Clone(all)
	var titles []string
	groups := map[string][]*flag.Flag{}
	for _, g := range flagGroups {
		for _, f := range all {
			if slices.Contains(g.names, f.Name) {
				groups[g.title] = append(groups[g.title], f)
				ungrouped = slices.DeleteFunc(ungrouped, func(u *flag.Flag) bool { return u == f })
			}
		}
		if groups[g.title] != nil {
			titles = append(titles, g.title)
		}
	}
	t.flagList(ungrouped)
	for i, title := range titles {
		if i > 0 || len(ungrouped) > 0 {
			t.line(0, "")
		}
		t.line(2, title)
		t.flagList(groups[title])
	}
}

func (t *text) flagList(list []*flag.Flag) {
	for _, f := range list {
		name, usage := placeholder(f)
		t.line(4, strings.TrimSpace("-"+f.Name+" "+name))
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
			usage += fmt.Sprintf(" (default %s)", strings.ReplaceAll(fmt.Sprintf("%q", f.DefValue), `"`, ""))
		}
		t.prose(8, usage)
	}
}
