package nitroseal_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// differs is what differs from one run to the next: where folders are, how long
// things take, keys and measurements, and every number.
var differs = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`/\S+/nitroseal/llama/(\S+)-linux-\w+`), "/CACHE/nitroseal/llama/$1-linux-ARCH"},
	{regexp.MustCompile(`\b[0-9a-f]{12,}\b`), "HEX"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\d+`), "N"},
}

// normal returns the lines of an output with what differs replaced, sorted: the
// processes of the demo print beside each other.
func normal(text string) []string {
	for _, d := range differs {
		text = d.pattern.ReplaceAllString(text, d.to)
	}
	all := lines(text)
	slices.Sort(all)
	return all
}

// compareSample holds what README.md shows to what is printed.
func compareSample(t *testing.T, shown, printed string) {
	t.Helper()
	want, got := normal(shown), normal(printed)
	if slices.Equal(want, got) {
		return
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("README.md shows, and it is not printed: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("it prints, and README.md does not show: %s", line)
		}
	}
	t.Errorf("README.md shows other output than\n%s", printed)
}

func TestCompareSample(t *testing.T) {
	const line = "client 6 answer in /home/you/.cache/nitroseal/llama/3.22.1-linux-amd64: 35 segments of key 0bfa29fd7adb4617  [124.4 ms]\nb\n"
	same := "b\nclient 6 answer in /tmp/x/nitroseal/llama/3.22.1-linux-arm64: 7 segments of key 99999999aaaaaaaa  [1.2 s]\n"
	if !slices.Equal(normal(line), normal(same)) {
		t.Errorf("%q\n%q", normal(line), normal(same))
	}
	for _, other := range []string{
		strings.Replace(line, "answer", "answers", 1), strings.Replace(line, "b\n", "", 1), line + "b\n", strings.Replace(line, "3.22", "3.x", 1),
	} {
		if slices.Equal(normal(line), normal(other)) {
			t.Errorf("%q is taken for the same", other)
		}
	}
}
