package llama_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// A model from a reader touches no disk, not even while it is read, and stays
// mapped without a descriptor. write_bytes of /proc/self/io counts what a
// process sends to any file system on storage; what it would leave in another
// one, such as a tmpfs, would be an open file while reading.
func TestReaderTouchesNoDisk(t *testing.T) {
	info, err := os.Stat(q8Model)
	if err != nil {
		t.Fatal(err)
	}
	r := openInChild(t, func(w io.Writer) error {
		f, err := os.Open(q8Model)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	if r.Written != 0 {
		t.Errorf("%d bytes went to storage", r.Written)
	}
	memories := 0
	for _, name := range r.FilesReading {
		if strings.HasPrefix(name, "/memfd:nitroseal-model") {
			memories++
		} else if strings.HasPrefix(name, "/") {
			t.Errorf("while reading, %s is open", name)
		}
	}
	if memories != 1 {
		t.Errorf("while reading, %q are open, without the memory", r.FilesReading)
	}
	for _, name := range r.FilesAfter {
		if strings.HasPrefix(name, "/") {
			t.Errorf("afterwards %s is open", name)
		}
	}
	if r.Writable || r.Mapped < info.Size()*9/10 {
		t.Errorf("%d of %d bytes are mapped, writable %v", r.Mapped, info.Size(), r.Writable)
	}
	if r.Text != deductibleAnswer {
		t.Errorf("it answers %q", r.Text)
	}
}

// maxOverhead is what loading a model may take beside the model.
const maxOverhead = 64 << 20

// A model of three types of weights, one of which libllama would keep a second
// time by itself. What counts is everything in the process at its peak: the
// model, the Go program, the library, its tables of a vocabulary of 2,560
// tokens, and a context of 256 tokens.
func TestPeakMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own, several times the program's")
	}
	metadata, tensors := largeModel(t)
	var size int64
	r := openInChild(t, func(w io.Writer) error {
		c := &counter{w: w}
		err := gguf.Write(c, metadata, tensors)
		size = c.n
		return err
	})
	const mib = 1 << 20
	t.Logf("model %d MiB; peak of the process %d MiB; without the model %d MiB", size/mib, r.Peak/mib, r.Own/mib)
	if size < 200*mib {
		t.Errorf("the model has %d MiB only", size/mib)
	}
	if r.Peak > size+maxOverhead {
		t.Errorf("the peak is the model's size and %d MiB", (r.Peak-size)/mib)
	}
	// The model's memory may not be mapped whole at the time of the peak, but
	// exists.
	if r.Own > maxOverhead {
		t.Errorf("beside the model there were %d MiB", r.Own/mib)
	}
	if r.Mapped < size*9/10 {
		t.Errorf("%d of %d MiB are mapped", r.Mapped/mib, size/mib)
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// largeModel is a BLOOM with the small model's vocabulary and wide layers,
// whose weights are computed when they are written.
func largeModel(t *testing.T) (gguf.Metadata, []gguf.Source) {
	t.Helper()
	f, err := os.Open(q8Model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	small, err := gguf.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	const width, inner = 1024, 16 << 10
	types := []gguf.TensorType{gguf.F16, gguf.F16, gguf.Q8_0, q4_0, q4_0, q4_0, q4_0}
	vocabulary := uint64(len(must(small.Metadata.Texts("tokenizer.ggml.tokens"))))
	changes := map[string]uint32{"bloom.embedding_length": width, "bloom.feed_forward_length": inner, "bloom.block_count": uint32(len(types))}
	var metadata gguf.Metadata
	for _, kv := range small.Metadata {
		if v, ok := changes[kv.Key]; ok {
			kv.Value = v
		}
		metadata = append(metadata, kv)
	}
	var all []gguf.Source
	matrix := func(name string, as gguf.TensorType, dims ...uint64) {
		tensor := gguf.Tensor{Name: name + ".weight", Type: as, Dims: dims}
		all = append(all, gguf.Source{Tensor: tensor, Data: weights{as, tensor.Elements(), 0}})
	}
	vector := func(name string, value float32, n uint64) {
		tensor := gguf.Tensor{Name: name, Type: gguf.F32, Dims: []uint64{n}}
		all = append(all, gguf.Source{Tensor: tensor, Data: weights{gguf.F32, n, value}})
	}
	norm := func(name string) {
		vector(name+".weight", 1, width)
		vector(name+".bias", 0, width)
	}
	matrix("token_embd", gguf.Q8_0, width, vocabulary)
	norm("token_embd_norm")
	for i, as := range types {
		b := fmt.Sprintf("blk.%d.", i)
		norm(b + "attn_norm")
		norm(b + "ffn_norm")
		for _, m := range []struct {
			name    string
			in, out uint64
		}{{"attn_qkv", width, 3 * width}, {"attn_output", width, width}, {"ffn_up", width, inner}, {"ffn_down", inner, width}} {
			matrix(b+m.name, as, m.in, m.out)
			vector(b+m.name+".bias", 0, m.out)
		}
	}
	norm("output_norm")
	return metadata, all
}

// q4_0 is blocks of 32 weights in 18 bytes (ggml's GGML_TYPE_Q4_0).
const q4_0 gguf.TensorType = 2

// weights are n weights of a type: of F32 all the same value, else small ones
// of no pattern.
type weights struct {
	as    gguf.TensorType
	n     uint64
	value float32
}

func (f weights) WriteTo(w io.Writer) (int64, error) {
	var written int64
	x := uint32(1)
	random := func() uint32 {
		x = x*1664525 + 1013904223
		return x
	}
	buf := make([]byte, 0, 64<<10)
	for left := f.n; left > 0; {
		buf = buf[:0]
		for left > 0 && len(buf) < cap(buf)-64 {
			switch f.as {
			case gguf.F32:
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(f.value))
				left--
			case gguf.F16: // of either sign, about 2^-7
				buf = binary.LittleEndian.AppendUint16(buf, uint16(random()>>16)&0x83ff|0x2000)
				left--
			default: // a scale of 2^-12 or 2^-8, then bytes
				bytes, scale := 32, uint16(0x0c00)
				if f.as == q4_0 {
					bytes, scale = 16, 0x1c00
				}
				buf = binary.LittleEndian.AppendUint16(buf, scale)
				for range bytes / 4 {
					buf = binary.LittleEndian.AppendUint32(buf, random())
				}
				left -= 32
			}
		}
		n, err := w.Write(buf)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("the small model lacks what it has")
	}
	return v
}
