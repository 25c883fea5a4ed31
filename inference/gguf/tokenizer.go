package gguf

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"strings"
)

// Files of a folder about text.
const (
	tokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
	specialTokensFile   = "special_tokens_map.json"
)

// bloomSplit is the expression by which BLOOM divides text into words before
// byte-pair encoding. libllama has it under the name "bloom"; another
// expression would give other tokens.
const bloomSplit = ` ?[^(\s|[.,!?…。，、।۔،])]+`

// Types of tokens, as tokenizer.ggml.token_type has them.
const (
	tokenNormal      int32 = 1
	tokenControl     int32 = 3 // never in text, like </s>
	tokenUserDefined int32 = 4 // added to the vocabulary as a whole
	tokenUnused      int32 = 5
)

// tokenizer is what a GGUF file says about text.
type tokenizer struct {
	tokens []string
	types  []int32
	merges []string
	// ids of special tokens, by role.
	ids            map[string]uint32
	addBos, addEos bool
}

// roles of special tokens: for what has no token, to begin, to end, to fill.
var roles = []string{"unk", "bos", "eos", "pad"}

// tokenizerJSON is what matters of tokenizer.json.
type tokenizerJSON struct {
	Model struct {
		Type         string
		Vocab        vocabulary
		Merges       []merge
		ByteFallback bool    `json:"byte_fallback"`
		IgnoreMerges bool    `json:"ignore_merges"`
		Dropout      float64 `json:"dropout"`
		Prefix       string  `json:"continuing_subword_prefix"`
		Suffix       string  `json:"end_of_word_suffix"`
	}
	Added []struct {
		ID      int64
		Content string
		Special bool
	} `json:"added_tokens"`
	Normalizer   json.RawMessage
	PreTokenizer struct {
		Type string
		Each []struct {
			Type           string
			Pattern        struct{ Regex string }
			Behavior       string
			Invert         bool
			AddPrefixSpace bool  `json:"add_prefix_space"`
			UseRegex       *bool `json:"use_regex"`
		} `json:"pretokenizers"`
	} `json:"pre_tokenizer"`
}

// readTokenizer reads the folder's tokenizer for a model of size tokens.
func readTokenizer(folder fs.FS, c *config) (*tokenizer, error) {
	var in tokenizerJSON
	if err := readJSON(folder, tokenizerFile, maxTokenizer, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	t := &tokenizer{ids: make(map[string]uint32)}
	numbers, err := t.number(&in, c.Vocab)
	if err != nil {
		return nil, err
	}
	for _, m := range in.Model.Merges {
		left, right, ok := strings.Cut(string(m), " ")
		if !ok || strings.Contains(right, " ") {
			return nil, malformed(tokenizerFile, "merge %s is no pair of tokens", quote(string(m)))
		}
		for _, token := range []string{left, right, left + right} {
			if _, ok := numbers[token]; !ok {
				return nil, malformed(tokenizerFile, "merge %s: there is no token %s", quote(string(m)), quote(token))
			}
		}
		t.merges = append(t.merges, string(m))
	}
	if len(t.merges) == 0 {
		return nil, malformed(tokenizerFile, "there are no merges")
	}
	return t, t.readSpecial(folder, c, numbers)
}

// check refuses a tokenizer that libllama's "gpt2" with "bloom" is not.
func (in *tokenizerJSON) check() error {
	m, pre := in.Model, in.PreTokenizer
	switch {
	case m.Type != "BPE":
		return unsupported(tokenizerFile, "model %s, not \"BPE\"", quote(m.Type))
	case m.ByteFallback || m.IgnoreMerges || m.Dropout != 0 || m.Prefix != "" || m.Suffix != "":
		return unsupported(tokenizerFile, "the BPE has settings that BLOOM's has not")
	case len(in.Normalizer) > 0 && string(in.Normalizer) != "null":
		return unsupported(tokenizerFile, "it has a normalizer, BLOOM's has none")
	case pre.Type != "Sequence" || len(pre.Each) != 2:
		return unsupported(tokenizerFile, "the pre-tokenizer is not BLOOM's sequence of two")
	}
	split, level := pre.Each[0], pre.Each[1]
	if split.Type != "Split" || split.Pattern.Regex != bloomSplit || split.Behavior != "Isolated" || split.Invert {
		return unsupported(tokenizerFile, "the pre-tokenizer does not split as BLOOM's")
	}
	if level.Type != "ByteLevel" || level.AddPrefixSpace || level.UseRegex == nil || *level.UseRegex {
		return unsupported(tokenizerFile, "the pre-tokenizer is not byte-level as BLOOM's")
	}
	return nil
}

// number fills in tokens and types. The rows of the embedding without a token
// get names of their own, since libllama wants each name once.
func (t *tokenizer) number(in *tokenizerJSON, size int64) (map[string]uint32, error) {
	tokens := in.Model.Vocab
	added := make(map[int64]int32)
	for _, a := range in.Added {
		if err := tokens.set(a.ID, a.Content); err != nil {
			return nil, &Error{Where: tokenizerFile, Reason: err.(*Error).Reason, Err: err.(*Error).Err}
		}
		added[a.ID] = tokenUserDefined
		if a.Special {
			added[a.ID] = tokenControl
		}
	}
	if int64(len(tokens)) > size {
		return nil, malformed(tokenizerFile, "there are %d tokens, vocab_size is %d", len(tokens), size)
	}
	numbers := make(map[string]uint32, size)
	for id := range size {
		token, typ := "", tokenNormal
		if id < int64(len(tokens)) {
			token = tokens[id]
		}
		if a, ok := added[id]; ok {
			typ = a
		}
		if token == "" {
			token, typ = fmt.Sprintf("[PAD%d]", id), tokenUnused
		}
		if first, ok := numbers[token]; ok {
			return nil, malformed(tokenizerFile, "ids %d and %d are both token %s", first, id, quote(token))
		}
		numbers[token] = uint32(id)
		t.tokens, t.types = append(t.tokens, token), append(t.types, typ)
	}
	return numbers, nil
}

// tokenText is a token in tokenizer_config.json or special_tokens_map.json: a
// string, or an object whose content is one.
type tokenText string

// UnmarshalJSON reads either form.
func (t *tokenText) UnmarshalJSON(data []byte) error {
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(t))
	}
	var object struct{ Content string }
	err := json.Unmarshal(data, &object)
	*t = tokenText(object.Content)
	return err
}

