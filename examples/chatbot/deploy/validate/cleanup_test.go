package validate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newInstalled(t *testing.T) (s *standins, root string) {
	s = newNitro(t, pcr0)
	for _, name := range []string{"systemctl", "aws"} {
		s.add(t, name, "")
	}
	root = filepath.Join(s.dir, "root")
	for _, name := range []string{"chatbot.bin", "image.eif"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.run(t, []string{"ROOT=" + root}, "install.sh", "chatbot.bin", "image.eif"); err != nil {
		t.Fatalf("install.sh: %v: %s", err, out)
	}
	return s, root
}

func TestInstall(t *testing.T) {
	s, root := newInstalled(t)
	for name, mode := range map[string]os.FileMode{
		"opt/nitroseal/chatbot": 0o755, "opt/nitroseal/nitro.sh": 0o755, "opt/nitroseal/chatbot.eif": 0o644,
		"etc/systemd/system/nitroseal-parent.service": 0o644, "etc/systemd/system/nitroseal-enclave.service": 0o644,
		"etc/nitroseal/parent.env": 0o640, "etc/nitroseal/enclave.env": 0o640,
	} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	settings := filepath.Join(root, "etc/nitroseal/parent.env")
	if err := os.WriteFile(settings, []byte("MINE"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.run(t, []string{"ROOT=" + root}, "install.sh", "chatbot.bin", "image.eif"); err != nil || read(t, settings) != "MINE" {
		t.Errorf("settings were replaced: %v: %s", err, out)
	}
	if out, err := s.run(t, nil, "install.sh"); err == nil {
		t.Errorf("without arguments: %s", out)
	}
}

func TestCleanup(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:111122223333:key/1"
	s, root := newInstalled(t)
	if err := os.WriteFile(filepath.Join(s.dir, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.calls(t)
	settings := []string{"ROOT=" + root}
	everything := []string{"--delete-key", key, "--delete-instance", "i-1", "--delete-stack", "chatbot"}
	out, err := s.run(t, settings, "cleanup.sh", everything...)
	if calls := s.calls(t); err != nil || calls != "nitro-cli describe-enclaves\n" || !strings.Contains(out, "nothing was done") {
		t.Errorf("without --yes: %v, %q, %s", err, calls, out)
	}
	if _, err := os.Stat(filepath.Join(root, "opt/nitroseal")); err != nil {
		t.Error(err)
	}
	if out, err := s.run(t, settings, "cleanup.sh", "--yes"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	calls := s.calls(t)
	parent, enclave := strings.Index(calls, "disable --now nitroseal-parent"), strings.Index(calls, "disable --now nitroseal-enclave")
	if parent < 0 || enclave < parent || !strings.Contains(calls, "terminate-enclave --enclave-name nitroseal-chatbot") || strings.Contains(calls, "aws ") {
		t.Errorf("calls:\n%s", calls)
	}
	for _, dir := range []string{"opt/nitroseal", "etc/nitroseal", "etc/systemd/system/nitroseal-parent.service"} {
		if _, err := os.Stat(filepath.Join(root, dir)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if out, err := s.run(t, settings, "cleanup.sh", append(everything, "--yes")...); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	calls = s.calls(t)
	for _, want := range []string{
		"aws kms schedule-key-deletion --key-id " + key + " --pending-window-in-days 30\n",
		"aws ec2 terminate-instances --instance-ids i-1\n", "aws cloudformation delete-stack --stack-name chatbot\n",
	} {
		if !strings.Contains(calls, want) {
			t.Errorf("%q is not called:\n%s", want, calls)
		}
	}
	for _, args := range [][]string{{"--delete-key", "alias/x"}, {"--delete-key"}, {"--all"}} {
		if out, err := s.run(t, settings, "cleanup.sh", args...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
	}
	s.add(t, "aws", "exit 1")
	if out, err := s.run(t, settings, "cleanup.sh", "--yes", "--delete-stack", "x"); err == nil || !strings.Contains(out, "failed: aws") {
		t.Errorf("a failure: %v: %s", err, out)
	}
}
