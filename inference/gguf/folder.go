package gguf

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Files of a folder with weights.
const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
	pickleFile = "pytorch_model.bin"
	maxShards  = 1 << 10
)

// checkpoint is the open weights of a folder, by name without the prefix
// "transformer.", which some models have and others have not.
type checkpoint struct {
	tensors map[string]*weights
	files   []fs.File
}

func (c *checkpoint) close() {
	for _, f := range c.files {
		f.Close() // it has only been read
	}
}

// openCheckpoint opens the one file, or those that the index names.
func openCheckpoint(folder fs.FS) (*checkpoint, error) {
	c := &checkpoint{tensors: make(map[string]*weights)}
	err := c.open(folder, singleFile, nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = c.openShards(folder)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// openShards opens the files that the index names.
func (c *checkpoint) openShards(folder fs.FS) error {
	var index struct {
		Files map[string]string `json:"weight_map"` // by name of the tensor
	}
	err := readJSON(folder, indexFile, maxIndex, &index)
	if errors.Is(err, fs.ErrNotExist) {
		if _, pickle := fs.Stat(folder, pickleFile); pickle == nil {
			return unsupported(pickleFile, "weights in Python's pickle format; %s is needed", singleFile)
		}
		return &fs.PathError{Op: "open", Path: singleFile, Err: fs.ErrNotExist}
	}
	if err != nil {
		return err
	}
	shards := slices.Compact(slices.Sorted(maps.Values(index.Files)))
	if len(shards) == 0 {
		return malformed(indexFile, "it names no files")
	}
	if len(shards) > maxShards {
		return overLimit(indexFile, "%d files, at most %d are read", len(shards), maxShards)
	}
	for _, shard := range shards {
		if !fs.ValidPath(shard) || strings.ContainsAny(shard, `/\`) || !strings.HasSuffix(shard, ".safetensors") {
			return malformed(indexFile, "%s is no name of a safetensors file beside it", quote(shard))
		}
		if err := c.open(folder, shard, index.Files); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(index.Files)) {
		if _, ok := c.tensors[plainName(name)]; !ok {
			return malformed(indexFile, "tensor %s is not in %s", quote(name), quote(index.Files[name]))
		}
	}
	return nil
}

// open opens a file and adds its tensors. If there is an index, each of them
// must be where that says.
func (c *checkpoint) open(folder fs.FS, name string, index map[string]string) error {
	f, err := folder.Open(name)
	if err != nil {
		return err
	}
	c.files = append(c.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, ok := f.(io.ReaderAt)
	if !ok || !info.Mode().IsRegular() {
		return unsupported(name, "it cannot be read at an offset")
	}
	tensors, err := readSafetensors(name, r, info.Size())
	if err != nil {
		return err
	}
	for _, w := range tensors {
		if index != nil && index[w.name] != name {
			return malformed(name, "tensor %s is not where the index says", quote(w.name))
		}
		plain := plainName(w.name)
		if _, twice := c.tensors[plain]; twice {
			return malformed(name, "tensor %s is there twice", quote(plain))
		}
		c.tensors[plain] = w
	}
	return nil
}

func plainName(name string) string { return strings.TrimPrefix(name, "transformer.") }
