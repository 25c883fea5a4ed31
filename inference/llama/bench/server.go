package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// runServer does a task with llama-server, which is started for it, with its
// defaults but for what both sides have in common.
func (c *comparison) runServer(ctx context.Context, t task) (_ [][]trace, err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := c.foreign(ctx, c.server, "-m", c.model, "-t", fmt.Sprint(c.threads), "-np", fmt.Sprint(t.Sequences),
		"-c", fmt.Sprint(t.Sequences*contextSize), "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	var messages strings.Builder
	cmd.Stdout, cmd.Stderr = &messages, &messages
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	var status error
	go func() {
		status = cmd.Wait()
		close(ended)
	}()
	defer func() {
		early := false
		select {
		case <-ended:
			early = true
		default:
			cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				cmd.Process.Kill()
				<-ended
			}
		}
		if err != nil {
			err = fmt.Errorf("llama-server: %w: %s", err, tail(messages.String()))
		}
		if early {
			err = fmt.Errorf("llama-server ended by itself with %v: %w", status, err)
		}
	}()
	client := &serverClient{
		url:  fmt.Sprintf("http://127.0.0.1:%d", port),
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if err := client.ready(ctx, ended); err != nil {
		return nil, err
	}
	return waves(t, func(a ask, since time.Time) (trace, error) { return client.complete(ctx, a, since) })
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// serverClient speaks llama-server's own API.
type serverClient struct {
	url  string
	http *http.Client
}

// ready waits until the server has loaded the model.
func (s *serverClient) ready(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/health", nil)
		if err != nil {
			return err
		}
		if resp, err := s.http.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return errors.New("it is not there any more")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// complete makes one request and takes the tokens as they come.
func (s *serverClient) complete(ctx context.Context, a ask, since time.Time) (trace, error) {
	body, err := json.Marshal(map[string]any{
		"prompt": a.Prompt, "n_predict": a.MaxTokens, "temperature": 0, "ignore_eos": true, "stream": true,
	})
	if err != nil {
		return trace{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/completion", bytes.NewReader(body))
	if err != nil {
		return trace{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return trace{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return trace{}, fmt.Errorf("status %d", resp.StatusCode)
	}
	var t trace
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		now := time.Since(since).Seconds()
		var event struct {
			Stop      bool
			Tokens    []int
			Evaluated int `json:"tokens_evaluated"`
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return trace{}, err
		}
		for range event.Tokens {
			t.Times = append(t.Times, now)
		}
		if event.Evaluated != a.Tokens {
			return trace{}, fmt.Errorf("the prompt has %d tokens, not %d", event.Evaluated, a.Tokens)
		}
		if event.Stop {
			return t, t.check(a)
		}
	}
	return trace{}, errors.Join(errors.New("the answer has no end"), lines.Err())
}
