package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	const want = `words: streams end when the loop
count: 6 words
shout: ONE LINE
shout: AND ANOTHER LINE
shout: END
`
	for _, addr := range []string{"mem://streaming-test", "unix://" + filepath.Join(t.TempDir(), "s")} {
		var out bytes.Buffer
		if err := run(t.Context(), addr, &out); err != nil || out.String() != want {
			t.Errorf("%s: %v\n%s", addr, err, &out)
		}
	}
	if err := run(t.Context(), "http://nowhere", &bytes.Buffer{}); err == nil {
		t.Error("a bad address")
	}
}
