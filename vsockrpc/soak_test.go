package vsockrpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// TestSoak has 32 callers make calls of all kinds and sizes on one connection,
// many of which are cancelled, and checks every message of every answer: each
// is bound to its request. NITROSEAL_SOAK is how long, for each transport; 10m
// is what a release should stand.
func TestSoak(t *testing.T) {
	length := 1500 * time.Millisecond
	if v := os.Getenv("NITROSEAL_SOAK"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	both(t, func(t *testing.T, addr string) { soak(t, addr, length) })
}

// Messages of TestSoak: the number of the call, the place in its stream, a
// checksum of all, and text. Answers have the same numbers and other text.
const (
	soakHeader  = 20
	soakLargest = 1 << 20
)

// soakText is what messages are made of, each a piece that begins elsewhere.
var soakText = func() []byte {
	b := make([]byte, soakLargest+1<<16)
	rand.NewChaCha8([32]byte{'s'}).Read(b)
	return b
}()

// appendSoak appends the message of a place, of size bytes with its header,
// unless that would be too small.
func appendSoak(b []byte, call uint64, place uint32, answer bool, size int) []byte {
	begin := len(b)
	b = binary.BigEndian.AppendUint64(b, call)
	b = binary.BigEndian.AppendUint32(b, place)
	b = append(b, make([]byte, 8)...)
	if answer {
		b[begin+12] = 1
	}
	at := (call*31 + uint64(place)*7) % (1 << 16)
	b = append(b, soakText[at:][:max(size-soakHeader, 0)]...)
	binary.BigEndian.PutUint32(b[begin+16:], crc32.ChecksumIEEE(b[begin:]))
	return b
}

// checkSoak checks a message, all of it.
func checkSoak(b []byte, call uint64, place uint32, answer bool, size int) error {
	if len(b) != max(size, soakHeader) {
		return fmt.Errorf("%d bytes, not %d", len(b), size)
	}
	if !bytes.Equal(b, appendSoak(nil, call, place, answer, size)) {
		return fmt.Errorf("message %d of call %d is another: call %d, message %d, answer %d", place, call,
			binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), b[12])
	}
	return nil
}

// soakOf reads the header of a request, whose checksum must be right.
func soakOf(b []byte) (call uint64, place uint32, err error) {
	if len(b) < soakHeader {
		return 0, 0, fmt.Errorf("request of %d bytes", len(b))
	}
	call, place = binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	return call, place, checkSoak(b, call, place, false, len(b))
}

// soakSize is the size of a message: mostly small.
func soakSize(r *rand.Rand) int {
	switch r.IntN(20) {
	case 0:
		return r.IntN(soakLargest)
	case 1, 2:
		return r.IntN(100 << 10)
	case 3, 4, 5:
		return r.IntN(5000)
	case 6:
		return 0
	}
	return r.IntN(300)
}

// soakCounts is what was done.
type soakCounts struct {
	calls, cancelled, late, messages, bytes, mismatches, odd atomic.Int64
}

func soak(t *testing.T, addr string, length time.Duration) {
	var n soakCounts
	heard := func(b []byte) { n.messages.Add(1); n.bytes.Add(int64(len(b))) }
	bad := func(err error) { n.mismatches.Add(1); t.Error(err) }

	var log syncBuffer // why connections broke, which none should
	logger := slog.New(slog.NewTextHandler(&log, nil))
	defer func() {
		if log.String() != "" {
			t.Errorf("the log: %s", log.String())
		}
	}()
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{Logger: logger})
	s.Handle("copy", func(_ context.Context, req []byte) ([]byte, error) {
		if len(req) == 0 {
			return nil, nil
		}
		call, place, err := soakOf(req)
		if err != nil {
			bad(err)
			return nil, err
		}
		return appendSoak(nil, call, place, true, len(req)), nil
	})
	// The request's memory is used for the answer, and for others afterwards.
	s.HandleLent("lent", func(ctx context.Context, req []byte) ([]byte, error) {
		call, place, err := soakOf(req)
		if err != nil {
			bad(err)
			return nil, err
		}
		if call%7 == 0 { // it is its own for as long as it takes
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			if err := checkSoak(req, call, place, false, len(req)); err != nil {
				bad(fmt.Errorf("a lent request changed: %w", err))
			}
		}
		return appendSoak(req[:0], call, place, true, len(req)), nil
	})
	s.HandleStream("many", func(_ context.Context, st *vsockrpc.ServerStream) error {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		call, messages, err := soakOf(req)
		if err != nil {
			bad(err)
			return err
		}
		for place := range messages {
			if err := st.Send(appendSoak(nil, call, place, true, len(req))); err != nil {
				return err
			}
		}
		return nil
	})
	s.HandleStream("both", func(_ context.Context, st *vsockrpc.ServerStream) error {
		for {
			req, err := st.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			call, place, err := soakOf(req)
			if err != nil {
				bad(err)
				return err
			}
			if err := st.Send(appendSoak(req[:0], call, place, true, len(req))); err != nil {
				return err
			}
		}
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	run := func(length time.Duration) {
		var all sync.WaitGroup
		end := time.Now().Add(length)
		for caller := range uint64(32) {
			all.Go(func() {
				r := rand.New(rand.NewPCG(caller, uint64(length)))
				var dst []byte
				for call := caller << 40; time.Now().Before(end) && !t.Failed(); call++ {
					ctx, cancel := context.WithCancel(context.Background())
					given := false // up, or too little time
					switch r.IntN(6) {
					case 0:
						given = true
						time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel)
					case 1:
						given = true
						ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(5000))*time.Microsecond)
					}
					var err error
					switch r.IntN(8) {
					case 0, 1:
						err = soakStream(ctx, c, "many", call, soakSize(r), uint32(r.IntN(30)), heard, bad)
					case 2, 3:
						err = soakStream(ctx, c, "both", call, soakSize(r), uint32(r.IntN(30)), heard, bad)
					case 4, 5:
						dst, err = soakAppend(ctx, c, dst, call, soakSize(r), heard, bad)
					default:
						err = soakCall(ctx, c, call, soakSize(r), heard, bad)
					}
					cancel()
					n.calls.Add(1)
					switch code := vsockrpc.CodeOf(err); {
					case err == nil:
					case code == vsockrpc.Canceled && given:
						n.cancelled.Add(1)
					case code == vsockrpc.DeadlineExceeded && given:
						n.late.Add(1)
					default:
						n.odd.Add(1)
						t.Errorf("call %d: %v: %v", call, err, causes(err))
					}
				}
			})
		}
		all.Wait()
	}

	run(length / 10) // whatever grows to its size does
	quiet := func() (goroutines int, heap uint64) {
		for deadline := time.Now().Add(10 * time.Second); s.Stats().Calls > 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d handlers go on", s.Stats().Calls)
			}
		}
		return leftGoroutines(0), heapInUse()
	}
	goroutines, heap := quiet()
	run(length - length/10)
	for deadline := time.Now().Add(10 * time.Second); leftGoroutines(0) > goroutines+2; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", leftGoroutines(0), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
	_, after := quiet()
	if after > heap+16<<20 {
		t.Errorf("%d MiB of heap, %d before", after>>20, heap>>20)
	}
	t.Logf("%d calls, of which %d were cancelled and %d late; %d messages and %d MiB came back; %d mismatches, %d unexpected errors; heap %d KiB, then %d; %d goroutines",
		n.calls.Load(), n.cancelled.Load(), n.late.Load(), n.messages.Load(), n.bytes.Load()>>20, n.mismatches.Load(), n.odd.Load(), heap>>10, after>>10, leftGoroutines(0))
	if n.calls.Load() < 100 || n.cancelled.Load()+n.late.Load() == 0 {
		t.Error("hardly anything was done")
	}
	s.Close()
	if err := <-served; !errors.Is(err, vsockrpc.ErrServerClosed) {
		t.Error(err)
	}
}

