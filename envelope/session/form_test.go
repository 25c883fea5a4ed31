package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// TestConfigIsStrict changes a good configuration, written in hexadecimal.
func TestConfigIsStrict(t *testing.T) {
	good := hex.EncodeToString(loadVectors(t).Configs[0].Encoding)
	for name, change := range map[string][2]string{
		"version 2":               {"a70101", "a70102"},
		"another KEM":             {"021820", "021821"},
		"another KDF":             {"0301", "0303"},
		"another AEAD":            {"0402", "0401"},
		"a number in longer form": {"a70101", "a7011801"},
		"a map of unknown length": {"a7", "bf"},
		"a pair missing":          {"a70101", "a6"},
		"a pair twice":            {"a70101", "a801010101"},
		"an unknown pair":         {"a70101", "a8000001" + "01"},
		"pairs in another order":  {"03010402", "04020301"},
		"a tag":                   {"a70101", "d9d9f7a70101"},
		"a short key":             {"055820", "05581f"},
		"no info":                 {"0740", "07f6"},
		"info as text":            {"0740", "0760"},
		"a byte behind":           {"0740", "074000"},
		"no end":                  {"061a", "0600"},
		"an end in ten thousand":  {"061a", "061b0000003afff4417f"},
	} {
		raw := strings.Replace(good, change[0], change[1], 1)
		b, err := hex.DecodeString(raw)
		if err != nil || raw == good {
			t.Fatalf("%s: nothing is changed", name)
		}
		if c, err := parseConfig(b); c != nil || !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPlaintextIsStrict has plaintexts that no sender of this package seals.
func TestPlaintextIsStrict(t *testing.T) {
	for _, b := range []string{"", "\x00\x00\x00", "\x00\x00\x00\x02x", "\x00\x00\x00\x01x\x01", "\x00\x00\x00\x01x\x00\x00\x01", "\xff\xff\xff\xffx"} {
		if payload, err := unpad([]byte(b)); payload != nil || !errors.Is(err, ErrOpen) {
			t.Errorf("%x: %x, %v", b, payload, err)
		}
	}
	large := make([]byte, 4+MaxPayload+1)
	large[1], large[4] = 0x30, 0
	large[3] = 1
	if _, err := unpad(large); !errors.Is(err, ErrOpen) {
		t.Errorf("over the limit: %v", err)
	}
	if payload, err := unpad([]byte("\x00\x00\x00\x01x\x00\x00")); err != nil || string(payload) != "x" {
		t.Errorf("%x, %v", payload, err)
	}
	for _, b := range []string{
		"\x00\x00\x00\x00\x00", "\x04\x00\x00\x00\x00", "\x01\x00\x00\x00\x02x", "\x01\x00\x00\x00\x01x\x01", "\x01\xff\xff\xff\xffx",
		"\x02\x00\x00\x00\x01x", "\x02\x00\x00\x00\x00\x01",
	} {
		if _, content, err := unwrapContent([]byte(b)); content != nil || !errors.Is(err, ErrSegment) {
			t.Errorf("%x: %x, %v", b, content, err)
		}
	}
	// Authentic segments that no Response makes.
	v := loadVectors(t).Exchanges[0]
	for _, s := range []struct {
		kind    byte
		content string
		last    bool
	}{{kindEnd, "", false}, {kindError, "\xa2\x01`\x02`", false}, {kindEnd, "x", true}, {9, "", true}} {
		seal, err := newSequence(v.open(t).export, requestDigest(v.Request), v.Nonce)
		if err != nil {
			t.Fatal(err)
		}
		segment, err := seal.seal(nil, s.kind, []byte(s.content), s.last, 0)
		if err != nil {
			t.Fatal(err)
		}
		open, _ := newSequence(v.open(t).export, requestDigest(v.Request), v.Nonce)
		if _, content, _, err := open.open(segment); content != nil || !errors.Is(err, ErrSegment) {
			t.Errorf("kind %d, last %v: %v", s.kind, s.last, err)
		}
	}
	for _, raw := range []string{"", "\xa2\x01`\x02`\x00", "\xa1\x01`", "\xa2\x01\x78\x01x\x02`", "\xa2\x01\x78\x41" + strings.Repeat("x", 65) + "\x02`", "\xa2\x01a\xff\x02`"} {
		if e, err := parseError([]byte(raw)); e != nil || !errors.Is(err, ErrSegment) {
			t.Errorf("%x: %v", raw, err)
		}
	}
}

func TestIsLast(t *testing.T) {
	for _, v := range loadVectors(t).Exchanges {
		for i, s := range v.Segments {
			if IsLast(s.Segment, i == 0) != s.Last {
				t.Errorf("%s: segment %d", v.Name, i)
			}
		}
	}
	for _, b := range [][]byte{nil, {0}, bytes.Repeat([]byte{1}, responseHeader)} {
		if IsLast(b, true) {
			t.Errorf("%x", b)
		}
	}
	if IsLast(nil, false) || !IsLast([]byte{1}, false) {
		t.Error("a segment of a byte")
	}
}
