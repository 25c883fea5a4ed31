package gguf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
)

// Options says how to convert a model.
type Options struct {
	// Type is F32, F16 or Q8_0, for the matrices; vectors are always F32.
	// The zero value is F32.
	Type TensorType
	// Name is what the model calls itself (general.name). Empty leaves it
	// out, as with the following.
	Name string
	// Description is a sentence about the model (general.description).
	Description string
	// License is an SPDX expression in lower case (general.license).
	License string
	// Languages are two-letter codes of ISO 639 (general.languages).
	Languages []string
	// Progress is called after each piece of about 1 MiB with the number of
	// bytes written so far and the size that the file will have. nil means
	// not to.
	Progress func(done, total int64)
}

// Convert reads a model of the BLOOM architecture from a folder as Hugging
// Face has it and writes it to w as a GGUF file for libllama.
//
// The folder holds config.json, tokenizer.json and model.safetensors, or
// model.safetensors.index.json with the shards that it names; the files with
// weights must be io.ReaderAt, as those of os.DirFS are. Weights may be F32,
// F16 or BF16. Everything is checked against config.json before the first
// byte is written; a failure after that leaves an unfinished file in w.
//
// Weights pass through in pieces: besides the vocabulary, Convert needs about
// 4 MiB, whatever the size of the model.
//
// The errors are *Error, ctx's own, those of w and of the folder's files;
// fs.ErrNotExist is about a file that the folder lacks.
func Convert(ctx context.Context, folder fs.FS, w io.Writer, opts Options) error {
	fileType, ok := map[TensorType]uint32{F32: 0, F16: 1, Q8_0: 7}[opts.Type]
	if !ok {
		return unsupported("Options.Type", "%v, not f32, f16 or q8_0", opts.Type)
	}
	if folder == nil {
		return errors.New("gguf: no folder to convert")
	}
	if w == nil {
		return errNoWriter
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := readConfig(folder)
	if err != nil {
		return err
	}
	tok, err := readTokenizer(folder, c)
	if err != nil {
		return err
	}
	weights, err := openCheckpoint(folder)
	if err != nil {
		return err
	}
	defer weights.close()
	parts := c.parts()
	found, err := weights.match(parts)
	if err != nil {
		return err
	}

	conv := &converter{values: make([]float32, pieceWeights)}
	sources := make([]Source, len(parts))
	count := uint64(0)
	for i, p := range parts {
		t := p.written(opts.Type)
		sources[i] = Source{t, &stream{conv, found[i], p.spans(c.Heads), t.Type}}
		count += t.Elements()
	}
	metadata := append(opts.metadata(c, count, fileType), tok.metadata()...)
	head, err := newHeader(metadata, sources)
	if err != nil {
		return err
	}
	return head.write(&output{ctx: ctx, w: w, total: head.fileSize, progress: opts.Progress}, sources)
}

// metadata returns the pairs about the model, in the order of the files that
// llama.cpp's own converter makes.
func (o *Options) metadata(c *config, weights uint64, fileType uint32) Metadata {
	m := Metadata{{"general.architecture", "bloom"}, {"general.type", "model"}}
	for _, kv := range [][2]string{{"name", o.Name}, {"description", o.Description}, {"license", o.License}} {
		if kv[1] != "" {
			m = append(m, KeyValue{"general." + kv[0], kv[1]})
		}
	}
	m = append(m, KeyValue{"general.size_label", sizeLabel(weights)})
	if len(o.Languages) > 0 {
		m = append(m, KeyValue{"general.languages", o.Languages})
	}
	return append(m, Metadata{
		{"bloom.context_length", uint32(c.Context)},
		{"bloom.embedding_length", uint32(c.Hidden)},
		{"bloom.feed_forward_length", uint32(4 * c.Hidden)},
		{"bloom.block_count", uint32(c.Layers)},
		{"bloom.attention.head_count", uint32(c.Heads)},
		{"bloom.attention.head_count_kv", uint32(c.Heads)},
		{"bloom.attention.layer_norm_epsilon", float32(c.Epsilon)},
		{"bloom.vocab_size", uint32(c.Vocab)},
		{"general.file_type", fileType},
		{"general.quantization_version", uint32(2)},
	}...)
}

// sizeLabel rounds a number of weights to two digits before a letter, or to
// more if the part before the point has them: "3.2M", "559M".
func sizeLabel(weights uint64) string {
	n, letter := float64(weights)/1e3, "K"
	switch {
	case weights > 1e12:
		n, letter = n/1e9, "T"
	case weights > 1e9:
		n, letter = n/1e6, "B"
	case weights > 1e6:
		n, letter = n/1e3, "M"
	}
	digits := 0
	if math.RoundToEven(n) < 10 {
		digits = 1
	}
	if math.RoundToEven(n) < 1 {
		digits = 2
	}
	return fmt.Sprintf("%.*f%s", digits, n, letter)
}

// output is the destination: it counts, and ends the work when ctx ends.
type output struct {
	ctx         context.Context
	w           io.Writer
	done, total int64
	progress    func(done, total int64)
}

func (o *output) Write(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := o.w.Write(p)
	o.done += int64(n)
	if err == nil && o.progress != nil && n > 0 {
		o.progress(o.done, o.total)
	}
	return n, err
}

// pieceWeights is how many weights are in memory at once: 1 MiB of input in
// single precision, as much after widening, and at most as much as output. It
// is a multiple of a block.
const pieceWeights = 1 << 18

// converter has the buffers of a conversion, which its tensors use in turn.
type converter struct {
	in, out []byte
	values  []float32
}

// stream is one tensor on its way. It is an io.WriterTo.
type stream struct {
	*converter
	from  *weights
	spans []span
	to    TensorType
}

// WriteTo reads, converts and writes the tensor piece by piece. Several spans
// share a piece if they are short; none begins within a block, since a span
// is a number of whole rows.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	filled := 0
	flush := func() error {
		if err := s.encode(s.values[:filled]); err != nil {
			return err
		}
		filled = 0
		n, err := w.Write(s.out)
		total += int64(n)
		return err
	}
	for _, sp := range s.spans {
		for sp.count > 0 {
			n := min(sp.count, int64(pieceWeights-filled))
			if err := s.read(s.values[filled:filled+int(n)], sp.from); err != nil {
				return total, err
			}
			filled += int(n)
			sp.from, sp.count = sp.from+n, sp.count-n
			if filled == pieceWeights {
				if err := flush(); err != nil {
					return total, err
				}
			}
		}
	}
	if filled == 0 {
		return total, nil
	}
	return total, flush()
}

