package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// injectReplays records what one further client sends, and sends it again.
func injectReplays(ctx context.Context, p *pipeline) (func() error, error) {
	address := p.front.listener.Addr().String()
	tap, err := newRelay("tcp", "127.0.0.1:0", func() (net.Conn, error) { return net.Dial("tcp", address) })
	if err != nil {
		return nil, err
	}
	defer tap.close()
	var mu sync.Mutex
	var sent strings.Builder
	tap.set(fault{mangle: func(d direction, _ int, b []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if d == onward {
			sent.Write(b)
		}
		return b
	}})
	c, err := p.client(func(o *chat.Options) { o.ParentURL = "http://" + tap.listener.Addr().String() })
	if err != nil {
		return nil, err
	}
	if err := exact.Receive(c.Ask(ctx, exact.Question(exact.Names[0])), exact.Answer(exact.Names[0]), nil); err != nil {
		return nil, fmt.Errorf("the client to record: %w", err)
	}
	mu.Lock()
	recorded := sent.String()
	mu.Unlock()
	var problems error
	for range 16 {
		problems = errors.Join(problems, replay(address, recorded))
	}
	return func() error { return problems }, nil
}

// replay sends recorded requests, an attestation and a question on one
// connection, and wants the question refused as one that was opened before.
func replay(address, recorded string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, recorded); err != nil {
		return err
	}
	answers, requests := bufio.NewReader(conn), bufio.NewReader(strings.NewReader(recorded))
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return fmt.Errorf("no question was recorded: %w", err)
		}
		io.Copy(io.Discard, req.Body)
		resp, err := http.ReadResponse(answers, req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if req.URL.Path != sessionrpc.PathAsk {
			continue
		}
		if resp.StatusCode == http.StatusOK || !strings.Contains(string(body), `"`+string(wire.ReasonReplayed)+`"`) {
			return fmt.Errorf("REPLAYED QUESTION: HTTP %d, %d bytes", resp.StatusCode, len(body))
		}
		return nil
	}
}
