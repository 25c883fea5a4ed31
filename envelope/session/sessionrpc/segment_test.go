package sessionrpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
)

func FuzzReadSegment(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x00\x00\x01c"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x02a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		var again, buf []byte
		for {
			segment, err := readSegment(r, buf)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if segment != nil || !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, session.ErrTooLarge) {
					t.Error(err)
				}
				return
			}
			again = append(binary.BigEndian.AppendUint32(again, uint32(len(segment))), segment...)
			buf = segment
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}
