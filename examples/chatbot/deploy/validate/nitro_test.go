package validate

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const pcr0 = "ab00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000cd"

// nitroCLI stands for nitro-cli, with its state in a file. Another enclave, of
// somebody else, runs all the time.
const nitroCLI = `case $1 in
build-enclave)
	while [ "$1" != --output-file ]; do shift; done
	printf image >"$2"
	echo 'Start building the Enclave Image...'
	echo '{"Measurements": {"PCR0": "` + pcr0 + `"}}' ;;
run-enclave) echo running >state ;;
terminate-enclave) rm -f state; echo terminated >&2 ;;
describe-enclaves)
	printf '[\n  {\n    "EnclaveName": "other",\n    "EnclaveID": "i-1-enc0",\n    "State": "RUNNING"\n  }'
	[ ! -e state ] || printf ',\n  {\n    "EnclaveName": "nitroseal-chatbot",\n    "EnclaveID": "i-1-enc1",\n    "Measurements": {\n      "PCR0": "x"\n    }\n  }'
	printf '\n]\n' ;;
esac`

func newNitro(t *testing.T, measured string) *standins {
	s := newStandins(t)
	s.add(t, "nitro-cli", nitroCLI)
	s.add(t, "docker", `[ "$1 ${*: -1}" != "build -" ] || { cat; } >Dockerfile.last`)
	s.add(t, "chatbot", `[ "$1 $2" != "eif measure" ] || echo '{"Measurements": {"PCR0": "`+measured+`"}}'`)
	if err := os.Mkdir(filepath.Join(s.dir, "build"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNitroBuild(t *testing.T) {
	s := newNitro(t, pcr0)
	settings := []string{"KEY_ARN=arn:aws:kms:eu-west-1:111122223333:key/1", "AWS_REGION=eu-west-1", "VERSION=v1", "ADMIN_ARN=a", "CLIENT_ARN=c"}
	out, err := s.run(t, settings, "nitro.sh", "build", "-model-digest", `quo"te\`)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls := s.calls(t)
	for _, want := range []string{
		"nitro-cli build-enclave --docker-uri nitroseal-enclave:v1 --output-file build/chatbot.eif\n",
		"chatbot eif measure build/chatbot.eif\n",
		"chatbot policy emit -measurements v1=build/measurements.json -o build/policy.json\n",
		"chatbot policy key -admin a -client c -measurements v1=build/measurements.json -o build/key-policy.json\n",
	} {
		if !strings.Contains(calls, want) {
			t.Errorf("%q is not called:\n%s", want, calls)
		}
	}
	const layer = `FROM nitroseal-enclave-base:v1
ENTRYPOINT ["/chatbot", "enclave", "-region", "eu-west-1", "-key-arn", "arn:aws:kms:eu-west-1:111122223333:key/1", ` +
		`"-kms-endpoint", "https://kms.eu-west-1.amazonaws.com", "-egress", "kms.eu-west-1.amazonaws.com:443=vsock://3:8000", "-model-digest", "quo\"te\\"]
`
	if got := read(t, filepath.Join(s.dir, "Dockerfile.last")); got != layer {
		t.Errorf("the command line's layer is\n%s\nnot\n%s", got, layer)
	}
	if bad := checkDockerfile(layer); len(bad) > 0 {
		t.Errorf("the command line's layer: %q", bad)
	}
	if got := read(t, filepath.Join(s.dir, "build/allocator.yaml")); got != "---\nmemory_mib: 70000\ncpu_count: 8\n" {
		t.Errorf("allocator.yaml: %q", got)
	}
	if out, err := s.run(t, settings, "nitro.sh", "clean"); err != nil {
		t.Errorf("clean: %v: %s", err, out)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "build")); err == nil {
		t.Errorf("clean leaves %v", left)
	}
}

func TestNitroBuildRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		measured string
		settings []string
		args     []string
		want     string
	}{
		"no key":              {pcr0, nil, nil, "KEY_ARN is empty"},
		"another measurement": {strings.Repeat("0", 96), []string{"KEY_ARN=k"}, nil, "measure different PCR0s"},
		"two lines":           {pcr0, []string{"KEY_ARN=k"}, []string{"-v\n-allow-debug"}, "control character"},
		"no measurement":      {"", []string{"KEY_ARN=k"}, nil, "names no PCR0"},
	} {
		s := newNitro(t, tt.measured)
		out, err := s.run(t, tt.settings, "nitro.sh", append([]string{"build"}, tt.args...)...)
		if err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

func TestNitroRun(t *testing.T) {
	s := newNitro(t, pcr0)
	if out, err := s.run(t, nil, "nitro.sh", "run"); err == nil || !strings.Contains(out, "there is no image") {
		t.Errorf("without an image: %v, %q", err, out)
	}
	eif := filepath.Join(s.dir, "build/chatbot.eif")
	if err := os.WriteFile(eif, make([]byte, 20<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	s.calls(t)
	for name, tt := range map[string]struct {
		settings, args []string
		want           string
	}{
		"a flag":          {nil, []string{"--debug-mode"}, "DEBUG_MODE=yes"},
		"not yes or no":   {[]string{"DEBUG_MODE=1"}, nil, "not yes or no"},
		"too little":      {[]string{"MEMORY=83"}, nil, "four times its size, 84 MiB"},
		"no number":       {[]string{"MEMORY=1 --debug-mode"}, nil, "must be a number"},
		"CID of the host": {[]string{"ENCLAVE_CID=3"}, nil, "must be over 3"},
	} {
		out, err := s.run(t, tt.settings, "nitro.sh", append([]string{"run"}, tt.args...)...)
		if err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v, %q", name, err, out)
		}
		if calls := s.calls(t); strings.Contains(calls, "run-enclave") {
			t.Errorf("%s: the enclave was started: %s", name, calls)
		}
	}
	if out, err := s.run(t, nil, "nitro.sh", "run"); err != nil || strings.Contains(out, "WARNING") {
		t.Errorf("%v, %q", err, out)
	}
	const want = "nitro-cli run-enclave --eif-path build/chatbot.eif --cpu-count 8 --memory 70000 --enclave-cid 16 --enclave-name nitroseal-chatbot\n"
	if calls := s.calls(t); !strings.HasSuffix(calls, want) {
		t.Errorf("%q does not end with %q", calls, want)
	}
	if out, err := s.run(t, nil, "nitro.sh", "run"); err == nil || !strings.Contains(out, "runs already") {
		t.Errorf("a second one: %v, %q", err, out)
	}
	if out, err := s.run(t, nil, "nitro.sh", "ready"); err != nil {
		t.Errorf("not ready: %v, %q", err, out)
	}
	s.calls(t)
	if out, err := s.run(t, nil, "nitro.sh", "terminate"); err != nil {
		t.Errorf("terminate: %v, %q", err, out)
	}
	if calls := s.calls(t); !strings.Contains(calls, "terminate-enclave --enclave-id i-1-enc1\n") {
		t.Errorf("not ours was ended: %s", calls)
	}
	if out, err := s.run(t, nil, "nitro.sh", "ready"); err == nil {
		t.Errorf("ready without an enclave: %q", out)
	}
	out, err := s.run(t, []string{"DEBUG_MODE=yes", "CPU_COUNT=2", "MEMORY=84"}, "nitro.sh", "run")
	if calls := s.calls(t); err != nil || !strings.Contains(out, "WARNING: debug mode") || !strings.HasSuffix(calls, "--debug-mode\n") || !strings.Contains(calls, "--cpu-count 2 --memory 84 ") {
		t.Errorf("debug mode: %v, %q, %s", err, out, calls)
	}
}

// supervise fails when the enclave ends by itself, and ends it when it is told to.
func TestNitroSupervise(t *testing.T) {
	s := newNitro(t, pcr0)
	if err := os.WriteFile(filepath.Join(s.dir, "build/chatbot.eif"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// In the place of waiting, the enclave ends.
	if err := os.Remove(filepath.Join(s.dir, "sleep")); err != nil {
		t.Fatal(err)
	}
	s.add(t, "sleep", "rm -f state")
	if out, err := s.run(t, nil, "nitro.sh", "supervise"); err == nil || !strings.Contains(out, "ended by itself") {
		t.Errorf("%v, %q", err, out)
	}
	s.calls(t)
	// nitro-cli fails in between, which is no end; one of before is in the way.
	if err := os.WriteFile(filepath.Join(s.dir, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.add(t, "sleep", "if [ -e broken ]; then rm -f broken state; else touch broken; fi")
	s.add(t, "nitro-cli", "[ ! -e broken ] || exit 1\n"+nitroCLI)
	out, err := s.run(t, nil, "nitro.sh", "supervise")
	calls := s.calls(t)
	ended, began, polls := strings.Index(calls, "terminate-enclave --enclave-id i-1-enc1"), strings.Index(calls, "run-enclave"), strings.Count(calls, "sleep ")
	if err == nil || ended < 0 || began < ended || polls != 2 {
		t.Errorf("%v, %q, %s", err, out, calls)
	}
	s.add(t, "nitro-cli", nitroCLI)
	// In the place of waiting, a pipe tells that it waits, and stays.
	pipe := filepath.Join(s.dir, "waits")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s.add(t, "sleep", "echo waits >'"+pipe+"'; exec cat '"+pipe+"' >/dev/null")
	cmd := s.command(t, nil, "nitro.sh", "supervise")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(pipe); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to end: %v", err)
	}
	if calls := s.calls(t); !strings.Contains(calls, "terminate-enclave --enclave-id i-1-enc1\n") {
		t.Errorf("the enclave was left running: %s", calls)
	}
	// Whoever waits at the pipe is let go.
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestNitroUsage(t *testing.T) {
	s := newNitro(t, pcr0)
	for _, args := range [][]string{{}, {"nonsense"}, {"help"}} {
		out, err := s.run(t, nil, "nitro.sh", args...)
		if help := len(args) == 1 && args[0] == "help"; (err == nil) != help || !strings.Contains(out, "nitro.sh terminate") || strings.Contains(out, "set -euo") {
			t.Errorf("%q: %v, %q", args, err, out)
		}
	}
	if out, err := s.run(t, nil, "nitro.sh", "terminate", "all"); err == nil {
		t.Errorf("terminate all: %q", out)
	}
	if calls := s.calls(t); calls != "" {
		t.Errorf("something was called: %s", calls)
	}
}
