package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
)

// runDemoProcess runs chatbot demo as a user does.
func runDemoProcess(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, append([]string{"demo"}, args...)...)
	cmd.Stdout, cmd.Stderr = &o, &e
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestDemoCommand(t *testing.T) {
	code, out, log := runDemoProcess(t, "-v", "-q", "tell me a joke")
	if code != exitOK || strings.TrimSpace(out) != joke {
		t.Errorf("exit status %d, standard output %q", code, out)
	}
	for n := 1; n <= 6; n++ {
		if !strings.Contains(log, fmt.Sprintf(" %d ", n)) {
			t.Errorf("step %d is not told", n)
		}
	}
	for _, secret := range []string{"joke", "Larkfield benefits"} {
		if strings.Contains(log, secret) {
			t.Errorf("the steps tell %q", secret)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}

func TestBreakPCR(t *testing.T) {
	code, out, log := runDemoProcess(t, "-break-pcr", "-q", "what is my deductible?")
	if code != exitOK || !strings.Contains(log, "AccessDeniedException") || strings.TrimSpace(out) != deductible {
		t.Errorf("exit status %d, output %q, log\n%s", code, out, log)
	}
}

// clientArgs are the flags of a client of a running pipeline.
func clientArgs(info local.Info, more ...string) []string {
	return append([]string{"client", "-parent", info.ParentURL, "-region", info.Region, "-key-arn", info.SealedKeyARN,
		"-kms-endpoint", info.KMSTLSEndpoint, "-kms-ca", info.KMSCAFile,
		"-policy", info.PolicyFile, "-simulated-roots", info.RootsFile,
		"-credentials", info.CredentialsFile}, more...)
}

// keep runs chatbot demo -keep. Stop interrupts it and waits.
func keep(t *testing.T, args ...string) (info local.Info, stop func()) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"demo", "-keep"}, args...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := json.NewDecoder(out)
	if err := line.Decode(&info); err != nil {
		cmd.Wait()
		t.Fatalf("%v: %s", err, &log)
	}
	return info, func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &log)
		}
	}
}

// demo -keep tells how to reach everything, and cleans up when interrupted.
func TestKeep(t *testing.T) {
	info, stop := keep(t)
	for _, field := range []string{info.ParentURL, info.AdminURL, info.KMSEndpoint, info.KMSTLSEndpoint, info.KeyARN, info.KeyAlias,
		info.Region, info.AccessKeyID, info.SecretAccessKey, info.SessionToken, info.WebURL} {
		if field == "" {
			t.Errorf("a field is empty: %+v", info.PIDs)
		}
	}
	if code, answer, errOut := runArgs(t, "", clientArgs(info, "-q", "tell me a joke")...); code != exitOK || answer != joke+"\n" {
		t.Errorf("exit status %d, %q, %q", code, answer, errOut)
	}
	// The same pipeline, through the page's and OpenAI's endpoints.
	for path, want := range map[string]string{"": "<!doctype html", "api/attestation": `"simulated"`, "v1/models": `"object"`} {
		if _, body := get(t, info.WebURL+path); !strings.Contains(strings.ToLower(body), want) {
			t.Errorf("%q: %s", path, body)
		}
	}
	var models struct{ Data []struct{ ID string } }
	if _, body := get(t, info.WebURL+"v1/models"); json.Unmarshal([]byte(body), &models) != nil || len(models.Data) != 1 {
		t.Fatalf("models: %s", body)
	}
	resp, err := http.Post(info.WebURL+"v1/chat/completions", "application/json",
		strings.NewReader(`{"model":"`+models.Data[0].ID+`","messages":[{"role":"user","content":"What is my deductible?"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), deductible) {
		t.Errorf("HTTP %d, %s, %v", resp.StatusCode, body, err)
	}
	if status, body := get(t, info.AdminURL+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: HTTP %d, %s", status, body)
	}
	stop()
	if _, err := os.Stat(info.KMSCAFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of sockets and keys is left: %v", err)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
