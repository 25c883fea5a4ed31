package front

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A strict reader of the Prometheus text format as this package writes it:
// families in one piece, each with HELP and TYPE before its samples, nothing
// twice, histograms whole and cumulative, counters named as such.
type scrape struct {
	kinds   map[string]string
	samples map[string]float64 // by name and labels as written
}

var (
	nameForm  = `[a-z][a-z0-9_]*`
	helpLine  = regexp.MustCompile(`^# HELP (` + nameForm + `) ([A-Z][^\n]*\.)$`)
	typeLine  = regexp.MustCompile(`^# TYPE (` + nameForm + `) (counter|gauge|histogram)$`)
	labelForm = `[a-z_]+="(?:[^"\\\n]|\\[\\n"])*"`
	sample    = regexp.MustCompile(`^(` + nameForm + `)(\{` + labelForm + `(?:,` + labelForm + `)*\})? (\S+)$`)
)

func parseScrape(text string) (*scrape, error) {
	s := &scrape{map[string]string{}, map[string]float64{}}
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("no end of line at the end")
	}
	family, help := "", ""
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if m := helpLine.FindStringSubmatch(line); m != nil {
			help = m[1]
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			if m[1] != help || s.kinds[m[1]] != "" {
				return nil, fmt.Errorf("line %d: %s has no HELP just before, or comes twice", n+1, m[1])
			}
			family, help = m[1], ""
			s.kinds[family] = m[2]
			if (m[2] == "counter") != strings.HasSuffix(family, "_total") {
				return nil, fmt.Errorf("%s is a %s", family, m[2])
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || help != "" || family == "" {
			return nil, fmt.Errorf("line %d: %q", n+1, line)
		}
		rest, ok := strings.CutPrefix(m[1], family)
		histogram := s.kinds[family] == "histogram"
		if !ok || (!histogram && rest != "") || (histogram && !slices.Contains([]string{"_bucket", "_sum", "_count"}, rest)) {
			return nil, fmt.Errorf("line %d: %s is not of %s", n+1, m[1], family)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil || math.IsNaN(v) || v < 0 {
			return nil, fmt.Errorf("line %d: %q", n+1, m[3])
		}
		if _, twice := s.samples[m[1]+m[2]]; twice {
			return nil, fmt.Errorf("line %d: %s%s comes twice", n+1, m[1], m[2])
		}
		s.samples[m[1]+m[2]] = v
	}
	return s, s.checkHistograms()
}

// checkHistograms wants every bucket, growing, and the last one to be the count.
func (s *scrape) checkHistograms() error {
	for name, kind := range s.kinds {
		if kind != "histogram" {
			continue
		}
		for key, count := range s.samples {
			l, ok := strings.CutPrefix(key, name+"_count{")
			if !ok {
				continue
			}
			l = strings.TrimSuffix(l, "}")
			last := 0.0
			for _, le := range append(slices.Clone(buckets), math.Inf(1)) {
				v, ok := s.samples[fmt.Sprintf("%s_bucket{%s,le=%q}", name, l, strconv.FormatFloat(le, 'g', -1, 64))]
				if !ok || v < last {
					return fmt.Errorf("%s %s: bucket %v is missing or less than the one before", name, l, le)
				}
				last = v
			}
			if _, ok := s.samples[name+"_sum{"+l+"}"]; !ok || last != count {
				return fmt.Errorf("%s %s: %v in all buckets, %v in all", name, l, last, count)
			}
		}
	}
	return nil
}

func TestExposition(t *testing.T) {
	x := &exposition{}
	x.family("a_total", "counter", "A.")
	x.sample("a_total", labels{{"x", "back\\slash \"quote\" new\nline"}}, 1e15)
	x.family("b", "histogram", "With\nline.")
	h := &histogram{}
	h.observe(0)
	h.observe(5e6)  // its bucket's bound
	h.observe(1e12) // over all
	x.histogram("b", labels{{"e", "f"}}, h)
	got := x.b.String()
	if want := "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"back\\\\slash \\\"quote\\\" new\\nline\"} 1e+15\n# HELP b With\\nline.\n# TYPE b histogram\nb_bucket{e=\"f\",le=\"0.005\"} 2\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%s", got)
	}
	s, err := parseScrape(got)
	if err != nil || s.samples[`b_count{e="f"}`] != 3 || s.samples[`b_bucket{e="f",le="300"}`] != 2 || s.samples[`b_sum{e="f"}`] != 1000.005 {
		t.Errorf("%v, %v", s, err)
	}
}

// The reader of this test refuses what it should.
func TestScrapeReader(t *testing.T) {
	for _, bad := range []string{
		"", "a 1\n", "# TYPE a gauge\na 1\n", "# HELP a A.\n# TYPE a gauge\na 1", "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
		"# HELP a A.\n# TYPE a gauge\nb 1\n", "# HELP a A.\n# TYPE a counter\na 1\n", "# HELP a A.\n# TYPE a gauge\na{x=\"\"y\"} 1\n",
		"# HELP a A.\n# TYPE a histogram\na_count{x=\"y\"} 1\n", "# HELP a A.\n# TYPE a gauge\na -1\n", "# HELP a A.\n# TYPE a gauge\na  1\n",
	} {
		if _, err := parseScrape(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
