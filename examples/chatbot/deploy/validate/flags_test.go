package validate

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	flagWord  = regexp.MustCompile(`(?:^|[\s"])-([a-z][a-z0-9-]*)`)
	shellText = regexp.MustCompile("(?s)```sh\n(.*?)```")
	nextWord  = regexp.MustCompile(`^[a-z]+$`)
)

// The program takes the flags with which the files of this folder, and the
// commands of the documents, call it.
func TestFlags(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "chatbot")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./examples/chatbot")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	helps := map[string]string{}
	check := func(where, command, text string) {
		t.Helper()
		help, known := helps[command]
		if !known {
			out, err := output(t, binary, append(strings.Fields(command), "-h")...)
			if err != nil {
				t.Errorf("%s: there is no chatbot %s", where, command)
			}
			help, helps[command] = out, out
		}
		for _, m := range flagWord.FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`(?m)^ +-` + m[1] + `( |$)`).MatchString(help) {
				t.Errorf("%s: chatbot %s has no flag -%s", where, command, m[1])
			}
		}
	}
	nitro := read(t, deploy+"/nitro.sh")
	for where, tt := range map[string]struct{ command, pattern, text string }{
		"unit":       {"parent", `(?m)^ExecStart=.*$`, read(t, deploy+"/systemd/nitroseal-parent.service")},
		"pod":        {"parent", `(?s)args:\n.*?envFrom`, read(t, deploy+"/k8s/base/deployment.yaml")},
		"image":      {"enclave", `(?s)entry=\$\(json_list.*?\n\t\t.*?\n`, nitro},
		"policy":     {"policy emit", `policy emit .*`, nitro},
		"key policy": {"policy key", `policy key (.*\n){2}`, nitro},
	} {
		text := regexp.MustCompile(tt.pattern).FindString(tt.text)
		if len(flagWord.FindAllString(text, -1)) < 2 {
			t.Errorf("%s: no flags in %q", where, text)
		}
		check(where, tt.command, text)
	}
	commands := documentedCommands(t)
	if len(commands) < 12 {
		t.Errorf("the documents have %d commands", len(commands))
	}
	for _, c := range commands {
		check("documents: "+c[1], c[0], c[1])
	}
}

// documentedCommands are the calls of the program in the documents: the command,
// and the rest of the line.
func documentedCommands(t *testing.T) (all [][2]string) {
	t.Helper()
	for _, file := range []string{operations, capacity} {
		for _, block := range shellText.FindAllStringSubmatch(read(t, file), -1) {
			text := strings.ReplaceAll(block[1], "\\\n", " ")
			for _, call := range regexp.MustCompile(`[\n|]`).Split(text, -1) {
				words := strings.Fields(regexp.MustCompile(`#.*`).ReplaceAllString(call, ""))
				switch {
				case len(words) > 1 && words[0] == "./nitro.sh" && words[1] == "build":
					all = append(all, [2]string{"enclave", strings.Join(words[2:], " ")})
				case len(words) > 1 && filepath.Base(words[0]) == "chatbot":
					if i := slices.Index(words, "--"); i > 0 {
						all = append(all, [2]string{"enclave", strings.Join(words[i+1:], " ")})
						words = words[:i]
					}
					name, rest := words[1], words[2:]
					if slices.Contains([]string{"policy", "eif", "model"}, name) && nextWord.MatchString(rest[0]) {
						name, rest = name+" "+rest[0], rest[1:]
					}
					all = append(all, [2]string{name, strings.Join(rest, " ")})
				}
			}
		}
	}
	return all
}
