package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
)

const hopClient = "client"

// clientCells are faults of other clients: those that are asked about must not
// notice.
func clientCells() []cell {
	return []cell{
		{
			hop: hopClient, fault: "cancelled mid-answer", how: "16 more clients leave each answer after its first text",
			hold: 1500 * time.Millisecond, inject: injectCancelling,
		},
		{
			hop: hopClient, fault: "killed", how: "8 client processes get SIGKILL while they ask",
			inject: injectKilledClients,
		},
		{
			hop: hopClient, fault: "reads slowly", how: "8 more clients take 64 bytes of an answer every 50 ms",
			hold: 1500 * time.Millisecond, inject: injectSlowReaders,
		},
		{
			hop: hopClient, fault: "sends garbage", how: "junk, odd HTTP, wrong methods and bodies, requests of nobody's, over and over",
			inject: injectGarbageRequests,
		},
		{
			hop: hopClient, fault: "never finishes its request", how: "64 connections with half a header or half a body",
			inject: injectHalfRequests,
		},
	}
}

// others runs n clients beside those that are asked about, until the fault is
// mended.
func others(ctx context.Context, n int, f func(ctx context.Context, i int)) (heal func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(ctx, i) })
	}
	return func() error {
		cancel()
		wg.Wait()
		return nil
	}
}

func injectCancelling(ctx context.Context, p *pipeline) (func() error, error) {
	var clients []*chat.Client
	for range exact.Names {
		c, err := p.client(nil)
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return others(ctx, len(clients), func(ctx context.Context, i int) {
		for ctx.Err() == nil {
			one, leave := context.WithCancel(ctx)
			exact.Receive(clients[i].Ask(one, exact.Question(exact.Names[i])), exact.Answer(exact.Names[i]), func(c *ask.Chunk) {
				if c.Text != "" {
					leave()
				}
			})
			leave()
		}
	}), nil
}

func injectKilledClients(ctx context.Context, p *pipeline) (func() error, error) {
	info := p.cluster.Info()
	var all []*exec.Cmd
	end := func() error {
		for _, c := range all {
			c.Process.Kill()
		}
		for _, c := range all {
			c.Wait() // its error says that it was killed, or had ended
		}
		return nil
	}
	for i := range 8 {
		c := exec.CommandContext(ctx, p.binary, "client", "-parent", "http://"+p.front.listener.Addr().String(),
			"-policy", info.PolicyFile, "-simulated-roots", info.RootsFile, "-region", info.Region, "-key-arn", info.SealedKeyARN,
			"-kms-endpoint", info.KMSTLSEndpoint, "-kms-ca", info.KMSCAFile, "-credentials", info.CredentialsFile,
			"-q", "i can't access my email, my username is "+exact.Names[i])
		if err := c.Start(); err != nil {
			return nil, errors.Join(err, end())
		}
		all = append(all, c)
	}
	return end, nil
}

func injectSlowReaders(ctx context.Context, p *pipeline) (func() error, error) {
	// A relay of their own, which is slow towards them.
	slow, err := newRelay("tcp", "127.0.0.1:0", func() (net.Conn, error) { return net.Dial("tcp", p.front.listener.Addr().String()) })
	if err != nil {
		return nil, err
	}
	slow.set(fault{every: 50 * time.Millisecond, most: 64})
	var clients []*chat.Client
	for range 8 {
		c, err := p.client(func(o *chat.Options) { o.ParentURL = "http://" + slow.listener.Addr().String() })
		if err != nil {
			slow.close()
			return nil, err
		}
		clients = append(clients, c)
	}
	heal := others(ctx, len(clients), func(ctx context.Context, i int) {
		for ctx.Err() == nil {
			exact.Receive(clients[i].Ask(ctx, exact.Question(exact.Names[i])), exact.Answer(exact.Names[i]), nil)
		}
	})
	return func() error {
		err := heal()
		slow.close()
		return err
	}, nil
}

// sealedType is the header of sealed requests. Others are refused unread.
const sealedType = "Content-Type: application/vnd.nitroseal.session\r\n"

// junk is what no client sends.
var junk = []string{
	"\x00\x01\x02\x03\xff\xfe", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"POST " + sessionrpc.PathAsk + " HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	"POST " + sessionrpc.PathAsk + " HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\nx",
	"POST " + sessionrpc.PathAsk + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\n\r\n",
}

func injectGarbageRequests(ctx context.Context, p *pipeline) (func() error, error) {
	address := p.front.listener.Addr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	return others(ctx, 4, func(ctx context.Context, i int) {
		for n := i; ctx.Err() == nil; n++ {
			if n%2 == 0 {
				shout(address, junk[n/2%len(junk)])
				continue
			}
			method := []string{http.MethodPost, http.MethodGet, "BREW"}[n%3]
			path := []string{sessionrpc.PathAsk, sessionrpc.PathAttest, "/", "/v1/nothing"}[n/2%4]
			body := strings.Repeat("NSQ1", n%5000)
			req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(body))
			if err != nil {
				continue
			}
			if n%4 == 1 {
				req.Header.Set("Content-Type", "application/vnd.nitroseal.session")
			}
			if resp, err := client.Do(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
	}), nil
}

// shout sends text on a connection of its own, and takes what comes.
func shout(address, text string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	io.WriteString(c, text)
	bufio.NewReader(c).ReadByte()
}

func injectHalfRequests(_ context.Context, p *pipeline) (func() error, error) {
	var all []net.Conn
	end := func() error {
		for _, c := range all {
			c.Close()
		}
		return nil
	}
	for i := range 64 {
		c, err := net.Dial("tcp", p.front.listener.Addr().String())
		if err != nil {
			return nil, errors.Join(err, end())
		}
		all = append(all, c)
		half := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nX-Half: ", sessionrpc.PathAsk)
		if i%2 == 0 {
			half = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 2000\r\n\r\nNSQ1", sessionrpc.PathAsk, sealedType)
		}
		if _, err := io.WriteString(c, half); err != nil {
			return nil, errors.Join(err, end())
		}
	}
	return end, nil
}
