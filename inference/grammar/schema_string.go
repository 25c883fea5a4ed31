package grammar

// stringType returns strings.
func (c *schemaCompiler) stringType(o *object, path string) node {
	least, most := max(c.count(o, path, "minLength"), 0), c.count(o, path, "maxLength")
	if most >= 0 && least > most {
		c.fail(path, "", "no string has at least minLength and at most maxLength characters")
	}
	bounded := o.has("minLength") || o.has("maxLength")
	if v, ok := o.vals["pattern"]; ok {
		if bounded || o.has("format") {
			c.fail(path, "pattern", "not supported beside minLength, maxLength and format")
		}
		n, err := compilePattern(c.text(v, path, "pattern"))
		if err != "" {
			c.fail(path, "pattern", err)
		}
		return seq(quote, n, quote)
	}
	if v, ok := o.vals["format"]; ok {
		if bounded {
			c.fail(path, "format", "not supported beside minLength and maxLength")
		}
		pattern, ok := formats[c.text(v, path, "format")]
		if !ok {
			c.fail(path, "format", "not one that is known: date, time, date-time, uuid, ipv4")
		}
		n, err := compilePattern("^(?:" + pattern + ")$")
		if err != "" {
			c.fail(path, "format", err)
		}
		return seq(quote, n, quote)
	}
	if !bounded {
		return seq(quote, repeat(stringChar, 0, -1), quote)
	}
	// A rule of its own, for it can be repeated many times.
	return seq(quote, repeat(c.define(stringChar), least, most), quote)
}

// formats are the formats known, as patterns. The 29th of February is there in
// leap years only.
var formats = map[string]string{
	"date": date, "time": clock, "date-time": "(?:" + date + ")T" + clock,
	"uuid": `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`,
	"ipv4": `(?:` + octet + `\.){3}` + octet,
}

const (
	date = `[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))` +
		`|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29`
	clock = `(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])`
	octet = `(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`
)
