package gguf_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// What a model file says of itself, and where its weights are, is read before a
// native library gets to see it. A damaged file is refused.
func ExampleRead() {
	file, err := os.Open("../../examples/chatbot/model/larkfield-bloom-q8_0.gguf")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		log.Fatal(err)
	}
	f, err := gguf.Read(file, info.Size())
	if err != nil {
		log.Fatal(err)
	}
	architecture, _ := f.Metadata.Text("general.architecture")
	layers, _ := f.Metadata.Uint("bloom.block_count") // of whatever width it is in the file
	fmt.Println(architecture, layers, len(f.Tensors))
	if t, ok := f.Tensor("output_norm.weight"); ok {
		n, err := io.Copy(io.Discard, f.Data(t)) // its weights
		fmt.Println(t.Type, t.Dims, n, err)
	}

	_, err = gguf.Read(file, info.Size()-1)
	fmt.Println(errors.Is(err, gguf.ErrFormat))
	// Output:
	// bloom 6 77
	// f32 [192] 768 <nil>
	// true
}

// A folder as Hugging Face has it becomes a file for libllama. It is complete
// only when Convert has returned without an error, and then gets its name.
func ExampleConvert() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	folder := tiny() // a model with one layer; else os.DirFS("bloom-560m")
	path := filepath.Join(dir, "tiny-q8_0.gguf")
	out, err := os.Create(path + ".part")
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	var size int64
	err = gguf.Convert(context.Background(), folder, out, gguf.Options{
		Type: gguf.Q8_0, Name: "Tiny", Progress: func(_, total int64) { size = total },
	})
	if err := errors.Join(err, out.Close()); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		log.Fatal(err)
	}
	info, err := os.Stat(path)
	fmt.Println(info.Size() == size, err)

	folder["config.json"].Data = []byte(`{"model_type": "gpt2"}`)
	err = gguf.Convert(context.Background(), folder, io.Discard, gguf.Options{})
	fmt.Println(errors.Is(err, gguf.ErrUnsupported))
	var refused *gguf.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Where)
	}
	// Output:
	// true <nil>
	// true
	// config.json
}

// A model gets another name. The weights stay as they are.
func ExampleWrite() {
	data, err := os.ReadFile("../../examples/chatbot/model/larkfield-bloom-q8_0.gguf")
	if err != nil {
		log.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		log.Fatal(err)
	}
	for i, kv := range f.Metadata {
		if kv.Key == "general.name" {
			f.Metadata[i].Value = "Help desk"
		}
	}
	var tensors []gguf.Source
	for _, t := range f.Tensors {
		tensors = append(tensors, gguf.Source{Tensor: t, Data: bytes.NewReader(data[t.Offset:][:t.Size])})
	}
	var renamed bytes.Buffer
	if err := gguf.Write(&renamed, f.Metadata, tensors); err != nil {
		log.Fatal(err)
	}

	f, err = gguf.Read(bytes.NewReader(renamed.Bytes()), int64(renamed.Len()))
	if err != nil {
		log.Fatal(err)
	}
	name, _ := f.Metadata.Text("general.name")
	fmt.Println(name, len(f.Tensors) == len(tensors))
	// Output: Help desk true
}
