package nitroseal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// question is asked where README.md leaves it open, and answered by answerPart.
const (
	question   = "what is my deductible?"
	answerPart = "$1,500"
)

// A reader is somebody with a fresh copy of the repository who types what
// README.md says.
type reader struct {
	readme
	dir string   // the copy
	env []string // with an empty cache folder, in which no libllama is
}

// TestReadmeRuns types every command of README.md's sh blocks, in order, in a
// copy of the repository, and compares what is printed with what README.md
// shows. It needs the network, as a reader does. What it leaves out it says.
func TestReadmeRuns(t *testing.T) {
	if os.Getenv("NITROSEAL_README") == "" {
		t.Skip("NOT RUN: the commands of README.md. NITROSEAL_README=1 runs them; it takes a minute and the network")
	}
	if runtime.GOOS != "linux" {
		t.Skip("NOT RUN: the commands of README.md, which are for Linux")
	}
	r := newReader(t)
	special := map[string]func(*testing.T, string){
		"make demo":              r.demo,
		"make chat":              r.chat,
		"make serve":             r.serve,
		"bin/chatbot demo -keep": r.keep,
		"make test":              func(t *testing.T, _ string) { t.Skip("NOT RUN: it would run itself; CI has a step for it") },
		"make vm-demo":           func(t *testing.T, _ string) { t.Skip("NOT RUN: CI has a step for it") },
	}
	nitro := regexp.MustCompile(`^chatbot (parent|enclave|client) `)
	commands := r.scripts()
	for name := range special {
		if !slices.Contains(commands, name) {
			t.Errorf("README.md has no command %q any more", name)
		}
	}
	for _, command := range commands {
		t.Run(command, func(t *testing.T) {
			switch run, ok := special[command]; {
			case ok:
				run(t, command)
			case nitro.MatchString(command):
				t.Skip("NOT RUN: it needs an instance with Nitro Enclaves and an AWS account. Its flags are checked by TestReadmeCommands")
			case strings.HasPrefix(command, "aws "):
				r.aws(t, command)
			default:
				r.run(t, command)
			}
		})
	}
	for _, m := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(r.sample(t, "$ bin/chatbot"), -1) {
		t.Run(m[1], func(t *testing.T) {
			compareSample(t, r.sample(t, m[0]), m[0]+"\n"+r.run(t, m[1]))
		})
	}
}

// newReader copies the files that git knows or would take into a new folder.
func newReader(t *testing.T) *reader {
	t.Helper()
	tmp := t.TempDir()
	r := &reader{readme: readReadme(t), dir: filepath.Join(tmp, "nitroseal")}
	files, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	tar := exec.Command("bash", "-c", `mkdir "$0" && tar -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$0"`, r.dir)
	tar.Stdin = bytes.NewReader(files)
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("copying: %v: %s", err, out)
	}
	// The names that README.md's commands for AWS leave to the reader.
	image, err := os.ReadFile("attest/eif/testdata/eif-unsigned.eif")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "chatbot.eif"), image, 0o600); err != nil {
		t.Fatal(err)
	}
	r.env = append(os.Environ(),
		"XDG_CACHE_HOME="+filepath.Join(tmp, "cache"), "GOCACHE="+strings.TrimSpace(goOutput(t, nil, "env", "GOCACHE")),
		"PATH="+filepath.Join(r.dir, "bin")+":"+os.Getenv("PATH"),
		"ADMIN_ROLE=arn:aws:iam::111122223333:role/developer", "CLIENT_ROLE=arn:aws:iam::111122223333:role/client",
		"PYTHONPATH="+filepath.Join(tmp, "python"))
	return r
}

