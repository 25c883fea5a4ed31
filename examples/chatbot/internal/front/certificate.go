package front

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificate is a TLS certificate of two PEM files that may be replaced while
// it is in use: each handshake looks at their times and sizes, and reads them
// when those have changed. What cannot be read, such as a certificate whose key
// has not been written yet, leaves the old one in use. It is safe for concurrent
// use.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	version [2]fileVersion // of the files that were read last, well or not
	failed  func()         // is told of files that cannot be used
}

// fileVersion is what a changed file has another of.
type fileVersion struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads the files for the first time. Failures later on are
// told to logger, which may be nil.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger, failed: func() {}}
	version, err := c.look()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c.current, c.version = &pair, version
	return c, nil
}

// look returns the versions of the files as they are now.
func (c *Certificate) look() (v [2]fileVersion, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return v, err
		}
		v[i] = fileVersion{info.ModTime(), info.Size()}
	}
	return v, nil
}

// Config returns a configuration that serves the certificate, TLS 1.2 or newer.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.get(), nil
	}}
}

// get returns the certificate of now.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	version, err := c.look()
	if err == nil && version == c.version {
		return c.current
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if err == nil {
		c.current = &pair
		c.logger.Info("the certificate was replaced")
	} else if version != c.version {
		c.logger.Warn("the new certificate cannot be used; the old one stays", "error", err)
		c.failed()
	}
	c.version = version
	return c.current
}
