package proxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// open dials addr, with a deadline that only a hanging test meets.
func open(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := vsockrpc.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
}

// flood is how many bytes a doubler answers to the number pour: more than all
// buffers on the way hold.
const (
	pour  = 1 << 63
	flood = 24 << 20
)

// doubler answers each eight-byte number with its double, until the end. It
// tells poured when a flood is out.
func doubler(t *testing.T, poured chan<- error) string {
	t.Helper()
	return serve(t, func(c net.Conn) {
		var b [8]byte
		for {
			if _, err := io.ReadFull(c, b[:]); err != nil {
				return
			}
			n := binary.BigEndian.Uint64(b[:])
			if n == pour {
				_, err := c.Write(make([]byte, flood))
				poured <- err
				return
			}
			binary.BigEndian.PutUint64(b[:], 2*n)
			if _, err := c.Write(b[:]); err != nil {
				return
			}
		}
	})
}

// double has a number doubled over an open connection.
func double(c net.Conn, n uint64) error {
	b := binary.BigEndian.AppendUint64(nil, n)
	if _, err := c.Write(b); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(b); got != 2*n {
		return errors.New("the answer is another connection's")
	}
	return nil
}

// 200 connections are open at once, and each gets its answers while the others
// are idle, while all are busy, and while one that does not read is stuck.
func TestManyOpenConnections(t *testing.T) {
	const conns = 200
	poured := make(chan error, 1)
	addr, f := forward(t, proxy.ForwarderOptions{Target: doubler(t, poured)})
	open200 := make([]net.Conn, conns)
	for i := range open200 {
		open200[i] = open(t, addr)
	}
	for i, c := range slices.Backward(open200) {
		if err := double(c, uint64(i)); err != nil {
			t.Fatalf("connection %d, the others idle: %v", i, err)
		}
	}
	if s := f.Stats(); s.Active != conns || s.Accepted != conns || s.Refused != 0 {
		t.Fatalf("%+v", s)
	}
	busy := func(rounds int) {
		t.Helper()
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i, c := range open200 {
			wg.Go(func() {
				<-start
				for r := range rounds {
					if err := double(c, uint64(i*rounds+r)); err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
				}
			})
		}
		close(start)
		wg.Wait()
	}
	busy(10)

	// This one reads a single byte of what it is sent.
	stuck := open(t, addr)
	if _, err := stuck.Write(binary.BigEndian.AppendUint64(nil, pour)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stuck, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	busy(10)
	select {
	case err := <-poured:
		t.Fatalf("the slow reader is not slow: %v", err)
	default:
	}
	if n, err := io.Copy(io.Discard, stuck); n != flood-1 || err != nil {
		t.Errorf("the slow reader got %d bytes in the end, %v", n, err)
	}
	if err := <-poured; err != nil {
		t.Error(err)
	}
	stuck.Close()
	for _, c := range open200 {
		c.Close()
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	const answered = conns * 8 * (1 + 2*10)
	if s, want := f.Stats(), (proxy.Stats{Accepted: conns + 1, BytesUp: answered + 8, BytesDown: answered + flood}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// The enclave ends its direction first: what it sent arrives whole, and so
// does the answer.
func TestHalfCloseUp(t *testing.T) {
	addr, _ := forward(t, proxy.ForwarderOptions{Target: echoServer(t)})
	c := open(t, addr)
	sent := bytes.Repeat([]byte("half"), 100<<10)
	go func() {
		c.Write(sent)
		closeWrite(t, c)
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
	}
}

// The server ends its direction first.
func TestHalfCloseDown(t *testing.T) {
	got := make(chan []byte, 1)
	addr, f := forward(t, proxy.ForwarderOptions{Target: serve(t, func(c net.Conn) {
		io.WriteString(c, "bye")
		c.(*net.TCPConn).CloseWrite()
		all, _ := io.ReadAll(c)
		got <- all
	})})
	c := open(t, addr)
	if bye, err := io.ReadAll(c); err != nil || string(bye) != "bye" {
		t.Fatalf("%q, %v", bye, err)
	}
	sent := bytes.Repeat([]byte("after"), 100<<10)
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	closeWrite(t, c)
	if got := <-got; !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes", len(got), len(sent))
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if s, want := f.Stats(), (proxy.Stats{Accepted: 1, BytesUp: uint64(len(sent)), BytesDown: 3}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// However connections end, nothing is left of them.
func TestNothingIsLeft(t *testing.T) {
	dialling := make(chan struct{})
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialling <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	addr, f := forward(t, proxy.ForwarderOptions{Target: doubler(t, nil)})
	hanging, g := forward(t, proxy.ForwarderOptions{Target: "192.0.2.1:443", Dial: hang, DialTimeout: time.Hour})
	for i := range 20 {
		c := open(t, addr)
		if err := double(c, uint64(i)); err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 0:
			closeWrite(t, c)
			io.Copy(io.Discard, c)
		case 1:
			c.Close()
		case 2:
			c.Write([]byte("not a whole number"))
			c.Close()
		}
		open(t, hanging) // until Close
		<-dialling
	}
	if s := g.Stats(); s.Active != 20 {
		t.Errorf("%+v", s)
	}
	f.Close()
	g.Close()
	for _, f := range []*proxy.Forwarder{f, g} {
		if s := f.Stats(); s.Active != 0 || s.Accepted != 20 || s.DialErrors != 0 {
			t.Errorf("%+v", s)
		}
	}
	if left := leaked("proxy.(*Forwarder).forward"); left != "" {
		t.Errorf("goroutines are left over:\n%s", left)
	}
}