// causes is what an error wraps.
func causes(err error) []error {
	if e, ok := err.(interface{ Unwrap() []error }); ok {
		return e.Unwrap()
	}
	return nil
}

func soakCall(ctx context.Context, c *vsockrpc.Client, call uint64, size int, heard func([]byte), bad func(error)) error {
	var req []byte
	if size > 0 {
		req = appendSoak(nil, call, 3, false, size)
	}
	resp, err := c.Call(ctx, "copy", req)
	if err != nil {
		return err
	}
	heard(resp)
	if size == 0 && len(resp) > 0 {
		bad(fmt.Errorf("%d bytes answer nothing", len(resp)))
	} else if size > 0 {
		if err := checkSoak(resp, call, 3, true, size); err != nil {
			bad(err)
		}
	}
	return nil
}

// soakAppend uses the caller's buffer again and again, also after calls that
// were cancelled while the answer came, and checks that nothing writes to it in
// between.
func soakAppend(ctx context.Context, c *vsockrpc.Client, dst []byte, call uint64, size int, heard func([]byte), bad func(error)) ([]byte, error) {
	const before = "before"
	resp, err := c.AppendCall(ctx, append(dst[:0], before...), "lent", appendSoak(nil, call, 5, false, size))
	if string(resp[:len(before)]) != before {
		bad(fmt.Errorf("dst is %q", resp[:len(before)]))
	}
	if err != nil {
		// Whatever is written there from now on was written too late.
		all := resp[:cap(resp)]
		for i := range all {
			all[i] = 0xee
		}
		runtime.Gosched()
		for i, b := range all {
			if b != 0xee {
				bad(fmt.Errorf("dst was written to after AppendCall, at byte %d", i))
				break
			}
		}
		return resp, err
	}
	heard(resp)
	if err := checkSoak(resp[len(before):], call, 5, true, size); err != nil {
		bad(err)
	}
	return resp, nil
}

// soakStream receives messages answers, which for "both" it asks for one by one
// from another goroutine.
func soakStream(ctx context.Context, c *vsockrpc.Client, method string, call uint64, size int, messages uint32, heard func([]byte), bad func(error)) error {
	if size > 100<<10 {
		messages %= 5
	}
	st, err := c.Stream(ctx, method)
	if err != nil {
		return err
	}
	defer st.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if method == "many" {
			st.SendLast(appendSoak(nil, call, messages, false, size))
			return
		}
		var b []byte
		for place := range messages {
			b = appendSoak(b[:0], call, place, false, size)
			if st.Send(b) != nil {
				break // receiving tells why
			}
		}
		st.CloseSend() // in any case, as a deferred one would
	}()
	defer func() {
		st.Close() // or the sender might wait for the handler
		<-sent
	}()
	for place := uint32(0); ; place++ {
		m, err := st.Recv()
		if err == io.EOF {
			if place != messages {
				bad(fmt.Errorf("call %d ended well after %d of %d messages", call, place, messages))
			}
			return nil
		}
		if err != nil {
			return err
		}
		heard(m)
		if err := checkSoak(m, call, place, true, size); err != nil {
			bad(err)
		}
	}
}
