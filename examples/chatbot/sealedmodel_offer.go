package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

const (
	// maxOffered is how many receivers each offer has at a time.
	maxOffered = 8
	// offerTimeout is how long a receiver may take nothing.
	offerTimeout = time.Minute
	// offerWrite is the most in one write: some kernels corrupt larger ones on
	// vsock.
	offerWrite = 32 << 10
)

// offer sends a file to whoever connects, until ctx ends. It reads the file
// anew for each, since credentials are replaced from time to time.
func offer(ctx context.Context, addr, file string, logger *slog.Logger) (serve func() error, err error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return func() error {
		var wg sync.WaitGroup
		defer wg.Wait()
		defer l.Close()
		defer context.AfterFunc(ctx, func() { l.Close() })()
		slots := make(chan struct{}, maxOffered)
		for {
			slots <- struct{}{}
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("offering %s: %w", file, err)
			}
			if err != nil { // such as no descriptors left, for the moment
				logger.Warn("offer", "file", file, "error", err)
				time.Sleep(100 * time.Millisecond)
				<-slots
				continue
			}
			wg.Go(func() {
				defer func() { <-slots }()
				n, err := sendFile(ctx, c, file)
				logger.Info("offer", "file", file, "bytes", n, "error", err)
			})
		}
	}, nil
}

func sendFile(ctx context.Context, c net.Conn, file string) (int64, error) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.CopyBuffer(patientWriter{c}, struct{ io.Reader }{f}, make([]byte, offerWrite))
}

// patientWriter gives up when a write makes no progress.
type patientWriter struct{ c net.Conn }

func (w patientWriter) Write(p []byte) (int, error) {
	if err := w.c.SetWriteDeadline(time.Now().Add(offerTimeout)); err != nil {
		return 0, err
	}
	return w.c.Write(p)
}
