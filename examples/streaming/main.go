// Streaming shows the three kinds of streams of package vsockrpc on one
// connection: words that come one after the other, as a language model makes
// them; lines that are summed up; and a conversation in both directions. One of
// the streams is left early, which cancels its handler.
//
//	streaming [-addr ADDR]
//
// Addresses are those of vsockrpc.ParseAddr; without one, server and client
// meet in memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func main() {
	addr := flag.String("addr", "mem://streaming", "serve and call at `ADDR`")
	flag.Parse()
	if err := run(context.Background(), *addr, os.Stdout); err != nil {
		log.Fatal("streaming: ", err)
	}
}

func run(ctx context.Context, addr string, out io.Writer) error {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	vsockrpc.HandleServerStream(srv, "words", words)
	vsockrpc.HandleClientStream(srv, "count", count)
	vsockrpc.HandleBidiStream(srv, "shout", shout)
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		return err
	}
	go srv.Serve(l)
	defer srv.Close()
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
	if err != nil {
		return err
	}
	defer c.Close()

	fmt.Fprint(out, "words:")
	n := 0
	for word, err := range vsockrpc.CallServerStream[string, string](ctx, c, "words", "streams end when the loop is left early") {
		if err != nil {
			return err
		}
		fmt.Fprint(out, " ", word)
		if n++; n == 5 {
			break // the handler's context ends
		}
	}
	fmt.Fprintln(out)

	lines := slices.Values([]string{"one line", "and another line", "end"})
	total, err := vsockrpc.CallClientStream[string, int](ctx, c, "count", lines)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "count:", total, "words")

	for answer, err := range vsockrpc.CallBidiStream[string, string](ctx, c, "shout", lines) {
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "shout:", answer)
	}
	return nil
}

// words answers a text word by word.
func words(_ context.Context, text string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for word := range strings.FieldsSeq(text) {
			if !yield(word, nil) {
				return // the client has left, or is gone
			}
		}
	}
}

// count answers how many words all lines have.
func count(_ context.Context, lines iter.Seq2[string, error]) (n int, err error) {
	for line, err := range lines {
		if err != nil {
			return 0, err
		}
		n += len(strings.Fields(line))
	}
	return n, nil
}

// shout answers each line at once.
func shout(_ context.Context, lines iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for line, err := range lines {
			if !yield(strings.ToUpper(line), err) {
				return
			}
		}
	}
}
