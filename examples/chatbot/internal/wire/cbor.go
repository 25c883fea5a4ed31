package wire

import (
	"bytes"
	"errors"

	"github.com/fxamacker/cbor/v2"

	"github.com/nitroseal/nitroseal/inference"
)

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
		MaxMapPairs:       64,
		MaxArrayElements:  max(1024, inference.MaxMessages),
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return v
}

// encode never repeats v in its error.
func encode(what string, v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, errors.New("wire: cannot encode the " + what)
	}
	return b, nil
}

// decode takes the one encoding of v only, and never repeats b in its error.
func decode(what string, b []byte, v any) error {
	if decMode.Unmarshal(b, v) == nil {
		again, err := encMode.Marshal(v)
		defer clear(again)
		if err == nil && bytes.Equal(again, b) {
			return nil
		}
	}
	return errors.New("wire: this is no encoded " + what)
}
