package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestOwnLibraries finds what this test needs, if it is linked dynamically.
func TestOwnLibraries(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has programs of this form")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := newLinker(arch(t, self), nil)
	program, err := l.add(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range program.needed {
		if l.found[name] == nil {
			t.Errorf("%s was not found", name)
		}
	}
	if (program.interp == "") != (len(program.needed) == 0) {
		t.Errorf("%q needs %q", program.interp, program.needed)
	}
}

// TestWrongLibraries: libraries for other machines are passed over, and if there
// are none but those, that is what the error says.
func TestWrongLibraries(t *testing.T) {
	dir := t.TempDir()
	o := tree(t, dir)
	wrong := filepath.Join(dir, "wrong")
	data, err := os.ReadFile(filepath.Join(dir, "lib", "libb.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(data[18:], 8) // MIPS
	write(t, filepath.Join(wrong, "libb.so.1"), data)
	a := arch(t, o.Program)
	l := newLinker(a, []string{wrong, filepath.Join(dir, "lib")})
	if _, err := l.add(o.Program); err != nil || l.found["libb.so.1"].path != filepath.Join(dir, "lib", "libb.so.1") {
		t.Errorf("%v", err)
	}
	if err := os.Remove(filepath.Join(dir, "lib", "libb.so.1")); err != nil {
		t.Fatal(err)
	}
	if _, err := newLinker(a, []string{wrong}).add(o.Program); err == nil || !strings.Contains(err.Error(), "liba.so.1 needs libb.so.1, and what there is does not fit") || !strings.Contains(err.Error(), "EM_MIPS") {
		t.Errorf("%v", err)
	}
	if _, err := newLinker(a, nil).add(filepath.Join(wrong, "libb.so.1")); err == nil {
		t.Error("a library for another machine was taken")
	}
}

// TestOldLibrary: a library that lacks a version that somebody needs.
func TestOldLibrary(t *testing.T) {
	dir := t.TempDir()
	library := func(versions string) {
		write(t, filepath.Join(dir, "map"), []byte(versions))
		compile(t, dir, "int v(void) { return 1; } int w(void) { return 1; }", "-shared", "-Wl,--version-script=map", "-Wl,-soname,libv.so", "-o", "libv.so")
	}
	library("V_1 { global: v; }; V_2 { global: w; } V_1;")
	compile(t, dir, "int w(void); void _start(void) { w(); }", "-o", "program", "libv.so")
	program := filepath.Join(dir, "program")
	a := arch(t, program)
	if _, err := newLinker(a, []string{dir}).add(program); err != nil {
		t.Fatal(err)
	}
	library("V_1 { global: v; w; };")
	if _, err := newLinker(a, []string{dir}).add(program); err == nil || !strings.Contains(err.Error(), "program needs V_2 of libv.so") {
		t.Errorf("%v", err)
	}
}

// TestDamagedVersions: a table of versions that cannot be read is no reason to
// check none.
func TestDamagedVersions(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "map"), []byte("V_1 { global: v; };"))
	compile(t, dir, "int v(void) { return 1; }", "-shared", "-Wl,--version-script=map", "-Wl,-soname,libv.so", "-o", "libv.so")
	compile(t, dir, "int v(void); void _start(void) { v(); }", "-o", "program", "libv.so")
	for name, table := range map[string]elf.SectionType{"program": elf.SHT_GNU_VERNEED, "libv.so": elf.SHT_GNU_VERDEF} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		section := f.SectionByType(table)
		f.Close()
		damaged := bytes.Clone(whole)
		damaged[section.Offset] ^= 0x40 // the version of the table's own form
		write(t, path, damaged)
		program := filepath.Join(dir, "program")
		if _, err := newLinker(arch(t, program), []string{dir}).add(program); err == nil || !strings.Contains(err.Error(), name+": its table of versions cannot be read") {
			t.Errorf("%s: %v", name, err)
		}
		write(t, path, whole)
		if _, err := newLinker(arch(t, program), []string{dir}).add(program); err != nil {
			t.Errorf("%s, whole: %v", name, err)
		}
	}
}

func TestConfiguredDirs(t *testing.T) {
	dir := t.TempDir()
	conf := write(t, filepath.Join(dir, "ld.so.conf"), []byte("# comment\ninclude conf.d/*.conf\n/last # one\nrelative\n"))
	write(t, filepath.Join(dir, "conf.d", "b.conf"), []byte("/b\n"))
	write(t, filepath.Join(dir, "conf.d", "a.conf"), []byte("/a\ninclude "+conf+"\n")) // a circle ends
	got := compact(configuredDirs(conf, 0))
	if strings.Join(got, " ") != "/a /b /last" && strings.Join(got, " ") != "/a /last /b" {
		t.Errorf("%q", got)
	}
}
