package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

var errNoStreams = errors.New("this peer has no streams")

// The floor is a length and the message, there and back, one at a time. Many
// callers take turns.
func serveFloor(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			r := bufio.NewReaderSize(c, 64<<10)
			var buf []byte
			for {
				msg, err := readSized(r, buf)
				if err != nil {
					return
				}
				if binary.BigEndian.Uint32(msg) == streamMark {
					for {
						if _, err := c.Write(appendSized(buf[:0], make([]byte, small))); err != nil {
							return
						}
					}
				}
				if _, err := c.Write(msg); err != nil {
					return
				}
				buf = msg
			}
		}()
	}
}

// streamMark is a length that asks for a stream.
const streamMark = 1<<32 - 1

// readSized reads a length and its message into buf, and returns both.
func readSized(r *bufio.Reader, buf []byte) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	n := 4
	if size := binary.BigEndian.Uint32(head); size != streamMark {
		n += int(size)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err = io.ReadFull(r, buf)
	return buf, err
}

func appendSized(b, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(msg))), msg...)
}

type floorClient struct {
	path string
	mu   sync.Mutex
	c    net.Conn
	r    *bufio.Reader
	buf  []byte
}

func dialFloor(path string) (client, error) {
	c := &floorClient{path: path}
	return c, c.redial()
}

func (c *floorClient) redial() (err error) {
	if c.c != nil {
		c.c.Close()
	}
	if c.c, err = net.Dial("unix", c.path); err == nil {
		c.r = bufio.NewReaderSize(c.c, 64<<10)
	}
	return err
}

func (c *floorClient) echo(_ context.Context, msg []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = appendSized(c.buf[:0], msg)
	if _, err := c.c.Write(c.buf); err != nil {
		return nil, err
	}
	back, err := readSized(c.r, nil)
	if err != nil {
		return nil, err
	}
	return back[4:], nil
}

func (c *floorClient) stream(_ context.Context, each func() bool) error {
	if _, err := c.c.Write(binary.BigEndian.AppendUint32(nil, streamMark)); err != nil {
		return err
	}
	for {
		if _, err := readSized(c.r, nil); err != nil {
			return err
		}
		if !each() {
			return c.redial() // there is no other way to end it
		}
	}
}

func (c *floorClient) stall(context.Context) error { return errNoStreams }
func (c *floorClient) close()                      { c.c.Close() }

// The multiplexed floor puts a number in front. Calls wait for the goroutine
// that reads; the server's reader answers by itself. Nothing is limited.
func serveMux(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			r := bufio.NewReaderSize(c, 64<<10)
			for {
				msg, err := readNumbered(r)
				if err != nil {
					return
				}
				if _, err := c.Write(msg); err != nil {
					return
				}
			}
		}()
	}
}

// readNumbered reads length, number and message, and returns all of it.
func readNumbered(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(8)
	if err != nil {
		return nil, err
	}
	msg := make([]byte, 8+binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(r, msg)
	return msg, err
}

type muxClient struct {
	c       net.Conn
	writing sync.Mutex
	buf     []byte
	mu      sync.Mutex
	next    uint32
	waiting map[uint32]chan []byte
}

func dialMux(path string) (client, error) {
	nc, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	c := &muxClient{c: nc, waiting: map[uint32]chan []byte{}}
	go func() {
		r := bufio.NewReaderSize(nc, 64<<10)
		for {
			msg, err := readNumbered(r)
			if err != nil {
				return
			}
			id := binary.BigEndian.Uint32(msg[4:])
			c.mu.Lock()
			answer := c.waiting[id]
			delete(c.waiting, id)
			c.mu.Unlock()
			answer <- msg[8:]
		}
	}()
	return c, nil
}

func (c *muxClient) echo(ctx context.Context, msg []byte) ([]byte, error) {
	answer := make(chan []byte, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.waiting[id] = answer
	c.mu.Unlock()
	c.writing.Lock()
	c.buf = binary.BigEndian.AppendUint32(c.buf[:0], uint32(len(msg)))
	c.buf = binary.BigEndian.AppendUint32(c.buf, id)
	c.buf = append(c.buf, msg...)
	_, err := c.c.Write(c.buf)
	c.writing.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case back := <-answer:
		return back, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *muxClient) stream(context.Context, func() bool) error { return errNoStreams }
func (c *muxClient) stall(context.Context) error               { return errNoStreams }
func (c *muxClient) close()                                    { c.c.Close() }