// command returns a shell that runs line in the copy, in a process group of its
// own, which is killed after a time that is too long for every command.
func (r *reader) command(t *testing.T, line string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = r.dir, r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs line to its end and returns what it prints, to both.
func (r *reader) run(t *testing.T, line string) string {
	t.Helper()
	out, err := r.command(t, line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// serveUntil starts line, calls use once line has printed what mark matches, and
// then interrupts it as Ctrl-C does. It must then end with status 0; make and
// "go run" have statuses of their own for that.
func (r *reader) serveUntil(t *testing.T, line string, mark *regexp.Regexp, use func(printed string)) {
	t.Helper()
	cmd := r.command(t, line)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	printed, buf := "", make([]byte, 4096)
	for !mark.MatchString(printed) {
		n, err := read.Read(buf)
		printed += string(buf[:n])
		if err != nil {
			break
		}
	}
	if mark.MatchString(printed) {
		use(printed)
	} else {
		t.Errorf("%s ended without %s:\n%s", line, mark, printed)
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	rest, _ := io.ReadAll(read)
	if err := cmd.Wait(); err != nil && !regexp.MustCompile(`^(make|go run) `).MatchString(line) {
		t.Errorf("%s, interrupted: %v\n%s%s", line, err, printed, rest)
	}
}

func (r *reader) demo(t *testing.T, line string) {
	compareSample(t, r.sample(t, "libllama is not installed yet"), r.run(t, line))
}

func (r *reader) chat(t *testing.T, line string) {
	if out := r.run(t, "echo '"+question+"' | "+line); !strings.Contains(out, answerPart) {
		t.Errorf("%s does not answer %q:\n%s", line, question, out)
	}
}

// keep asks the parent's own address of the line of JSON.
func (r *reader) keep(t *testing.T, line string) {
	r.serveUntil(t, line, regexp.MustCompile(`(?m)^\{.*\}$`), func(printed string) {
		var told struct {
			Parent string `json:"parent_url"`
		}
		if err := json.Unmarshal(regexp.MustCompile(`(?m)^\{.*\}$`).Find([]byte(printed)), &told); err != nil {
			t.Error(err)
		}
		if body := get(t, told.Parent+"/healthz"); body == "" {
			t.Errorf("%s: the parent says nothing", told.Parent)
		}
	})
}

// serve looks at the page where README.md says that it is, and then runs the
// Python block.
func (r *reader) serve(t *testing.T, line string) {
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(r.prose)
	r.serveUntil(t, line, regexp.MustCompile(`End with Ctrl-C`), func(printed string) {
		if !strings.Contains(printed, address+"\n") {
			t.Errorf("%s does not serve on %s, as README.md says:\n%s", line, address, printed)
			return
		}
		if page := get(t, address); !strings.Contains(page, "<html") {
			t.Errorf("%s is no page: %.200s", address, page)
		}
		r.python(t)
	})
}

// python runs the Python blocks, with the openai module if there is one.
func (r *reader) python(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Log("NOT RUN: the Python of README.md, as python3 is not installed")
		return
	}
	if err := r.command(t, "python3 -c 'import openai'").Run(); err != nil {
		t.Log("the module openai is not installed: a stand-in sends the same requests")
		folder := filepath.Join(filepath.Dir(r.dir), "python")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "openai.py"), []byte(standIn), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	for _, b := range r.blocks {
		if b.language == "python" {
			ran++
			if out := r.run(t, "python3 - <<'END'\n"+b.text+"END"); !strings.Contains(out, answerPart) {
				t.Errorf("the Python of README.md prints\n%s", out)
			}
		}
	}
	if ran == 0 {
		t.Error("README.md has no Python any more")
	}
}

// standIn is as much of the module openai as README.md uses.
const standIn = `
import json, types, urllib.request
class OpenAI:
    def __init__(self, base_url, api_key):
        def ask(path, body=None):
            request = urllib.request.Request(base_url + path, body and json.dumps(body).encode(),
                {"Authorization": "Bearer " + api_key, "Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                return json.load(answer, object_hook=lambda d: types.SimpleNamespace(**d))
        self.models = types.SimpleNamespace(list=lambda: ask("/models"))
        create = lambda **body: ask("/chat/completions", body)
        self.chat = types.SimpleNamespace(completions=types.SimpleNamespace(create=create))
`

// aws runs a call of the AWS CLI with the local KMS that README.md names, which
// has a key with the policy that an earlier command made.
func (r *reader) aws(t *testing.T, line string) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("NOT RUN: the AWS CLI is not installed")
	}
	i := slices.IndexFunc(r.inline(), func(s string) bool { return strings.HasPrefix(s, "go run ./envelope/kmstest/localkms ") })
	if i < 0 {
		t.Fatal("README.md has no local KMS any more")
	}
	r.serveUntil(t, r.inline()[i], regexp.MustCompile(`unset AWS_SESSION_TOKEN\n`), func(printed string) {
		settings := regexp.MustCompile(`(?m)^(export|unset) .*\n`).FindAllString(printed, -1)
		out := r.run(t, strings.Join(settings, "")+
			"KEY_ARN=$(aws kms create-key --policy file://key-policy.json --query KeyMetadata.Arn --output text) && "+line)
		if !strings.Contains(out, "no findings") {
			t.Errorf("the key policy that README.md makes has findings:\n%s", out)
		}
	})
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}
