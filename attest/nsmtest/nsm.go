package nsmtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/attest"
)

// Registers of the module, as the real one has them.
const (
	maxPCRs    = 32
	lockedPCRs = 16 // 0 to 15 are locked when an enclave starts
)

// maxModuleID is the longest that package attest takes, in bytes.
const maxModuleID = 256

// DefaultModuleID is the module id where Options give none.
const DefaultModuleID = "i-0123456789abcdef0-enc0123456789abcde"

// Options configures a software NSM.
type Options struct {
	// CA signs the module's certificate. Required.
	CA *CA
	// PCRs are the values of registers when the enclave starts. The others
	// are zero, but for PCR4, which is the one of ModuleID's instance. With
	// PCR0 to PCR2 zero the module is that of a debug-mode enclave.
	PCRs attest.PCRs
	// ModuleID, at most 256 bytes of UTF-8; empty means DefaultModuleID.
	ModuleID string
	// Clock gives the module's time. nil means time.Now.
	Clock func() time.Time
	// Fault, if not nil, is asked before each request, which it is given by
	// name ("Attestation", "DescribePCR", …), and may take its place. It may
	// be called concurrently.
	Fault func(op string) *Fault
}

// NSM is a software NSM. It is safe for concurrent use.
type NSM struct {
	opts Options

	mu     sync.Mutex // guards what follows
	pcrs   [maxPCRs]attest.PCR
	locked [maxPCRs]bool
	chain  *chain
}

// New starts a module, as it is when an enclave boots.
func New(opts Options) (*NSM, error) {
	if opts.CA == nil || opts.CA.cert == nil {
		return nil, errors.New("nsmtest: no CA of NewCA or ParseCA")
	}
	if opts.ModuleID == "" {
		opts.ModuleID = DefaultModuleID
	}
	if len(opts.ModuleID) > maxModuleID || !utf8.ValidString(opts.ModuleID) {
		return nil, fmt.Errorf("nsmtest: a module id is text of at most %d bytes", maxModuleID)
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	n := &NSM{opts: opts}
	for i := range n.pcrs {
		n.pcrs[i], n.locked[i] = attest.ZeroPCR(), i < lockedPCRs
	}
	if instance, _, ok := strings.Cut(opts.ModuleID, "-enc"); ok {
		n.pcrs[4] = attest.PCR4(instance)
	}
	for i, v := range opts.PCRs {
		if i < 0 || i >= maxPCRs || len(v) != len(n.pcrs[0]) {
			return nil, fmt.Errorf("nsmtest: PCR%d is no register of %d bytes", i, len(n.pcrs[0]))
		}
		n.pcrs[i] = v
	}
	return n, nil
}

func (n *NSM) describePCR(i int) (any, attest.Code) {
	if i >= maxPCRs {
		return nil, attest.CodeInvalidIndex
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return describePCRReply{Lock: n.locked[i], Data: n.pcrs[i]}, ""
}

func (n *NSM) extendPCR(i int, data []byte) (any, attest.Code) {
	if i >= maxPCRs {
		return nil, attest.CodeInvalidIndex
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.locked[i] {
		return nil, attest.CodeReadOnlyIndex
	}
	n.pcrs[i] = n.pcrs[i].Extend(data)
	return dataReply{n.pcrs[i]}, ""
}

func (n *NSM) lockPCR(i int) attest.Code {
	if i >= maxPCRs {
		return attest.CodeInvalidIndex
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.locked[i] {
		return attest.CodeReadOnlyIndex
	}
	n.locked[i] = true
	return ""
}

func (n *NSM) lockRange(count int) attest.Code {
	if count > maxPCRs {
		return attest.CodeInvalidIndex
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range count {
		n.locked[i] = true
	}
	return ""
}

func (n *NSM) describe() any {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := describeReply{VersionMajor: 1, ModuleID: n.opts.ModuleID, MaxPCRs: maxPCRs, Digest: "SHA384"}
	for i, locked := range n.locked {
		if locked {
			d.LockedPCRs = append(d.LockedPCRs, uint16(i))
		}
	}
	return d
}

func (n *NSM) attest(req attestationRequest) (any, attest.Code) {
	if len(req.Nonce) > 512 || len(req.UserData) > 512 || len(req.PublicKey) > 1024 {
		return nil, attest.CodeInputTooLarge
	}
	now := n.opts.Clock()
	n.mu.Lock()
	// The module gets a new certificate well before the old one ends.
	if n.chain == nil || now.After(n.chain.notAfter.Add(-leafValidity/3)) {
		c, err := n.opts.CA.newChain(n.opts.ModuleID, now)
		if err != nil {
			n.mu.Unlock()
			return nil, attest.CodeInternalError
		}
		n.chain = c
	}
	c := n.chain
	// Only locked registers are reported: the others may still change.
	pcrs := attest.PCRs{}
	for i, locked := range n.locked {
		if locked {
			pcrs[i] = n.pcrs[i]
		}
	}
	n.mu.Unlock()
	doc, err := signDocument(c, n.opts.ModuleID, now, pcrs, req)
	if err != nil {
		return nil, attest.CodeInternalError
	}
	return documentReply{doc}, ""
}

// random is what GetRandom gives at a time.
func random() any {
	b := make([]byte, 256)
	rand.Read(b)
	return randomReply{b}
}