// read fills values with the tensor's weights from one on.
func (s *stream) read(values []float32, from int64) error {
	size := weightBytes[s.from.Type]
	n := len(values) * int(size)
	if cap(s.in) < n {
		s.in = make([]byte, n)
	}
	in := s.in[:n]
	if err := readFull(s.from.r, in, s.from.Range[0]+from*size, s.from.file); err != nil {
		return err
	}
	switch s.from.Type {
	case "F32":
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(in[4*i:]))
		}
	case "F16":
		for i := range values {
			values[i] = halfToFloat(binary.LittleEndian.Uint16(in[2*i:]))
		}
	case "BF16": // the upper half of a single-precision number
		for i := range values {
			values[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(in[2*i:])) << 16)
		}
	}
	return nil
}

// encode fills s.out. A weight that is not finite is refused: a model that has
// one is damaged, and answers nonsense.
func (s *stream) encode(values []float32) error {
	most := largestBits(values)
	largest := math.Float32frombits(most)
	where := "tensor " + quote(s.from.name)
	if most > math.Float32bits(math.MaxFloat32) {
		return malformed(where, "a weight is infinite or no number")
	}
	l := layouts[s.to]
	n := len(values) / int(l.weights) * int(l.bytes)
	s.out = slices.Grow(s.out[:0], n)[:n]
	switch s.to {
	case F32:
		for i, v := range values {
			binary.LittleEndian.PutUint32(s.out[4*i:], math.Float32bits(v))
		}
	case F16:
		if largest >= maxHalf {
			return unsupported(where, "weight %g is too large for f16", largest)
		}
		for i, v := range values {
			binary.LittleEndian.PutUint16(s.out[2*i:], floatToHalf(v))
		}
	case Q8_0:
		if largest >= maxHalf*127 {
			return unsupported(where, "weight %g is too large for q8_0", largest)
		}
		quantize(s.out, values)
	}
	return nil
}

// maxHalf is the least number that half precision rounds to infinity.
const maxHalf = 65520
