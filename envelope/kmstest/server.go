package kmstest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// Options configures a Server.
type Options struct {
	// Region that the server is of. Empty means us-east-1.
	Region string
	// Account that keys belong to. Empty means 111122223333.
	Account string
	// Clock tells the time. nil means time.Now.
	Clock func() time.Time
	// AttestationRoots are the roots under which attestation documents are
	// believed, such as a simulated NSM's. nil means AWS's alone.
	AttestationRoots []*x509.Certificate
	// MaxAttestationAge bounds the age of attestation documents. 0 means 5
	// minutes.
	MaxAttestationAge time.Duration
	// DefaultPolicy is the key policy of keys that are created without one. Empty
	// allows nothing to anybody: what AWS has in its place is for IAM to fill.
	DefaultPolicy string
	// StateFile, where not empty, keeps keys, aliases and policies from one
	// server to the next, with the key material in clear. It is for one server
	// at a time, made if there is none, and a bad one is an error (ErrState),
	// never replaced. Close the server.
	StateFile string
	// Listener to serve on; nil means a free port of 127.0.0.1. Handler does
	// not use it.
	Listener net.Listener
	// Logger gets one record a request: operation, principal and outcome,
	// never plaintext, keys or tokens. nil is silent.
	Logger *slog.Logger
}

// Principal is somebody who may sign requests.
type Principal struct {
	// ARN as key policies name it, such as
	// arn:aws:iam::111122223333:role/enclave.
	ARN string
	// The credentials. SessionToken may be empty.
	AccessKeyID, SecretAccessKey, SessionToken string
	// Expires, unless zero, is when the credentials end.
	Expires time.Time
}

// Server is a local KMS. It is safe for concurrent use.
type Server struct {
	opts Options
	http *http.Server
	ca   []byte // PEM, of a TLS server
	url  string
	lock *os.File // of the state file; guarded by mu

	chains *attest.ChainCache

	mu         sync.RWMutex
	principals map[string]*Principal // by access key id
	keys       map[string]*key       // by key id
	aliases    map[string]string     // alias to key id
}

// regionLetters are what names of regions are made of: they are part of ARNs.
const regionLetters = "abcdefghijklmnopqrstuvwxyz0123456789-"

// New returns a server that serves nothing by itself: its Handler can be
// hosted anywhere.
func New(opts Options) (*Server, error) {
	if opts.Region == "" {
		opts.Region = "us-east-1"
	}
	if opts.Account == "" {
		opts.Account = "111122223333"
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.MaxAttestationAge == 0 {
		opts.MaxAttestationAge = 5 * time.Minute
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if len(opts.Account) != 12 || strings.Trim(opts.Account, "0123456789") != "" || opts.MaxAttestationAge < 0 {
		return nil, errors.New("kmstest: an account has 12 digits, and an age is positive")
	}
	if strings.Trim(opts.Region, regionLetters) != "" {
		return nil, errors.New("kmstest: a region has lower-case letters, digits and hyphens")
	}
	if opts.DefaultPolicy != "" {
		if _, err := parsePolicy(opts.DefaultPolicy); err != nil {
			return nil, err
		}
	}
	s := &Server{
		opts:       opts,
		chains:     attest.NewChainCache(0),
		principals: map[string]*Principal{},
		keys:       map[string]*key{},
		aliases:    map[string]string{},
	}
	if opts.StateFile != "" {
		if err := s.openState(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// NewServer starts a server over plain HTTP. Close it.
func NewServer(opts Options) (*Server, error) {
	s, err := New(opts)
	if err != nil {
		return nil, err
	}
	if err := s.start(nil); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// NewTLSServer starts a server over HTTPS, with a certificate for 127.0.0.1,
// ::1 and localhost from a throw-away CA, CACertPEM. Close it.
func NewTLSServer(opts Options) (*Server, error) {
	s, err := New(opts)
	if err != nil {
		return nil, err
	}
	ca, cert, err := newCertificate()
	if err != nil {
		s.Close()
		return nil, err
	}
	s.ca = ca
	if err := s.start(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(config *tls.Config) error {
	l := s.opts.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	s.url = "http://" + l.Addr().String()
	if config != nil {
		s.url = "https://" + l.Addr().String()
		l = tls.NewListener(l, config)
	}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}
	go s.http.Serve(l)
	return nil
}

// URL is the endpoint of a started server.
func (s *Server) URL() string { return s.url }

// Region is the server's.
func (s *Server) Region() string { return s.opts.Region }

// CACertPEM is the certificate under which clients trust a TLS server.
func (s *Server) CACertPEM() []byte { return s.ca }

// Close stops a started server and its connections, and gives its state file
// free.
func (s *Server) Close() error {
	var err error
	if s.http != nil {
		err = s.http.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		s.lock.Close()
		s.lock = nil // a handler that is still under way saves nothing
	}
	return err
}

// AddPrincipal makes p known. An access key id that is known already is
// replaced.
func (s *Server) AddPrincipal(p Principal) error {
	if p.ARN == "" || p.AccessKeyID == "" || p.SecretAccessKey == "" {
		return errors.New("kmstest: a principal needs ARN, AccessKeyID and SecretAccessKey")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.principals[p.AccessKeyID] = &p
	return nil
}

func (s *Server) principal(accessKeyID string) *Principal {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.principals[accessKeyID]
}
