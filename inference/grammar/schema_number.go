package grammar

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
)

// Digits that a number without bounds may have: few enough for a model not to
// lose itself in them, and for every decoder to take the number.
const (
	maxInteger  = 999_999_999_999_999_999
	maxFraction = 15
)

var plainNumber = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)

// fraction is what may follow an integer in a number.
var fraction = optional(seq(literal("."), repeat(digit, 1, maxFraction)))

// anyNumber returns any number.
func anyNumber() node {
	return seq(optional(literal("-")), natural(0, maxInteger), fraction,
		optional(seq(classNode{chars("eE")}, optional(classNode{chars("+-")}), repeat(digit, 1, 2))))
}

// integer reads a number that is an integer.
func (c *schemaCompiler) integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok || !plainNumber.MatchString(n.String()) {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok || !r.IsInt() {
		return 0, false
	}
	return r.Num().Int64(), true
}

// bounds reads minimum, maximum and their exclusive kind. Where both kinds are
// there, the narrower wins.
func (c *schemaCompiler) bounds(o *object, path string, integers bool) (lo, hi int64, bounded bool) {
	lo, hi = -maxInteger, maxInteger
	for _, k := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		v, ok := o.vals[k]
		if !ok {
			continue
		}
		bounded = true
		n, ok := v.(json.Number)
		if !ok || !plainNumber.MatchString(n.String()) {
			c.fail(path, k, "not a number of at most 18 digits without an exponent")
		}
		r, _ := new(big.Rat).SetString(n.String())
		exclusive := strings.HasPrefix(k, "exclusive")
		if !integers && (exclusive || !r.IsInt()) {
			c.fail(path, k, "for the type number only whole minimum and maximum are supported")
		}
		// The floor and the ceiling of r.
		floor := new(big.Int).Div(r.Num(), r.Denom()).Int64()
		ceil := floor
		if !r.IsInt() {
			ceil++
		} else if exclusive {
			floor, ceil = floor-1, ceil+1
		}
		if strings.HasSuffix(k, "inimum") {
			lo = max(lo, ceil)
		} else {
			hi = min(hi, floor)
		}
	}
	if lo > hi {
		c.fail(path, "", "no number is within its minimum and maximum")
	}
	return lo, hi, bounded
}

func (c *schemaCompiler) integerType(o *object, path string) node {
	lo, hi, _ := c.bounds(o, path, true)
	return between(lo, hi)
}

// numberType returns numbers. Bounded ones have no exponent, which would need
// arithmetic.
func (c *schemaCompiler) numberType(o *object, path string) node {
	lo, hi, bounded := c.bounds(o, path, false)
	if !bounded {
		return anyNumber()
	}
	var parts []node
	if hi >= 0 {
		parts = append(parts, decimals(max(lo, 0), hi))
	}
	if lo < 0 {
		parts = append(parts, seq(literal("-"), decimals(max(-hi, 0), -lo)))
	}
	return alt(parts...)
}

// decimals returns the numbers from lo to hi, neither of which is negative.
func decimals(lo, hi int64) node {
	last := seq(between(hi, hi), optional(seq(literal("."), repeat(literal("0"), 1, maxFraction))))
	if lo == hi {
		return last
	}
	return alt(seq(between(lo, hi-1), fraction), last)
}

// between returns the integers from lo to hi.
func between(lo, hi int64) node {
	var parts []node
	if lo < 0 {
		parts = append(parts, seq(literal("-"), natural(max(1, -hi), -lo)))
	}
	if hi >= 0 {
		parts = append(parts, natural(max(lo, 0), hi))
	}
	return alt(parts...)
}

// natural returns the integers from lo to hi, neither of which is negative,
// without leading zeros: for each number of digits the ones of that length.
func natural(lo, hi int64) node {
	var parts []node
	for lo <= hi {
		a := big.NewInt(lo).String()
		b := strings.Repeat("9", len(a))
		end, _ := new(big.Int).SetString(b, 10)
		if end.Int64() > hi {
			b = big.NewInt(hi).String()
		}
		parts = append(parts, digits(a, b))
		if lo = end.Int64() + 1; len(a) == 18 {
			break
		}
	}
	return alt(parts...)
}

// digits returns the digit strings from a to b, which are of one length.
func digits(a, b string) node {
	n := len(a)
	switch {
	case n == 0:
		return emptyNode{}
	case a[0] == b[0]:
		return seq(literal(a[:1]), digits(a[1:], b[1:]))
	case strings.Trim(a, "0") == "" && strings.Trim(b, "9") == "":
		return repeat(digit, n, n)
	}
	lo, hi := rune(a[0]), rune(b[0])
	var parts []node
	if strings.Trim(a[1:], "0") != "" {
		parts = append(parts, seq(literal(a[:1]), digits(a[1:], strings.Repeat("9", n-1))))
		lo++
	}
	if strings.Trim(b[1:], "9") != "" {
		parts = append(parts, seq(literal(b[:1]), digits(strings.Repeat("0", n-1), b[1:])))
		hi--
	}
	if lo <= hi {
		parts = append(parts, seq(classNode{class{{lo, hi}}}, repeat(digit, n-1, n-1)))
	}
	return alt(parts...)
}