// specialTokens is what matters of those files.
type specialTokens struct {
	Unk    tokenText `json:"unk_token"`
	Bos    tokenText `json:"bos_token"`
	Eos    tokenText `json:"eos_token"`
	Pad    tokenText `json:"pad_token"`
	AddBos bool      `json:"add_bos_token"`
	AddEos bool      `json:"add_eos_token"`
}

// readSpecial finds the special tokens. A role's first mention counts, in the
// order tokenizer_config.json, special_tokens_map.json, config.json and
// generation_config.json.
func (t *tokenizer) readSpecial(folder fs.FS, c *config, numbers map[string]uint32) error {
	var main, other specialTokens
	if err := readOptional(folder, tokenizerConfigFile, &main); err != nil {
		return err
	}
	if err := readOptional(folder, specialTokensFile, &other); err != nil {
		return err
	}
	var generation tokenIDs
	if err := readOptional(folder, generationFile, &generation); err != nil {
		return err
	}
	t.addBos, t.addEos = main.AddBos, main.AddEos
	for _, s := range []struct {
		where string
		specialTokens
	}{{tokenizerConfigFile, main}, {specialTokensFile, other}} {
		for i, token := range []tokenText{s.Unk, s.Bos, s.Eos, s.Pad} {
			id, ok := numbers[string(token)]
			if token != "" && !ok {
				return malformed(s.where, "%s_token %s is not in the vocabulary", roles[i], quote(string(token)))
			}
			if _, known := t.ids[roles[i]]; ok && !known {
				t.ids[roles[i]] = id
			}
		}
	}
	for _, s := range []struct {
		where string
		tokenIDs
	}{{configFile, c.tokenIDs}, {generationFile, generation}} {
		for i, v := range []any{s.Unk, s.Bos, s.Eos, s.Pad} {
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
			if v == nil {
				continue
			}
			id, ok := v.(float64)
			if !ok || id < 0 || id >= float64(len(t.tokens)) || id != math.Trunc(id) {
				return malformed(s.where, "%s_token_id is no id of the vocabulary", roles[i])
			}
			if _, known := t.ids[roles[i]]; !known {
				t.ids[roles[i]] = uint32(id)
			}
		}
	}
	if _, ok := t.ids["eos"]; !ok {
		return malformed(tokenizerConfigFile, "no file says which token ends a text (eos_token)")
	}
	return nil
}

// metadata returns the pairs about the tokenizer.
func (t *tokenizer) metadata() Metadata {
	m := Metadata{
		{"tokenizer.ggml.model", "gpt2"}, // byte-level BPE
		{"tokenizer.ggml.pre", "bloom"},
		{"tokenizer.ggml.tokens", t.tokens},
		{"tokenizer.ggml.token_type", t.types},
		{"tokenizer.ggml.merges", t.merges},
	}
	for _, role := range [][2]string{{"unk", "unknown"}, {"bos", "bos"}, {"eos", "eos"}, {"pad", "padding"}} {
		if id, ok := t.ids[role[0]]; ok {
			m = append(m, KeyValue{"tokenizer.ggml." + role[1] + "_token_id", id})
		}
	}
	return append(m,
		KeyValue{"tokenizer.ggml.add_bos_token", t.addBos},
		KeyValue{"tokenizer.ggml.add_eos_token", t.addEos})
}
