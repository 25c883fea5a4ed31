package gguf

import (
	"bytes"
	"encoding/json"
)

// members calls f for each member of a JSON object, in order. f reads the
// member's value from the decoder. Unlike a Go map it does not lose a member
// that is there twice: f sees both.
func members(data []byte, f func(name string, d *json.Decoder) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return malformed("", "a JSON value is no object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if err := f(name.(string), d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// vocabulary is the member of tokenizer.json that gives tokens their ids.
type vocabulary []string // by id; "" where there is none

// UnmarshalJSON reads an object of tokens and ids.
func (v *vocabulary) UnmarshalJSON(data []byte) error {
	var tokens vocabulary
	err := members(data, func(token string, d *json.Decoder) error {
		var id int64
		if err := d.Decode(&id); err != nil {
			return malformed("", "the id of token %s is no integer", quote(token))
		}
		return tokens.set(id, token)
	})
	if err != nil {
		return err
	}
	*v = tokens
	return nil
}

// set gives a token an id.
func (v *vocabulary) set(id int64, token string) error {
	if id < 0 || id >= maxVocab {
		return overLimit("", "token %s has id %d, ids under %d are converted", quote(token), id, maxVocab)
	}
	if token == "" {
		return malformed("", "token %d is empty", id)
	}
	for int64(len(*v)) <= id {
		*v = append(*v, "")
	}
	if old := (*v)[id]; old != "" && old != token {
		return malformed("", "tokens %s and %s have the same id %d", quote(old), quote(token), id)
	}
	(*v)[id] = token
	return nil
}

// merge is a pair of tokens that byte-pair encoding joins. Files have it as
// an array of two, or as one string with a space between them.
type merge string

// UnmarshalJSON reads either form.
func (m *merge) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(m))
	}
	var pair []string
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return malformed("", "a merge is no pair of tokens")
	}
	*m = merge(pair[0] + " " + pair[1])
	return nil
}
