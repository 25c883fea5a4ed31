package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an allowlist file. That of AWS has 52 entries in 3 KiB.
const (
	maxAllowlistBytes   = 256 << 10
	maxAllowlistEntries = 4096
)

// ParseAllowlist reads an allowlist in the form of the Nitro Enclaves CLI's
// /etc/nitro_enclaves/vsock-proxy.yaml:
//
//	allowlist:
//	- {address: kms.us-east-1.amazonaws.com, port: 443}
//	- address: "kms.eu-west-1.amazonaws.com" # the same in block style
//	  port: 443
//
// This is all of YAML that it knows: one key, allowlist; entries of exactly an
// address and a port, in either order and style; scalars plain, or in quotes
// without escapes; comments, blank lines and a "---" at the start. Everything
// else is refused with an *AllowlistError, for a file that says more than is
// understood may say something else. So are files over 256 KiB, more than
// 4,096 entries, and none. Entries may be repeated. Errors of r are returned
// as they are, wrapped.
func ParseAllowlist(r io.Reader) (*Allowlist, error) {
	if r == nil {
		return nil, errors.New("proxy: no allowlist to read")
	}
	data, err := io.ReadAll(io.LimitReader(r, maxAllowlistBytes+1))
	if err != nil {
		return nil, fmt.Errorf("proxy: reading the allowlist: %w", err)
	}
	p := &allowlistParser{}
	if err := p.parse(data); err != nil {
		return nil, err
	}
	return NewAllowlist(p.targets...)
}

type allowlistParser struct {
	line    int  // the current one, from 1
	start   bool // "---" was there
	header  bool // "allowlist:" was there
	indent  int  // of the dashes, once there is one
	entry   fields
	targets []string
}

// fields is the entry that is being read.
type fields struct {
	open       bool
	indent     int // of the keys, in block style
	host, port string
}

func (p *allowlistParser) errorf(format string, args ...any) error {
	return &AllowlistError{Line: max(p.line, 1), Reason: fmt.Sprintf(format, args...)}
}

func (p *allowlistParser) parse(data []byte) error {
	if len(data) > maxAllowlistBytes {
		return p.errorf("the file is larger than %d bytes", maxAllowlistBytes)
	}
	for line := range strings.Lines(string(data)) {
		p.line++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if !utf8.ValidString(line) || strings.ContainsFunc(line, breaksLine) {
			return p.errorf("not UTF-8, or a control character")
		}
		text, ok := uncomment(line)
		if !ok {
			return p.errorf("a quote is not closed")
		}
		if text == "" {
			continue
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return p.errorf("a tab or a character outside of ASCII")
		}
		if err := p.content(text); err != nil {
			return err
		}
	}
	if err := p.endEntry(); err != nil {
		return err
	}
	if len(p.targets) == 0 {
		return p.errorf("no entries")
	}
	return nil
}

// breaksLine reports whether a YAML reader may see the end of a line, or
// nothing at all, in a character that this one would see in a comment.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) && r != '\t' || r == '\u2028' || r == '\u2029'
}

// uncomment cuts off a comment and the space before it. In YAML a # begins
// one at the start of a line or after white space, outside of quotes.
func uncomment(line string) (text string, ok bool) {
	quote := byte(0)
	for i := range len(line) {
		c := line[i]
		before := byte(' ')
		if i > 0 {
			before = line[i-1]
		}
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '#' && (before == ' ' || before == '\t'):
			return strings.TrimRight(line[:i], " \t"), true
		case c == '"' || c == '\'':
			quote = c
		}
	}
	return strings.TrimRight(line, " "), quote == 0
}

// content takes a line that is more than a comment.
func (p *allowlistParser) content(text string) error {
	rest := strings.TrimLeft(text, " ")
	indent := len(text) - len(rest)
	switch {
	case !p.header && text == "---" && !p.start:
		p.start = true
		return nil
	case !p.header && text == "allowlist:":
		p.header = true
		return nil
	case !p.header:
		return p.errorf(`want "allowlist:"`)
	case strings.HasPrefix(rest, "- "):
		return p.beginEntry(indent, rest)
	case p.entry.open && indent == p.entry.indent:
		return p.field(rest)
	}
	return p.errorf(`want an entry of the list, "- {address: HOST, port: PORT}"`)
}

// beginEntry takes the line of a dash.
func (p *allowlistParser) beginEntry(indent int, rest string) error {
	if err := p.endEntry(); err != nil {
		return err
	}
	if len(p.targets) == 0 {
		p.indent = indent
	}
	if indent != p.indent {
		return p.errorf("the entry is not indented as the first one is")
	}
	if len(p.targets) == maxAllowlistEntries {
		return p.errorf("more than %d entries", maxAllowlistEntries)
	}
	body := strings.TrimLeft(rest[1:], " ")
	p.entry = fields{open: true, indent: indent + len(rest) - len(body)}
	flow, ok := strings.CutPrefix(body, "{")
	if !ok {
		return p.field(body)
	}
	flow, ok = strings.CutSuffix(flow, "}")
	if !ok {
		return p.errorf(`want "}" at the end of the line`)
	}
	for part := range strings.SplitSeq(flow, ",") {
		if err := p.field(strings.Trim(part, " ")); err != nil {
			return err
		}
	}
	return p.endEntry()
}

// field takes one "key: value".
func (p *allowlistParser) field(s string) error {
	key, value, ok := strings.Cut(s, ": ")
	value = strings.TrimLeft(value, " ")
	if !ok || value == "" {
		return p.errorf(`want "address: HOST" or "port: PORT"`)
	}
	switch key {
	case "address":
		if p.entry.host != "" {
			return p.errorf("a second address in one entry")
		}
		host, ok := canonicalHost(unquote(value))
		if !ok {
			return p.errorf("the address is neither a host name nor an IP address")
		}
		p.entry.host = host
	case "port":
		if p.entry.port != "" {
			return p.errorf("a second port in one entry")
		}
		port, ok := parsePort(value)
		if !ok {
			return p.errorf("the port is not a number from 1 to 65535, without quotes")
		}
		p.entry.port = strconv.Itoa(int(port))
	default:
		return p.errorf("a key that is neither address nor port")
	}
	return nil
}

// unquote takes quotes off. What would need escapes inside them, or has them
// elsewhere, is no host name.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == s[len(s)-1] && (s[0] == '"' || s[0] == '\'') {
		return s[1 : len(s)-1]
	}
	return s
}

// endEntry closes the entry that is open, if any.
func (p *allowlistParser) endEntry() error {
	e := p.entry
	p.entry = fields{}
	switch {
	case !e.open:
		return nil
	case e.host == "":
		return p.errorf("an entry without an address ends here")
	case e.port == "":
		return p.errorf("an entry without a port ends here")
	}
	p.targets = append(p.targets, net.JoinHostPort(e.host, e.port))
	return nil
}
