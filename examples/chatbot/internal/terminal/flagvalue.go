package terminal

import (
	"errors"
	"strconv"
	"strings"
)

// These are the flag.Values that package flag has not.
type (
	float32Value float32
	uint32Value  uint32
	listValue    []string
)

func (v *float32Value) String() string { return strconv.FormatFloat(float64(*v), 'g', -1, 32) }

func (v *float32Value) Set(s string) error {
	f, err := strconv.ParseFloat(s, 32)
	if err != nil {
		return errors.New("not a number")
	}
	*v = float32Value(f)
	return nil
}

func (v *uint32Value) String() string { return strconv.FormatUint(uint64(*v), 10) }

func (v *uint32Value) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return errors.New("not a number from 0 to 4294967295")
	}
	*v = uint32Value(n)
	return nil
}

func (v *listValue) String() string { return strings.Join(*v, ", ") }

func (v *listValue) Set(s string) error {
	*v = append(*v, s)
	return nil
}
