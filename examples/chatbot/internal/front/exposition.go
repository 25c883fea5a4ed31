package front

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// exposition writes metrics in Prometheus's text format, version 0.0.4: for
// each family a HELP and a TYPE line, and then its samples.
type exposition struct{ b strings.Builder }

// contentTypeMetrics is the type of that format.
const contentTypeMetrics = "text/plain; version=0.0.4; charset=utf-8"

// labels are pairs of a name and a value.
type labels [][2]string

// family begins a family of samples. kind is counter, gauge or histogram.
func (x *exposition) family(name, kind, help string) {
	fmt.Fprintf(&x.b, "# HELP %s %s\n# TYPE %s %s\n", name, helpEscaper.Replace(help), name, kind)
}

// sample writes one sample of the family that was begun last.
func (x *exposition) sample(name string, l labels, value float64) {
	x.b.WriteString(name)
	for i, pair := range l {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		x.b.WriteByte(sep)
		x.b.WriteString(pair[0] + `="` + labelEscaper.Replace(pair[1]) + `"`)
	}
	if len(l) > 0 {
		x.b.WriteByte('}')
	}
	x.b.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// histogram writes the samples of one histogram, whose buckets are cumulative.
func (x *exposition) histogram(name string, l labels, h *histogram) {
	count := uint64(0)
	for i, n := range h.counts {
		count += n
		le := "+Inf"
		if i < len(buckets) {
			le = strconv.FormatFloat(buckets[i], 'g', -1, 64)
		}
		x.sample(name+"_bucket", append(l[:len(l):len(l)], [2]string{"le", le}), float64(count))
	}
	x.sample(name+"_sum", l, h.sum)
	x.sample(name+"_count", l, float64(count))
}

func (x *exposition) writeTo(w io.Writer) { io.WriteString(w, x.b.String()) }

var (
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)
