package gguf

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
)

// What Convert accepts at most of a folder.
const (
	maxConfig    = 1 << 20  // bytes of config.json and the other small files
	maxTokenizer = 64 << 20 // bytes of tokenizer.json
	maxIndex     = 16 << 20 // bytes of the index of shards, or a shard's header
	maxHidden    = 1 << 16
	maxLayers    = 1 << 10
	maxVocab     = 1 << 20
	maxContext   = 1 << 24 // tokens
)

// Files of a folder.
const (
	configFile     = "config.json"
	generationFile = "generation_config.json"
)

// config is what matters of config.json. Newer names of the same member are
// beside the older ones.
type config struct {
	ModelType     string   `json:"model_type"`
	Architectures []string `json:"architectures"`

	Hidden    int64   `json:"hidden_size"`
	Embed     int64   `json:"n_embed"`
	Layers    int64   `json:"n_layer"`
	Layers2   int64   `json:"num_hidden_layers"`
	Heads     int64   `json:"n_head"`
	Heads2    int64   `json:"num_attention_heads"`
	Vocab     int64   `json:"vocab_size"`
	Context   int64   `json:"seq_length"`
	Inner     int64   `json:"n_inner"`
	Epsilon   float64 `json:"layer_norm_epsilon"`
	Tied      *bool   `json:"tie_word_embeddings"`
	PostNorm  bool    `json:"apply_residual_connection_post_layernorm"`
	Quantized any     `json:"quantization_config"`

	tokenIDs
}

// tokenIDs are the ids of special tokens, in config.json and in
// generation_config.json. Some models have several tokens to end with.
type tokenIDs struct {
	Unk any `json:"unk_token_id"`
	Bos any `json:"bos_token_id"`
	Eos any `json:"eos_token_id"`
	Pad any `json:"pad_token_id"`
}

func readConfig(folder fs.FS) (*config, error) {
	c := &config{Epsilon: 1e-5} // the default of transformers
	if err := readJSON(folder, configFile, maxConfig, c); err != nil {
		return nil, err
	}
	if c.ModelType != "bloom" {
		return nil, unsupported(configFile, "model_type %s, not \"bloom\"", quote(c.ModelType))
	}
	known := func(name string) bool { return name == "BloomForCausalLM" || name == "BloomModel" }
	if len(c.Architectures) > 0 && !slices.ContainsFunc(c.Architectures, known) {
		return nil, unsupported(configFile, "architecture %s, not \"BloomForCausalLM\"", quote(c.Architectures[0]))
	}
	for _, m := range []struct {
		name          string
		value, second *int64
		most          int64
	}{
		{"hidden_size", &c.Hidden, &c.Embed, maxHidden},
		{"n_layer", &c.Layers, &c.Layers2, maxLayers},
		{"n_head", &c.Heads, &c.Heads2, maxHidden},
		{"vocab_size", &c.Vocab, new(int64), maxVocab},
	} {
		if *m.value == 0 {
			*m.value = *m.second
		}
		if *m.second != 0 && *m.second != *m.value {
			return nil, malformed(configFile, "%s is %d and also %d", m.name, *m.value, *m.second)
		}
		if *m.value <= 0 {
			return nil, malformed(configFile, "%s is missing or not positive", m.name)
		}
		if *m.value > m.most {
			return nil, overLimit(configFile, "%s is %d, at most %d is converted", m.name, *m.value, m.most)
		}
	}
	return c, c.check()
}

// check refuses what libllama would compute differently from transformers.
func (c *config) check() error {
	if c.Context == 0 {
		c.Context = c.Hidden // as llama.cpp's converter does
	}
	switch {
	case c.Context < 0:
		return malformed(configFile, "seq_length is negative")
	case c.Context > maxContext:
		return overLimit(configFile, "seq_length is %d, at most %d is converted", c.Context, maxContext)
	case c.Hidden%c.Heads != 0:
		return malformed(configFile, "%d heads do not divide hidden_size %d", c.Heads, c.Hidden)
	case c.Inner != 0 && c.Inner != 4*c.Hidden:
		return unsupported(configFile, "n_inner is %d, not four times hidden_size", c.Inner)
	case c.Epsilon <= 0 || c.Epsilon > 1:
		return malformed(configFile, "layer_norm_epsilon is %g", c.Epsilon)
	case c.PostNorm:
		return unsupported(configFile, "apply_residual_connection_post_layernorm")
	case c.Quantized != nil:
		return unsupported(configFile, "the weights are quantized already (quantization_config)")
	}
	return nil
}

// tied says whether the output matrix is the embedding, as it is by default.
func (c *config) tied() bool { return c.Tied == nil || *c.Tied }

// readJSON reads a file of at most that many bytes into a value.
func readJSON(folder fs.FS, name string, most int64, value any) error {
	f, err := folder.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > most {
		return overLimit(name, "more than %d bytes", most)
	}
	return unmarshal(name, data, value)
}

// unmarshal is json.Unmarshal with errors of this package.
func unmarshal(where string, data []byte, value any) error {
	err := json.Unmarshal(data, value)
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Where: where, Reason: e.Reason, Err: e.Err}
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return malformed(where, "member %s is a JSON %s", quote(e.Field), e.Value)
	}
	if err != nil {
		return malformed(where, "%v", err)
	}
	return nil
}

// readOptional is readJSON for a file that need not be there.
func readOptional(folder fs.FS, name string, value any) error {
	err := readJSON(folder, name, maxConfig, value)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
