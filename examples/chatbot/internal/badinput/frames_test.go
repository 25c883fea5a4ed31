package badinput

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// The frames of vsockrpc/PROTOCOL.md, written by hand: its own code does not
// write bad ones.
const (
	typeHello  = 0
	typeOpen   = 1
	typeData   = 2
	typeStatus = 3
	typeReset  = 4
	typeWindow = 5
	typePing   = 6
	typeGoAway = 8

	endMessage = 1
	endStream  = 2
	sized      = 4
)

func frame(kind, flags byte, stream uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = append(b, kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return string(b) + payload
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

var hello = frame(typeHello, 0, 0, "nitroseal-rpc/1\n")

// open is OPEN of a method with what follows its name.
func open(stream uint32, method, rest string) string {
	return frame(typeOpen, 0, stream, strings.Repeat("\x00", 8)+string([]byte{byte(len(method))})+method+rest)
}

// attestOpen begins a good call.
var attestOpen = open(1, sessionrpc.MethodAttest, "\x00")

// frameRow is bytes that break the protocol.
type frameRow struct {
	input, bytes string
	// cut closes the sending side behind them.
	cut bool
	// answer is what the server sends back before it ends the connection.
	answer string
}

// goAway is how the server answers a peer that breaks the protocol; silent is a
// connection that just ends.
const (
	goAway = "GOAWAY 13"
	silent = "–"
)

func frameRows(canary string) []frameRow {
	pair := func(key, value string) string {
		return string([]byte{byte(len(key))}) + key + string(binary.BigEndian.AppendUint16(nil, uint16(len(value)))) + value
	}
	pairs := func(n int) (s string) {
		for i := range n {
			s += pair(fmt.Sprint(i), canary)
		}
		return string([]byte{byte(n)}) + s
	}
	return []frameRow{
		{"nothing, then the end", "", true, silent},
		{"an HTTP request", "POST / HTTP/1.1\r\nHost: " + canary + "\r\n\r\n", false, goAway},
		{"the beginning of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + canary, false, goAway},
		{"half a HELLO, then the end", hello[:9], true, silent},
		{"a HELLO of another version", frame(typeHello, 0, 0, "nitroseal-rpc/2\n"), false, goAway},
		{"a HELLO of another length", frame(typeHello, 0, 0, canary), false, goAway},
		{"a call before HELLO", attestOpen, false, goAway},
		{"a second HELLO", hello + hello, false, goAway},
		{"a frame of 4 GiB", hello + "\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01", false, goAway},
		{"a frame one byte over the limit", hello + string(binary.BigEndian.AppendUint32(nil, 32759)) + "\x02\x00\x00\x00\x00\x01", false, goAway},
		{"a type that is not there", hello + frame(10, 0, 1, canary), false, goAway},
		{"flags on OPEN", hello + frame(typeOpen, 1, 1, canary), false, goAway},
		{"unknown flags on DATA", hello + attestOpen + frame(typeData, 8, 1, canary), false, goAway},
		{"half a frame, then the end", hello + attestOpen[:20], true, silent},
		{"OPEN on stream 0", hello + frame(typeOpen, 0, 0, canary), false, goAway},
		{"OPEN of stream 2 before 1", hello + open(2, sessionrpc.MethodAttest, "\x00"), false, goAway},
		{"OPEN of the same stream again", hello + attestOpen + attestOpen, false, goAway},
		{"OPEN with nothing in it", hello + frame(typeOpen, 0, 1, ""), false, goAway},
		{"OPEN without a name", hello + open(1, "", "\x00"), false, goAway},
		{"OPEN with a name that is not UTF-8", hello + open(1, canary+"\xff", "\x00"), false, goAway},
		{"OPEN with a name that is longer than the frame", hello + frame(typeOpen, 0, 1, strings.Repeat("\x00", 8)+"\xff"+canary), false, goAway},
		{"OPEN with 65 pairs of metadata", hello + open(1, sessionrpc.MethodAttest, pairs(65)), false, goAway},
		{"OPEN with the same key twice", hello + open(1, sessionrpc.MethodAttest, "\x02"+pair("a", canary)+pair("a", "b")), false, goAway},
		{"OPEN with an empty key", hello + open(1, sessionrpc.MethodAttest, "\x01"+pair("", canary)), false, goAway},
		{"OPEN with bytes behind its end", hello + open(1, sessionrpc.MethodAttest, "\x00"+canary), false, goAway},
		{"DATA on a stream that was never opened", hello + frame(typeData, endMessage, 7, canary), false, goAway},
		{"DATA on stream 0", hello + frame(typeData, endMessage, 0, canary), false, goAway},
		{"DATA inside a message that says SIZE again", hello + attestOpen + frame(typeData, sized, 1, number(100)+canary) + frame(typeData, sized, 1, number(100)+"b"), false, goAway},
		{"a message longer than it says", hello + attestOpen + frame(typeData, sized, 1, number(20)+canary) + frame(typeData, endMessage, 1, canary), false, goAway},
		{"a message shorter than it says", hello + attestOpen + frame(typeData, sized, 1, number(100)+canary) + frame(typeData, endMessage, 1, "b"), false, goAway},
		{"a message of several frames that does not say its length", hello + attestOpen + frame(typeData, 0, 1, canary), false, goAway},
		{"END_STREAM inside a message", hello + attestOpen + frame(typeData, sized, 1, number(100)+canary) + frame(typeData, endStream, 1, ""), false, goAway},
		{"STATUS from a client", hello + attestOpen + frame(typeStatus, 0, 1, number(0)), false, goAway},
		{"STATUS of 2 bytes", hello + attestOpen + frame(typeStatus, 0, 1, "ab"), false, goAway},
		{"RESET with code 0", hello + attestOpen + frame(typeReset, 0, 1, number(0)), false, goAway},
		{"RESET with code 17", hello + attestOpen + frame(typeReset, 0, 1, number(17)), false, goAway},
		{"WINDOW of 0", hello + attestOpen + frame(typeWindow, 0, 1, number(0)), false, goAway},
		{"WINDOW over 2^30", hello + attestOpen + frame(typeWindow, 0, 1, number(1<<30+1)), false, goAway},
		{"PING of 7 bytes", hello + frame(typePing, 0, 0, "1234567"), false, goAway},
		{"PING on a stream", hello + frame(typePing, 0, 1, "12345678"), false, goAway},
	}
}

// runFrames runs frameRows, each on a connection of its own.
func runFrames(t *testing.T, w *world) (lines []line) {
	const name = "enclave: the protocol below any method"
	for i := range frameRows("") {
		canary := newCanary()
		r := frameRows(canary)[i]
		lines = append(lines, line{name, r.input, r.answer, "–", "ends"})
		t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
			t.Log(r.input)
			got, err := w.speak(t.Context(), r.bytes, r.cut)
			if err != nil || got != r.answer {
				t.Errorf("%s, %v; not %s", got, err, r.answer)
			}
			if w.log.contains(canary) {
				t.Error("a log has the canary")
			}
			if _, err := w.rpc.Call(t.Context(), sessionrpc.MethodAttest, []byte(goodAttest)); err != nil {
				t.Errorf("a good call afterwards: %v", err)
			}
		})
	}
	return lines
}

// speak sends bytes to the enclave, and tells the last frame that comes back
// before the server ends the connection, other than its HELLO.
func (w *world) speak(ctx context.Context, text string, cut bool) (string, error) {
	nc, err := vsockrpc.Dial(ctx, w.socket)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, text); err != nil {
		return "", err
	}
	if cut {
		if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			return "", err
		}
	}
	said, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
		return "", err
	}
	said, ok := bytes.CutPrefix(said, []byte(hello))
	if !ok && len(said) > 0 {
		return "", fmt.Errorf("it began with %x", said)
	}
	last := silent
	for len(said) >= 10 {
		n := 10 + int(binary.BigEndian.Uint32(said))
		if n > len(said) {
			return "", fmt.Errorf("half a frame: %x", said)
		}
		if last = fmt.Sprintf("frame of type %d", said[4]); said[4] == typeGoAway {
			last = fmt.Sprintf("GOAWAY %d", binary.BigEndian.Uint32(said[10:]))
		}
		said = said[n:]
	}
	return last, nil
}
