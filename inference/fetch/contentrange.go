package fetch

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// byteRange is a Content-Range: bytes first to last, both included, of size.
type byteRange struct{ first, last, size int64 }

// parseContentRange reads the one form of Content-Range (RFC 9110, section
// 14.4) that is of use: "bytes FIRST-LAST/SIZE" with all three known. Numbers
// are decimal digits and nothing else.
func parseContentRange(h http.Header) (byteRange, bool) {
	values := h.Values("Content-Range")
	if len(values) != 1 {
		return byteRange{}, false
	}
	unit, rest, ok := strings.Cut(values[0], " ")
	span, size, slash := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(span, "-")
	if !ok || !slash || !dash || !strings.EqualFold(unit, "bytes") {
		return byteRange{}, false
	}
	var r byteRange
	for _, n := range []struct {
		text string
		to   *int64
	}{{first, &r.first}, {last, &r.last}, {size, &r.size}} {
		if *n.to, ok = parseDigits(n.text); !ok {
			return byteRange{}, false
		}
	}
	if r.first > r.last || r.last >= r.size {
		return byteRange{}, false
	}
	return r, true
}

// parseDigits is strict where strconv is not: no sign, and at most what
// leaves space to add to.
func parseDigits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n < math.MaxInt64/2
}
