package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// checkpointFile is a safetensors file of a header and some bytes of data.
func checkpointFile(header string, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, size)...)
}

func TestSafetensors(t *testing.T) {
	const two = `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}}`
	one := func(description string) []byte { return checkpointFile(`{"a":`+description+`}`, 8) }
	long := make([]byte, 8)
	binary.LittleEndian.PutUint64(long, 1<<63)
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"two":                  {checkpointFile(two, 12), nil},
		"spaces":               {checkpointFile(two+"   ", 12), nil},
		"none":                 {checkpointFile("{}", 0), nil},
		"metadata":             {checkpointFile(`{"__metadata__":{"format":"pt"}}`, 0), nil},
		"empty tensor":         {checkpointFile(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0), nil},
		"a number":             {checkpointFile(`{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}`, 2), nil},
		"other order":          {checkpointFile(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 8), nil},
		"nothing":              {nil, ErrFormat},
		"seven bytes":          {make([]byte, 7), ErrFormat},
		"no header":            {checkpointFile("", 0), ErrFormat},
		"header is cut":        {checkpointFile(two, 0)[:50], ErrFormat},
		"endless header":       {long, ErrFormat},
		"large header":         {checkpointFile("{"+strings.Repeat(" ", maxIndex)+"}", 0), ErrLimit},
		"space first":          {checkpointFile(" {}", 0), ErrFormat},
		"an array":             {checkpointFile("[]", 0), ErrFormat},
		"two objects":          {checkpointFile("{}{}", 0), ErrFormat},
		"no JSON":              {checkpointFile(`{"a"}`, 0), ErrFormat},
		"data too short":       {checkpointFile(two, 11), ErrFormat},
		"data too long":        {checkpointFile(two, 13), ErrFormat},
		"a gap":                {checkpointFile(strings.Replace(two, "[8,12]", "[10,14]", 1), 14), ErrFormat},
		"overlap":              {checkpointFile(strings.Replace(two, "[8,12]", "[4,8]", 1), 8), ErrFormat},
		"name twice":           {checkpointFile(strings.Replace(two, `"b"`, `"a"`, 1), 12), ErrFormat},
		"name twice, escaped":  {checkpointFile(strings.Replace(two, `"b"`, `"\u0061"`, 1), 12), ErrFormat},
		"description a number": {one("1"), ErrFormat},
		"metadata is a number": {checkpointFile(`{"__metadata__":1}`, 0), ErrFormat},
		"many tensors":         {checkpointFile(manyTensors(), 0), ErrLimit},
		"type unknown":         {one(`{"dtype":"F64","shape":[1],"data_offsets":[0,8]}`), ErrUnsupported},
		"type missing":         {one(`{"shape":[1],"data_offsets":[0,8]}`), ErrUnsupported},
		"shape missing":        {one(`{"dtype":"F32","data_offsets":[0,8]}`), ErrFormat},
		"shape negative":       {one(`{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}`), ErrFormat},
		"shape overflows":      {one(`{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}`), ErrFormat},
		"shape of five":        {one(`{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]}`), ErrFormat},
		"range of one":         {one(`{"dtype":"F32","shape":[2],"data_offsets":[8]}`), ErrFormat},
		"range negative":       {one(`{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}`), ErrFormat},
		"range overflows":      {one(`{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775807,-9223372036854775801]}`), ErrFormat},
		"range too short":      {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,7]}`), ErrFormat},
		"range is a fraction":  {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8.5]}`), ErrFormat},
	} {
		tensors, err := readSafetensors("x", bytes.NewReader(tt.data), int64(len(tt.data)))
		if !errors.Is(err, tt.want) || err != nil && tensors != nil {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
}

func manyTensors() string {
	var b strings.Builder
	b.WriteString(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)
	for i := range maxTensors {
		fmt.Fprintf(&b, `,"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i)
	}
	return b.String() + "}"
}

// FuzzSafetensors checks that tensors which are accepted fill the file.
func FuzzSafetensors(f *testing.F) {
	f.Add(checkpointFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}}`, 12))
	f.Add(checkpointFile(`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}  `, 2))
	f.Add(checkpointFile(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := readSafetensors("x", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok || tensors != nil {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		next := 8 + int64(binary.LittleEndian.Uint64(data))
		slices.SortFunc(tensors, func(a, b *weights) int { return int(a.Range[0]-b.Range[0])<<1 + int(a.Range[1]-b.Range[1]) })
		for _, w := range tensors {
			if w.Range[0] != next || w.Range[1]-w.Range[0] != w.count()*weightBytes[w.Type] {
				t.Errorf("%s: %d after %d", w.name, w.Range, next)
			}
			next = w.Range[1]
		}
		if next != int64(len(data)) {
			t.Errorf("%d bytes of %d", next, len(data))
		}
	})
}
