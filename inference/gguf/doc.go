// Package gguf reads, writes and makes GGUF files, the model files of
// llama.cpp, without any dependency.
//
// # Reading
//
// [Read] shows what a file is before a native library gets to see it: its
// metadata and the tensors it has.
//
//	f, err := gguf.Read(file, size)
//	if err != nil {
//		return err
//	}
//	name, _ := f.Metadata.Text("general.name")
//	for _, t := range f.Tensors {
//		fmt.Println(t.Name, t.Type, t.Dims)
//	}
//
// A file is untrusted input. Read never panics, and refuses whatever does not
// follow the GGUF specification of ggml, versions 2 and 3, little-endian:
// lengths beyond the file, tensors that overlap, leave gaps or are not
// aligned, names that are there twice, arrays of arrays, bytes at the end that
// belong to nothing. It reads at most
//
//	128 MiB    before the tensors' data, which it does not read
//	16,384     metadata pairs, with keys of at most 65,535 bytes
//	4,194,304  elements of an array
//	65,536     tensors, with names of at most 64 bytes and 1 to 4 dimensions
//	1 MiB      of alignment, which is a power of two from 8
//
// and needs memory for about three times what it reads.
//
// # Converting
//
// [Convert] makes a GGUF file of a model of the BLOOM architecture in the form
// in which Hugging Face has it:
//
//	err := gguf.Convert(ctx, os.DirFS("bloom-560m"), out, gguf.Options{
//		Type: gguf.Q8_0,
//		Name: "BLOOM 560M",
//	})
//
// Names, metadata and arithmetic are those of llama.cpp's own converter. Three
// things differ: what that one takes from a model card comes from [Options];
// bloom.vocab_size and the tokenizer's add_bos_token and add_eos_token are
// always there; and the embedding is not written a second time as an output
// matrix, since libllama uses the one for both.
//
//   - Matrices become F32, F16 or Q8_0. Vectors, biases and norms alike, stay
//     F32.
//   - F16 rounds to the nearest, half to even. A weight that is too large for
//     it is refused; ggml would make it infinite.
//   - Q8_0 is computed as ggml's reference does, in single precision: the
//     scale is the largest magnitude of a block divided by 127, quotients are
//     rounded half away from zero.
//   - BLOOM's fused matrix of queries, keys and values is interleaved by head;
//     its rows are put into the order that libllama wants.
//   - The output matrix is the embedding and is left out, unless config.json
//     says that it is one of its own.
//   - If the embedding has more rows than the tokenizer has tokens, as in
//     bloom-560m, tokens named [PAD250680] and so on, of type "unused", stand
//     for the others.
//
// Any other architecture, tokenizer or setting that libllama would compute
// differently is refused with [ErrUnsupported]. So are weights in Python's
// pickle format, since to read them is to run a program; convert those to
// safetensors elsewhere. Weights that are missing, left over, of another shape
// than config.json says, or not finite are refused with [ErrFormat].
//
// Convert reads at most 64 MiB of tokenizer.json with 1,048,576 tokens, 16 MiB
// of a safetensors header or index, 1,024 shards and 1 MiB of each other file,
// of models with at most 1,024 layers and a hidden size of 65,536. Weights
// pass through in pieces; besides some ten times the size of tokenizer.json,
// it needs about 4 MiB of memory whatever the size of the model.
//
// # What this package does not protect from
//
// A well-formed file can hold bad weights, and metadata says whatever its
// author liked: whether to trust a model is a matter of its digest (see
// llama.Options.Digest). Read checks the frame of a file, not every rule by
// which libllama judges the values of metadata. Folders are read while they
// are converted: nobody else should write to them meanwhile.
package gguf
