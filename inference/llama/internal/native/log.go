package native

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// The library has one log for the process. loading counts the calls of
// WhileLoading that are not done, models those of CountModel.
var (
	logger  atomic.Pointer[slog.Logger]
	loading atomic.Int32
	models  atomic.Int32
)

// SetLogger says who gets the library's messages; nil discards them.
func SetLogger(l *slog.Logger) { logger.Store(l) }

// CountModel adds n to the number of models that take requests.
func CountModel(n int32) { models.Add(n) }

// WhileLoading passes messages on with their text until the returned function
// is called, unless a model takes requests meanwhile. At other times they could
// quote what a user wrote, so only the names of the functions that sent them
// are passed on.
func WhileLoading() (done func()) {
	loading.Add(1)
	return sync.OnceFunc(func() { loading.Add(-1) })
}

// Levels of ggml_log_level.
const (
	ggmlInfo  = 2
	ggmlWarn  = 3
	ggmlError = 4
)

// maxMessage bounds one message.
const maxMessage = 4096

// onLog implements ggml_log_callback. It is called on any thread.
func onLog(level int32, text *byte) {
	l := logger.Load()
	if l == nil || text == nil || level < ggmlInfo || level > ggmlError {
		return
	}
	message := strings.TrimSpace(cString(text, maxMessage))
	if loading.Load() == 0 || models.Load() > 0 {
		message = functionName(message)
	}
	if message == "" || strings.Trim(message, ".") == "" {
		return
	}
	to := slog.LevelDebug
	switch level {
	case ggmlWarn:
		to = slog.LevelWarn
	case ggmlError:
		to = slog.LevelError
	}
	l.Log(context.Background(), to, "libllama", "message", message)
}

// cString copies a C string, of which it reads at most limit bytes. It is ""
// for a null pointer.
func cString(p *byte, limit int) string {
	n := 0
	for p != nil && n < limit && *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// functionName returns the C function name that a message begins with.
func functionName(message string) string {
	name, _, ok := strings.Cut(message, ": ")
	if !ok || strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) >= 0 {
		return "(text withheld)"
	}
	return name + ": (text withheld)"
}
