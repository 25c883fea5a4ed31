package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

const versionAbout = `
Prints the version that this program was released as, the system that it is for
and the Go that it was built with. A program that was not built by .ci/release
prints the version of the module or, if there is none, the commit, or "unknown".

The version is what the program says of itself. Who wants to know which program
it is compares its SHA-256 with the release's SHA256SUMS.
`

// stamped is the version that .ci/release and the Dockerfiles write into the
// program, by -X of the linker. There is nothing else in a release to tell it
// from: it is built without what git knows.
var stamped string

// version is the released version or the module's, or the commit that the
// program was built from, or "unknown".
func version() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return "unknown"
}

func runVersion(_ context.Context, args []string, s streams) error {
	if _, err := parseOperands(newFlags("version", versionAbout, s), args, s, 0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "chatbot %s %s/%s %s\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}
