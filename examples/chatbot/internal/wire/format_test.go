package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

// Whatever prints a message by mistake must not print what it holds.
func TestFormatHidesContent(t *testing.T) {
	const canary = "canary-7f3a"
	q := Question{
		Request: inference.Request{Prompt: canary, Grammar: canary, JSONSchema: canary, Stop: []string{canary}, CacheScope: canary},
		Scope:   []byte(canary),
	}
	talk := Question{Request: inference.Request{Messages: user(canary, canary)}}
	c := Chunk{Chunk: inference.Chunk{Text: canary, LogProbs: []inference.TokenLogProbs{{LogProb: inference.LogProb{Bytes: []byte(canary)}}}}, Receipt: []byte(canary)}
	r := ReceiptFile{Request: q.Request, Answer: canary, Receipt: []byte(canary)}
	hidden := []string{canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))), base64.StdEncoding.EncodeToString([]byte(canary)), "99 97 110", "0x63, 0x61"}
	for _, v := range []any{
		q, &q, talk, []Question{q}, map[string]Question{"a": q}, struct{ Q Question }{q},
		c, &c, []Chunk{c}, struct{ C *Chunk }{&c}, r, &r, []ReceiptFile{r},
	} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", slog.Group("g", "v", v))
		for _, s := range hidden {
			if strings.Contains(out.String(), s) || strings.Contains(log.String(), s) {
				t.Errorf("%T is printed as %s%s", v, out.String(), log.String())
			}
		}
	}
}

// JSON would show what Format hides: the log of a program must not use it
// directly on values, but through LogValue.
func TestLogValueInJSON(t *testing.T) {
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, nil))
	l.Info("m", "q", Question{Request: inference.Request{Prompt: "canary"}}, "c", Chunk{Chunk: inference.Chunk{Text: "canary"}}, "r", ReceiptFile{Answer: "canary"})
	if strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), "question of 6 bytes in 0 messages") || !strings.Contains(log.String(), "6 bytes of answer") {
		t.Errorf("%s", log.String())
	}
	if got := fmt.Sprint(Question{Request: inference.Request{Messages: user("abc", "de")}}); got != "question of 5 bytes in 2 messages" {
		t.Error(got)
	}
}
