package vsockrpc

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// golden has the bytes of each frame, as PROTOCOL.md documents them. They must
// not change.
var golden = map[string][]byte{
	"HELLO":           appendHello(nil),
	"OPEN":            appendOpen(nil, 1, &open{timeout: 1500, method: []byte("echo")}),
	"OPEN, metadata":  appendOpen(nil, 2, &open{method: []byte("m"), metadata: Metadata{"k": "val"}}),
	"DATA, whole":     append(appendHeader(nil, header{2, frameData, flagEndMessage | flagEndStream, 1}), "hi"...),
	"DATA, first":     append(appendHeader(nil, header{6, frameData, flagSize, 1}), "\x00\x00\x00\x05hi"...),
	"DATA, last":      append(appendHeader(nil, header{3, frameData, flagEndMessage, 1}), "all"...),
	"DATA, no more":   appendHeader(nil, header{0, frameData, flagEndStream, 1}),
	"STATUS":          appendStatus(nil, frameStatus, 1, NotFound, "no"),
	"RESET":           append32(nil, frameReset, 1, uint32(Canceled)),
	"WINDOW":          append32(nil, frameWindow, 1, 65536),
	"PING":            append64(nil, framePing, 7),
	"PONG":            append64(nil, framePong, 7),
	"GOAWAY":          append32(nil, frameGoAway, 0, 0),
	"REFUSE":          appendStatus(nil, frameRefuse, 1, Unavailable, "off"),
	"STATUS, OK":      appendStatus(nil, frameStatus, 1, OK, ""),
	"GOAWAY, mistake": append32(nil, frameGoAway, 0, uint32(Internal)),
}

//go:embed testdata/frames.json
var goldenFile []byte // embedded, since tests in a guest have no files

func TestGoldenFrames(t *testing.T) {
	var want map[string]string
	if err := json.Unmarshal(goldenFile, &want); err != nil {
		t.Fatal(err)
	}
	types := map[frameType]bool{}
	for name, built := range golden {
		if got := hex.EncodeToString(built); got != strings.ReplaceAll(want[name], " ", "") {
			t.Errorf("%s is %s, want %s", name, got, want[name])
		}
		h, p, err := readFrame(bytes.NewReader(built))
		if err != nil || h.length != len(p) || len(p)+frameHeader != len(built) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		types[h.typ] = true
	}
	if len(want) != len(golden) || len(types) != int(frameRefuse)+1 {
		t.Errorf("%d frames in the file, %d here, of %d types", len(want), len(golden), len(types))
	}
}

func TestOpenRoundTrip(t *testing.T) {
	want := &open{timeout: 1<<64 - 1, method: []byte(strings.Repeat("é", 127)), metadata: Metadata{"a": "", "b": strings.Repeat("x", 4096), strings.Repeat("k", 255): "v"}}
	_, p, err := readFrame(bytes.NewReader(appendOpen(nil, 9, want)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseOpen(p)
	if err != nil || !reflect.DeepEqual(&got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range p {
		if _, err := parseOpen(p[:n]); err == nil {
			t.Fatalf("cut to %d bytes: accepted", n)
		}
	}
}

func TestFramesAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"too long":              "00007ff7" + "02" + "00" + "00000001",
		"absurd length":         "ffffffff" + "02" + "00" + "00000001",
		"unknown type":          "00000000" + "0a" + "00" + "00000001",
		"unknown flag":          "00000000" + "02" + "08" + "00000001",
		"flags on PING":         "00000008" + "06" + "01" + "00000000" + "0000000000000000",
		"DATA on stream 0":      "00000000" + "02" + "00" + "00000000",
		"PING on a stream":      "00000008" + "06" + "00" + "00000001" + "0000000000000000",
		"short WINDOW":          "00000002" + "05" + "00" + "00000001" + "0000",
		"short STATUS":          "00000003" + "03" + "00" + "00000001" + "000000",
		"long STATUS":           "00000405" + "03" + "00" + "00000001",
		"cut header":            "000000",
		"cut payload":           "00000004" + "05" + "00" + "00000001" + "00",
		"GOAWAY on a stream":    "00000004" + "08" + "00" + "00000001" + "00000000",
		"HELLO of other length": "00000001" + "00" + "00" + "00000000" + "00",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := readFrame(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(name, "cut") && !errors.Is(err, errProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatusText(t *testing.T) {
	for _, message := range []string{"", strings.Repeat("x", 5000), strings.Repeat("x", maxStatus-1) + "é", "bad \xff text"} {
		_, p, err := readFrame(bytes.NewReader(appendStatus(nil, frameStatus, 1, Internal, message)))
		if err != nil {
			t.Fatal(err)
		}
		if code, text, err := parseStatus(p); err != nil || code != Internal || !strings.HasPrefix(message, text) {
			t.Errorf("%.20q: %v, %.20q, %v", message, code, text, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	var all []byte
	for _, g := range golden {
		f.Add(g)
		all = append(all, g...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			h, p, err := readFrame(r)
			if err != nil {
				return
			}
			switch h.typ {
			case frameOpen:
				if o, err := parseOpen(p); err == nil {
					_, again, err := readFrame(bytes.NewReader(appendOpen(nil, h.stream, &o)))
					if err != nil || len(again) != len(p) {
						t.Fatalf("OPEN does not survive a round trip: %v", err)
					}
				}
			case frameStatus:
				if code, text, err := parseStatus(p); err == nil && !bytes.Equal(appendStatus(nil, frameStatus, h.stream, code, text)[frameHeader:], p) {
					t.Fatal("STATUS does not survive a round trip")
				}
			}
		}
	})
}

// FuzzServer gives a server the bytes of a hostile client.
func FuzzServer(f *testing.F) {
	var all []byte
	for _, name := range []string{"HELLO", "OPEN", "DATA, whole", "PING", "WINDOW", "RESET"} {
		all = append(all, golden[name]...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newConn(nil, 1<<16, -1, nil)
		c.streams[1], c.lastID = newStream(c, 1), 1
		c.onOpen = func(id uint32, _ open) error {
			c.streams[id] = newStream(c, id)
			return nil
		}
		for r := bytes.NewReader(in); ; {
			h, p, err := readFrame(r)
			if err != nil {
				return
			}
			if c.frame(h, p) != nil {
				return
			}
			held := 0
			for _, s := range c.streams {
				for _, m := range s.queue {
					held += len(m.data) + frameHeader
				}
			}
			if held > len(c.streams)*initialWindow {
				t.Fatalf("%d bytes held for %d streams", held, len(c.streams))
			}
		}
	})
}

// readFrame reads one frame without a buffer of its own.
func readFrame(r io.Reader) (header, []byte, error) {
	var raw [frameHeader]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(&raw)
	if err != nil {
		return h, nil, err
	}
	p := make([]byte, h.length)
	_, err = io.ReadFull(r, p)
	return h, p, err
}
