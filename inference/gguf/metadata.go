package gguf

// Metadata is the list of a file's key-value pairs, in the file's order. It is
// what the author of the file says, to be believed as far as the file is.
type Metadata []KeyValue

// KeyValue is one pair of Metadata.
type KeyValue struct {
	// Key is printable ASCII without spaces, such as "general.name".
	Key string
	// Value is of the Go type that corresponds to the type in the file: one
	// of uint8, int8, uint16, int16, uint32, int32, uint64, int64, float32,
	// float64, bool and string, or a slice of one of these. Strings should be
	// UTF-8, but that is not checked.
	Value any
}

// Get returns the value of a key as it is in the file.
func (m Metadata) Get(key string) (value any, ok bool) {
	for _, kv := range m {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return nil, false
}

// Text returns the value of a key that is a string.
func (m Metadata) Text(key string) (value string, ok bool) { return get[string](m, key) }

// Texts returns the value of a key that is an array of strings.
func (m Metadata) Texts(key string) (value []string, ok bool) { return get[[]string](m, key) }

// Bool returns the value of a key that is a boolean.
func (m Metadata) Bool(key string) (value, ok bool) { return get[bool](m, key) }

// Uint returns the value of a key that is an integer of any width and not
// negative: writers differ in the width they choose.
func (m Metadata) Uint(key string) (value uint64, ok bool) {
	v, _ := m.Get(key)
	signed := int64(-1)
	switch v := v.(type) {
	case uint8:
		return uint64(v), true
	case uint16:
		return uint64(v), true
	case uint32:
		return uint64(v), true
	case uint64:
		return v, true
	case int8:
		signed = int64(v)
	case int16:
		signed = int64(v)
	case int32:
		signed = int64(v)
	case int64:
		signed = v
	}
	if signed < 0 {
		return 0, false
	}
	return uint64(signed), true
}

// Float returns the value of a key that is a floating-point number.
func (m Metadata) Float(key string) (value float64, ok bool) {
	if v, ok := get[float32](m, key); ok {
		return float64(v), true
	}
	return get[float64](m, key)
}

func get[T any](m Metadata, key string) (T, bool) {
	v, _ := m.Get(key)
	t, ok := v.(T)
	return t, ok
}

// valueType is the number of a metadata value's type in the file.
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// checkKey checks what the specification says of keys, but for letter case and
// the separators of words, where files in use differ from it.
func checkKey(key string) error {
	if key == "" {
		return malformed("", "a metadata key is empty")
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return malformed("key "+quote(key), "a key is printable ASCII without spaces")
		}
	}
	return nil
}
