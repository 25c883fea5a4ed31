package native

import (
	"runtime"
	"strings"
	"unsafe"
)

// chatMessage is struct llama_chat_message: two C strings.
type chatMessage struct{ role, content *byte }

// chatFunctions are what tokenizes and lays out conversations. Lib embeds
// them.
type chatFunctions struct {
	chatTemplate func(m LlamaModel, name uintptr) *byte
	chatApply    func(tmpl *byte, messages *chatMessage, n uintptr, assistant bool, buf *byte, size int32) int32
	vocabText    func(v Vocab, token int32) string

	VocabAddBOS func(Vocab) bool
	// VocabAttr returns a set of the Attr bits.
	VocabAttr func(v Vocab, token int32) int32
}

// Attributes of tokens, of llama.h's enum llama_token_attr.
const (
	AttrControl     = 1 << 3
	AttrUserDefined = 1 << 4
)

// VocabSPM is the vocabulary type of SentencePiece models.
const VocabSPM = 1

func (f *chatFunctions) symbols() map[string]any {
	return map[string]any{
		"llama_model_chat_template": &f.chatTemplate,
		"llama_chat_apply_template": &f.chatApply,
		"llama_vocab_get_text":      &f.vocabText,
		"llama_vocab_get_add_bos":   &f.VocabAddBOS,
		"llama_vocab_get_attr":      &f.VocabAttr,
	}
}

// VocabText returns how the vocabulary spells a token, which must be valid.
func (l *Lib) VocabText(v Vocab, token int32) string { return l.vocabText(v, token) }

// maxTemplate bounds the length of a model's template, which is as long as the
// model file says.
const maxTemplate = 1 << 20

// ChatTemplate returns the template in the model file, or "". A template
// longer than a mebibyte is cut off.
func (l *Lib) ChatTemplate(m LlamaModel) string {
	p := l.chatTemplate(m, 0)
	if p == nil {
		return ""
	}
	n := 0
	for n < maxTemplate && *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	// Copied: the bytes are the model's, which can be freed before.
	return strings.Clone(unsafe.String(p, n))
}

// ChatApply lays out messages as template says, which is the name of one of
// the library's formats or a text that it takes for one of them. roles and
// contents have the same length, and no NUL. It returns false if the library
// does not know the template.
//
// The library keeps copies of contents in memory that it frees as it is, so
// they should be no secrets.
func (l *Lib) ChatApply(template string, roles, contents []string, assistant bool) (string, bool) {
	var pin runtime.Pinner
	defer pin.Unpin()
	c := func(s string) *byte {
		p := &append([]byte(s), 0)[0]
		pin.Pin(p)
		return p
	}
	messages := make([]chatMessage, len(roles)+1) // never empty, so that it has an address
	size := 1024
	for i := range roles {
		messages[i] = chatMessage{c(roles[i]), c(contents[i])}
		size += 2 * (len(roles[i]) + len(contents[i]))
	}
	pin.Pin(&messages[0])
	tmpl := c(template)
	for {
		buf := make([]byte, size)
		n := int(l.chatApply(tmpl, &messages[0], uintptr(len(roles)), assistant, &buf[0], int32(size)))
		if n < 0 {
			return "", false
		}
		if n <= size {
			return string(buf[:n]), true
		}
		size = n
	}
}
