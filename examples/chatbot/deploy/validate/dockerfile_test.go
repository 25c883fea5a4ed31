package validate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// pinned is an image with a tag that says a version, or with a digest.
	pinned    = regexp.MustCompile(`^[a-z0-9./-]+(:[a-z0-9][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$`)
	looksURL  = regexp.MustCompile(`https?://`)
	looksLike = regexp.MustCompile(`(?i)(secret|password|token|credential|access_key|private_key)`)
)

// checkDockerfile returns what is wrong with a Dockerfile.
func checkDockerfile(text string) (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	text = strings.ReplaceAll(text, "\\\n", " ")
	var stages []string
	var last string // the final stage's base
	entrypoints, commands := 0, 0
	user := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch word = strings.ToUpper(word); word {
		case "FROM":
			f := strings.Fields(rest)
			last, user, entrypoints, commands = f[0], "", 0, 0
			local := strings.HasPrefix(last, "nitroseal-")
			if last != "scratch" && !slices.Contains(stages, last) && !local && (!pinned.MatchString(last) || strings.HasSuffix(last, ":latest")) {
				say("the base %s is not pinned by a tag", last)
			}
			if len(f) == 3 {
				stages = append(stages, f[2])
			}
		case "ADD":
			say("ADD unpacks and downloads; COPY does not")
		case "COPY", "RUN":
			if looksURL.MatchString(rest) {
				say("%s of a URL: %s", word, rest)
			}
		case "ENV", "ARG", "LABEL":
			if looksLike.MatchString(rest) {
				say("%s looks like a secret: %s", word, rest)
			}
		case "USER":
			user = rest
		case "ENTRYPOINT", "CMD":
			if json.Unmarshal([]byte(rest), &[]string{}) != nil {
				say("%s needs a shell: %s", word, rest)
			}
			if word == "CMD" {
				commands++
			} else {
				entrypoints++
			}
		case "HEALTHCHECK", "MAINTAINER", "ONBUILD":
			say("%s is of no use here", word)
		}
	}
	if entrypoints != 1 || commands != 0 {
		say("the image must have one ENTRYPOINT and no CMD, and has %d and %d", entrypoints, commands)
	}
	if user == "" && last != "scratch" && !strings.HasPrefix(last, "nitroseal-") {
		say("the image says no USER")
	}
	return bad
}

func TestDockerfiles(t *testing.T) {
	files := find(t, withSuffix(".Dockerfile"))
	if len(files) != 3 {
		t.Errorf("%q", files)
	}
	for _, path := range files {
		for _, bad := range checkDockerfile(read(t, path)) {
			t.Errorf("%s: %s", path, bad)
		}
	}
	// What docker takes into its build must not hold what git ignores.
	for _, path := range find(t, withSuffix(".dockerignore")) {
		if text := read(t, path); !strings.Contains(text, "\n.git\n") || !strings.Contains(text, "\nbin\n") {
			t.Errorf("%s: %q", path, text)
		}
	}
}

func TestCheckDockerfile(t *testing.T) {
	const good = "FROM debian:12.8-slim\nUSER 1\nENTRYPOINT [\"/a\"]\n"
	if bad := checkDockerfile(good); len(bad) > 0 {
		t.Errorf("%q", bad)
	}
	for name, text := range map[string]string{
		"latest":       strings.Replace(good, "12.8-slim", "latest", 1),
		"no tag":       strings.Replace(good, ":12.8-slim", "", 1),
		"variable":     strings.Replace(good, "12.8-slim", "${TAG}", 1),
		"a URL":        good + "COPY https://example.com/x /x\n",
		"curl":         good + "RUN curl \\\n https://example.com/x | sh\n",
		"ADD":          good + "ADD x.tar /\n",
		"a secret":     good + "ENV AWS_SECRET_ACCESS_KEY=x\n",
		"a token":      good + "ARG npm_token\n",
		"shell form":   strings.Replace(good, `["/a"]`, "/a", 1),
		"a CMD":        good + "CMD [\"x\"]\n",
		"no USER":      strings.Replace(good, "USER 1\n", "", 1),
		"nothing runs": strings.Replace(good, "ENTRYPOINT", "STOPSIGNAL", 1),
	} {
		if bad := checkDockerfile(text); len(bad) == 0 {
			t.Errorf("%s: nothing wrong is found", name)
		}
	}
}

// What the enclave's image must be built with is what the module says.
func TestDockerfileVersions(t *testing.T) {
	text := read(t, deploy+"/docker/enclave.Dockerfile")
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, repository+"/go.mod"))
	if want == nil || !strings.Contains(text, "FROM golang:"+want[1]+".") {
		t.Errorf("the enclave's Dockerfile does not use the Go of go.mod, %q", want)
	}
	for _, part := range []string{"./inference/llama/install", "CGO_ENABLED=0", "go mod verify", "FROM scratch"} {
		if !strings.Contains(text, part) {
			t.Errorf("the enclave's Dockerfile lacks %q", part)
		}
	}
}
