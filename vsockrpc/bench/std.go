package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/rpc"
)

// Echo is the service of net/rpc.
type Echo struct{}

// Echo answers what it is asked.
func (Echo) Echo(in []byte, out *[]byte) error {
	*out = in
	return nil
}

func serveNetRPC(l net.Listener) error {
	s := rpc.NewServer()
	if err := s.Register(Echo{}); err != nil {
		return err
	}
	s.Accept(l)
	return nil
}

type netRPCClient struct{ c *rpc.Client }

func dialNetRPC(path string) (client, error) {
	c, err := rpc.Dial("unix", path)
	return netRPCClient{c}, err
}

func (c netRPCClient) echo(_ context.Context, msg []byte) (out []byte, err error) {
	err = c.c.Call("Echo.Echo", msg, &out)
	return out, err
}

func (c netRPCClient) stream(context.Context, func() bool) error { return errNoStreams }
func (c netRPCClient) stall(context.Context) error               { return errNoStreams }
func (c netRPCClient) close()                                    { c.c.Close() }

func httpServer(h2 bool) func(net.Listener) error {
	return func(l net.Listener) error {
		s := &http.Server{Protocols: protocols(h2), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := make([]byte, r.ContentLength)
			if _, err := io.ReadFull(r.Body, body); err != nil {
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body)
		})}
		return s.Serve(l)
	}
}

func protocols(h2 bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return &p
}

var (
	serveHTTP1 = httpServer(false)
	serveHTTP2 = httpServer(true)
)

type httpClient struct{ c *http.Client }

func dialHTTP(path string, h2 bool) (client, error) {
	t := &http.Transport{
		Protocols:           protocols(h2),
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}
	return httpClient{&http.Client{Transport: t}}, nil
}

func dialHTTP1(path string) (client, error) { return dialHTTP(path, false) }
func dialHTTP2(path string) (client, error) { return dialHTTP(path, true) }

func (c httpClient) echo(ctx context.Context, msg []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://bench/", bytes.NewReader(msg))
	if err != nil {
		return nil, err
	}
	resp, err := c.c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := make([]byte, resp.ContentLength)
	_, err = io.ReadFull(resp.Body, out)
	return out, err
}

func (c httpClient) stream(context.Context, func() bool) error { return errNoStreams }
func (c httpClient) stall(context.Context) error               { return errNoStreams }
func (c httpClient) close()                                    { c.c.CloseIdleConnections() }
