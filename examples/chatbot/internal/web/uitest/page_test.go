package uitest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// scenarios are the functions of scenarios/*.mjs, each with the state of the
// enclave in which it begins.
var scenarios = []struct{ name, enclave string }{
	{"streams", "private"},
	{"settingsAndEarlierTurns", "private"},
	{"stopButton", "private"},
	{"escapeStops", "private"},
	{"retryAfterError", "private"},
	{"breaksOff", "private"},
	{"clientIsGone", "private"},
	{"receiptAndCopy", "private"},
	{"hostileAnswer", "private"},
	{"codeAndLines", "private"},
	{"silence", "private"},
	{"conversationsAndForgetting", "private"},
	{"panelOfAPrivateEnclave", "private"},
	{"panelOfASimulatedEnclave", "simulated"},
	{"panelOfADebugEnclave", "debug"},
	{"mismatchBlocksSending", "mismatch"},
	{"unreachableBlocksSending", "unreachable"},
	{"enclaveSwappedDuringTheConversation", "private"},
	{"keyExpires", "expired"},
	{"keyboardOnly", "private"},
	{"narrowScreen", "simulated"},
	{"darkMode", "private"},
	{"reducedMotion", "private"},
	{"accessible", "simulated"},
	{"pictures", "private"},
}

// scenarioTimeout is for a browser that hangs; no scenario comes near it.
const scenarioTimeout = 3 * time.Minute

func TestPage(t *testing.T) {
	browser := need(t, "chromium", "chromium-browser", "google-chrome")
	node, npm := need(t, "node"), need(t, "npm")
	install := exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	states, err := newEnclaves()
	if err != nil {
		t.Fatal(err)
	}
	d := startDriver(t, node, browser)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if s.name == "pictures" && os.Getenv("NITROSEAL_SCREENSHOTS") == "" {
				t.Skip("NITROSEAL_SCREENSHOTS names no folder")
			}
			d.run(t, s.name, newServer(t, states, s.enclave).URL)
		})
	}
}

// need finds one of the programs, and skips the test where there is none.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
		t.Fatalf("NITROSEAL_REQUIRE_FOREIGN is set, and none of %v is installed", names)
	}
	t.Skipf("none of %v is installed", names)
	return ""
}

// driver is a node process with a browser. It reads a command a line and
// answers each with a line.
type driver struct {
	in  io.Writer
	out *bufio.Reader
}

func startDriver(t *testing.T, node, browser string) *driver {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node, "driver.mjs", browser)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = 10 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = func() error { return in.Close() } // the driver then closes its browser
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &driver{in, bufio.NewReader(out)}
}

func (d *driver) run(t *testing.T, scenario, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scenarioTimeout)
	defer cancel()
	if err := json.NewEncoder(d.in).Encode(map[string]string{"scenario": scenario, "url": url}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		line, err := d.out.ReadString('\n')
		if err != nil {
			line = `{"failure":"the driver ended"}`
		}
		answered <- line
	}()
	select {
	case <-ctx.Done():
		t.Fatal("the scenario does not end")
	case line := <-answered:
		var result struct{ Failure string }
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			t.Fatalf("the driver answered %q", line)
		}
		if result.Failure != "" {
			t.Error(result.Failure)
		}
	}
}
