//go:build linux

package pid1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the processes of TestSupervise.
func TestMain(m *testing.M) {
	switch role := os.Getenv("PID1_TEST"); role {
	case "":
		os.Exit(m.Run())
	case "init":
		// Orphans below come to this process, as they do to the first one.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			panic(err)
		}
		status, err := supervise(Config{Command: []string{os.Args[1]}, Env: []string{"PID1_TEST=" + os.Args[2]}})
		fmt.Println("status", status, err)
	case "killed":
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case "told":
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGTERM)
		fmt.Println("ready")
		<-c
		os.Exit(9)
	case "parent":
		// It ends after its grandchild, which by then is an orphan.
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		another(w, "between").Wait()
		w.Close()
		io.Copy(io.Discard, r)
		os.Exit(7)
	case "between":
		another(os.NewFile(3, "pipe"), "orphan")
	case "orphan":
		os.Exit(3)
	}
	os.Exit(0)
}

// another starts this program in another role, with a file that it keeps open.
func another(keep *os.File, role string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.ExtraFiles, cmd.Stdout = []string{"PID1_TEST=" + role}, []*os.File{keep}, os.Stdout
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd
}

func TestSupervise(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ program, role, want string }{
		{self, "nothing", "status 0 <nil>"},
		{self, "orphan", "status 3 <nil>"},
		{self, "parent", "status 7 <nil>"},
		{self, "killed", "status 137 <nil>"},
		{self, "told", "status 9 <nil>"},
		{"/no/such/program", "", "status 0 starting /no/such/program: no such file or directory"},
	} {
		t.Run(tt.role, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self, tt.program, tt.role)
			cmd.Env = []string{"PID1_TEST=init"}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said string
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if said = lines.Text(); said == "ready" {
					cmd.Process.Signal(unix.SIGTERM)
				}
			}
			if err := cmd.Wait(); err != nil || said != tt.want {
				t.Errorf("%q, %v, want %q", said, err, tt.want)
			}
		})
	}
}

func TestLoadModules(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"002-nsm.ko", "000-virtio.ko", "001-virtio_mmio.ko"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var loaded []string
	fails := map[string]error{"001-virtio_mmio.ko": unix.EEXIST}
	load := func(f *os.File) error {
		loaded = append(loaded, filepath.Base(f.Name()))
		return fails[filepath.Base(f.Name())]
	}
	if err := loadModules(dir, load); err != nil || !slices.Equal(loaded, []string{"000-virtio.ko", "001-virtio_mmio.ko", "002-nsm.ko"}) {
		t.Errorf("%q, %v", loaded, err)
	}
	fails["001-virtio_mmio.ko"], loaded = unix.ENOEXEC, nil
	if err := loadModules(dir, load); !errors.Is(err, unix.ENOEXEC) || !strings.Contains(err.Error(), "virtio_mmio") || len(loaded) != 2 {
		t.Errorf("%q, %v", loaded, err)
	}
	if err := loadModules(filepath.Join(dir, "none"), load); err != nil {
		t.Error("no modules:", err)
	}
}

func TestGuarded(t *testing.T) {
	if _, err := guarded(func() (int, error) { panic("x") }); err == nil {
		t.Error("a panic passed")
	}
	if status, err := guarded(func() (int, error) { return 4, nil }); status != 4 || err != nil {
		t.Error(status, err)
	}
}

// TestWanted: the tests, by whatever process id, are no init.
func TestWanted(t *testing.T) {
	if Wanted() {
		t.Error("this is taken for init")
	}
}
