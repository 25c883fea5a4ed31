package main

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// tap stands in connections of the parent and keeps every byte that passes, in
// both directions.
type tap struct {
	t   *testing.T
	all syncBuffer

	mu    sync.Mutex
	wg    sync.WaitGroup
	conns map[net.Conn]bool
}

func newTap(t *testing.T) *tap {
	w := &tap{t: t, conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		w.mu.Lock()
		for c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

// unix listens beside a unix socket, and passes connections on to it.
func (w *tap) unix(addr string) string {
	path := strings.TrimPrefix(addr, "unix://")
	return "unix://" + w.listen("unix", path+".t", path)
}

// tcp listens on a port of this machine, and passes connections on to another.
func (w *tap) tcp(to string) string { return w.listen("tcp", "127.0.0.1:0", to) }

func (w *tap) listen(network, on, to string) string {
	l, err := net.Listen(network, on)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial(network, to)
			if err != nil {
				c.Close()
				continue
			}
			w.pass(c, onward)
		}
	})
	return l.Addr().String()
}

func (w *tap) pass(a, b net.Conn) {
	w.mu.Lock()
	w.conns[a], w.conns[b] = true, true
	w.mu.Unlock()
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		w.wg.Go(func() {
			io.Copy(way[1], io.TeeReader(way[0], &w.all))
			way[1].Close()
		})
	}
}
