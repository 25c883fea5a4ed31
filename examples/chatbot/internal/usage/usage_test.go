package usage

import (
	"os"
	"runtime"
	"testing"
)

func TestOf(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc here")
	}
	before, err := Of(os.Getpid())
	if err != nil || before.RSS < 1<<20 || before.RSS > 1<<40 || before.Threads < 2 || before.FDs < 3 || before.AddressSpace < before.RSS {
		t.Fatalf("%+v, %v", before, err)
	}
	const files = 100
	for range files {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, err := Of(os.Getpid()); err != nil || after.FDs < before.FDs+files {
		t.Errorf("%d descriptors after %d, with %d files more: %v", after.FDs, before.FDs, files, err)
	}
	if _, err := Of(1 << 30); err == nil {
		t.Error("a process that cannot be is told of")
	}
}

func TestField(t *testing.T) {
	status := []byte("Name:\tx\nVmRSS:\t  1234 kB\nThreads:\t\nCpus:\tf\n")
	for name, want := range map[string]int64{"VmRSS:": 1234, "Threads:": -1, "Cpus:": -1, "None:": -1} {
		got, err := field(status, name)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s %d, %v", name, got, err)
		}
	}
}
