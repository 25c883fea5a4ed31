package validate

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// worstExposure is the most that systemd-analyze's judgement of a unit may be, of
// 100. The parent must reach the network and has no files to write; the enclave's
// unit has a device.
const worstExposure = 20

// installed makes a root folder with the units and what they name.
func installed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range find(t, withSuffix(".service")) {
		write("etc/systemd/system/"+filepath.Base(path), read(t, path), 0o644)
	}
	write("etc/systemd/system/nitro-enclaves-allocator.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n", 0o644)
	for _, target := range []string{"sysinit", "basic", "shutdown", "network-online", "network", "multi-user"} {
		write("etc/systemd/system/"+target+".target", "[Unit]\nDescription="+target+"\n", 0o644)
	}
	for _, program := range []string{"opt/nitroseal/chatbot", "opt/nitroseal/nitro.sh", "bin/true"} {
		write(program, "#!/bin/sh\n", 0o755)
	}
	return root
}

func TestUnits(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	root := installed(t)
	for _, unit := range []string{"nitroseal-parent.service", "nitroseal-enclave.service"} {
		out, err := output(t, analyze, "verify", "--man=no", "--root="+root, unit)
		if err != nil || strings.Contains(out, unit) {
			t.Errorf("verify %s: %v\n%s", unit, err, out)
		}
		out, err = output(t, analyze, "security", "--offline=yes", "--no-pager", "--root="+root, "--threshold="+strconv.Itoa(worstExposure), unit)
		if err != nil {
			t.Errorf("security %s: %v\n%s", unit, err, out)
		}
	}
	// A wrong setting is noticed.
	path := filepath.Join(root, "etc/systemd/system/nitroseal-parent.service")
	wrong := strings.Replace(read(t, path), "ProtectHome=yes", "ProtectHome=perhaps\nProtectHoem=yes", 1)
	if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := output(t, analyze, "verify", "--man=no", "--root="+root, "nitroseal-parent.service"); strings.Count(out, "nitroseal-parent.service:") < 2 {
		t.Errorf("verify does not see wrong settings: %s", out)
	}
}

// What the units must not lose, whatever systemd's own judgement makes of it.
func TestUnitsAreHardened(t *testing.T) {
	for _, path := range find(t, withSuffix(".service")) {
		text := read(t, path)
		for _, want := range []string{
			"User=nitroseal", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "ProtectHome=yes",
			"MemoryDenyWriteExecute=yes", "RestrictNamespaces=yes", "SystemCallArchitectures=native", "SystemCallFilter=@system-service",
		} {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("%s lacks %s", path, want)
			}
		}
		if !regexp.MustCompile(`\nRestrictAddressFamilies=.*\bAF_VSOCK\n`).MatchString(text) {
			t.Errorf("%s keeps vsock away", path)
		}
	}
}

// Settings that units use are in their files, and the other way round.
func TestUnitSettings(t *testing.T) {
	use := regexp.MustCompile(`\$\{?([A-Z_]+)\}?`)
	set := regexp.MustCompile(`(?m)^([A-Z_]+)=`)
	names := func(re *regexp.Regexp, text string) map[string]bool {
		all := map[string]bool{}
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			all[m[1]] = true
		}
		return all
	}
	unit, env := read(t, deploy+"/systemd/nitroseal-parent.service"), read(t, deploy+"/systemd/parent.env")
	used, given := names(use, unit), names(set, env)
	for name := range used {
		if !given[name] {
			t.Errorf("parent.env does not set %s", name)
		}
	}
	for name := range given {
		if !used[name] {
			t.Errorf("the parent's unit does not use %s", name)
		}
	}
	script := read(t, deploy+"/nitro.sh")
	for name := range names(set, read(t, deploy+"/systemd/enclave.env")) {
		if !strings.Contains(script, "${"+name+":=") {
			t.Errorf("nitro.sh does not know %s", name)
		}
	}
}
