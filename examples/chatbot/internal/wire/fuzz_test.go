package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// What is accepted has one encoding, which means the same again.
func roundTrip[T any](t *testing.T, in []byte, decode func([]byte) (T, error), encode func(T) ([]byte, error)) {
	t.Helper()
	kept := bytes.Clone(in)
	v, err := decode(in)
	if !bytes.Equal(in, kept) {
		t.Fatal("decoding changed its input")
	}
	if err != nil {
		return
	}
	again, err := encode(v)
	if err != nil || !bytes.Equal(again, in) {
		t.Fatalf("accepted, but encoded otherwise: %x, %v", again, err)
	}
}

func FuzzDecodeQuestion(f *testing.F) {
	for _, tt := range goldenQuestions {
		f.Add(unhex(f, tt.hex))
	}
	f.Add(unhex(f, "bf 01 a1 01 626869 02 a0 ff"))
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip(t, in, DecodeQuestion, EncodeQuestion) })
}

func FuzzDecodeChunk(f *testing.F) {
	for _, tt := range goldenChunks {
		f.Add(unhex(f, tt.hex))
	}
	f.Add(unhex(f, "a1 02 99 ffff"))
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip(t, in, DecodeChunk, EncodeChunk) })
}

func FuzzDecodeInfo(f *testing.F) {
	f.Add(unhex(f, goldenInfo))
	f.Add(unhex(f, "a7 0160 0260 0300 0400 0560 06f4 0760"))
	f.Fuzz(func(t *testing.T, in []byte) {
		i, err := DecodeInfo(in)
		if err != nil {
			return
		}
		// Names that another enclave did not cut are cut here.
		again, err := EncodeInfo(i)
		if err != nil {
			t.Fatalf("accepted, but not encoded: %v", err)
		}
		i.ModelName, i.Engine = short(i.ModelName), short(i.Engine)
		if back, err := DecodeInfo(again); err != nil || back != i {
			t.Fatalf("does not survive a round trip: %v", err)
		}
	})
}

func FuzzParseReceiptFile(f *testing.F) {
	f.Add([]byte(goldenReceipt))
	f.Add([]byte(goldenReceiptOfMessages))
	f.Add([]byte(`{"format":"nitroseal-chatbot-receipt-v2","receipt":null,"messages":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := ParseReceiptFile(in)
		if err != nil {
			return
		}
		again, err := file.Marshal()
		if err != nil {
			t.Fatalf("accepted, but cannot be written: %v", err)
		}
		if back, err := ParseReceiptFile(again); err != nil || !reflect.DeepEqual(back, file) {
			t.Fatalf("does not survive a round trip: %v", err)
		}
	})
}
