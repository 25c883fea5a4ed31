package attest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hf/nsm"
	"github.com/hf/nsm/request"
	"github.com/hf/nsm/response"
)

// Request is what an enclave asks the NSM to sign. Each field is optional.
type Request struct {
	// Nonce is the verifier's, so that it knows the document to be fresh; at
	// most 512 bytes.
	Nonce []byte
	// UserData is anything that the document shall bind; at most 512 bytes.
	UserData []byte
	// PublicKey is the enclave's key for messages to it; at most 1,024 bytes.
	// KMS expects the DER of an RSA SubjectPublicKeyInfo here.
	PublicKey []byte
}

// Attester makes attestation documents. It is safe for concurrent use.
type Attester interface {
	Attest(ctx context.Context, req Request) ([]byte, error)
}

// maxExtend leaves room in the NSM's request buffer of 4,096 bytes.
const maxExtend = 2048

// Code is an error that the NSM answered (enum ErrorCode of the NSM API). It
// is an error, so errors.Is(err, attest.CodeReadOnlyIndex) works.
type Code string

// The NSM's error codes.
const (
	CodeInvalidArgument  Code = "InvalidArgument"
	CodeInvalidIndex     Code = "InvalidIndex"
	CodeInvalidResponse  Code = "InvalidResponse"
	CodeReadOnlyIndex    Code = "ReadOnlyIndex" // the register is locked
	CodeInvalidOperation Code = "InvalidOperation"
	CodeBufferTooSmall   Code = "BufferTooSmall"
	CodeInputTooLarge    Code = "InputTooLarge"
	CodeInternalError    Code = "InternalError"
)

func (c Code) Error() string { return "NSM answered " + string(c) }

// ErrClosed is returned by the methods of a closed NSM.
var ErrClosed = errors.New("NSM is closed")

// errReply says that the device's reply was not the one that belongs to the
// request.
var errReply = errors.New("unexpected reply of the device")

// OpError is the error of an NSM operation.
type OpError struct {
	// Op is the NSM request, such as "Attestation".
	Op string
	// Err is a Code, ErrClosed, a context's error, or what the device failed
	// with.
	Err error
}

func (e *OpError) Error() string { return fmt.Sprintf("attest: %s: %v", e.Op, e.Err) }

// Unwrap returns e.Err.
func (e *OpError) Unwrap() error { return e.Err }

// NSMOptions configures OpenNSM.
type NSMOptions struct {
	// Device says how to reach the device. The zero value means /dev/nsm.
	// nsmtest.NSM.Device is a software one.
	Device nsm.Options
}

// NSM is an open Nitro Security Module. It is an Attester, and an io.Reader of
// the module's entropy. It is safe for concurrent use. A request that has
// reached the device cannot be cancelled, and takes milliseconds: contexts are
// looked at before.
type NSM struct {
	mu      sync.RWMutex // held for reading during requests, for writing by Close
	session *nsm.Session // nil once closed
}

// OpenNSM opens the device.
func OpenNSM(opts NSMOptions) (*NSM, error) {
	device := opts.Device
	if device.Open == nil {
		device.Open = nsm.DefaultOptions.Open
	}
	if device.Syscall == nil {
		device.Syscall = nsm.DefaultOptions.Syscall
	}
	s, err := nsm.OpenSession(device)
	if err != nil {
		return nil, &OpError{"open", err}
	}
	return &NSM{session: s}, nil
}

// Close closes the device after the requests under way. Closing twice is fine.
func (n *NSM) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.session == nil {
		return nil
	}
	err := n.session.Close()
	n.session = nil
	if err != nil {
		return &OpError{"close", err}
	}
	return nil
}

func (n *NSM) send(ctx context.Context, op string, req request.Request) (response.Response, error) {
	if err := ctx.Err(); err != nil {
		return response.Response{}, &OpError{op, err}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.session == nil {
		return response.Response{}, &OpError{op, ErrClosed}
	}
	res, err := n.session.Send(req)
	if err != nil {
		return response.Response{}, &OpError{op, err}
	}
	if res.Error != "" {
		return response.Response{}, &OpError{op, Code(res.Error)}
	}
	return res, nil
}

// Attest returns an attestation document over req, about 4.5 KB. Fields over
// their limits are refused with CodeInputTooLarge before the device sees them.
func (n *NSM) Attest(ctx context.Context, req Request) ([]byte, error) {
	const op = "Attestation"
	if len(req.Nonce) > maxNonce || len(req.UserData) > maxUserData || len(req.PublicKey) > maxPublicKey {
		return nil, &OpError{op, CodeInputTooLarge}
	}
	res, err := n.send(ctx, op, &request.Attestation{Nonce: req.Nonce, UserData: req.UserData, PublicKey: req.PublicKey})
	if err != nil {
		return nil, err
	}
	if res.Attestation == nil || len(res.Attestation.Document) == 0 {
		return nil, &OpError{op, errReply}
	}
	return res.Attestation.Document, nil
}

// PCRState is a register and whether it is locked.
type PCRState struct {
	Value  PCR
	Locked bool
}

// DescribePCR returns register i, 0 to 31.
func (n *NSM) DescribePCR(ctx context.Context, i int) (PCRState, error) {
	const op = "DescribePCR"
	index, err := pcrIndex(op, i)
	if err != nil {
		return PCRState{}, err
	}
	res, err := n.send(ctx, op, &request.DescribePCR{Index: index})
	if err != nil {
		return PCRState{}, err
	}
	if res.DescribePCR == nil || len(res.DescribePCR.Data) != pcrSize {
		return PCRState{}, &OpError{op, errReply}
	}
	return PCRState{Value: res.DescribePCR.Data, Locked: res.DescribePCR.Lock}, nil
}

// ExtendPCR extends register i by data and returns its new value. Registers 0
// to 15 are locked from the start (CodeReadOnlyIndex). Data is at most 2,048
// bytes; extend by a digest where there is more.
func (n *NSM) ExtendPCR(ctx context.Context, i int, data []byte) (PCR, error) {
	const op = "ExtendPCR"
	index, err := pcrIndex(op, i)
	if err != nil {
		return nil, err
	}
	if len(data) > maxExtend {
		return nil, &OpError{op, CodeInputTooLarge}
	}
	res, err := n.send(ctx, op, &request.ExtendPCR{Index: index, Data: data})
	if err != nil {
		return nil, err
	}
	if res.ExtendPCR == nil || len(res.ExtendPCR.Data) != pcrSize {
		return nil, &OpError{op, errReply}
	}
	return res.ExtendPCR.Data, nil
}

// LockPCR makes register i read-only for as long as the enclave runs.
func (n *NSM) LockPCR(ctx context.Context, i int) error {
	const op = "LockPCR"
	index, err := pcrIndex(op, i)
	if err != nil {
		return err
	}
	res, err := n.send(ctx, op, &request.LockPCR{Index: index})
	if err == nil && res.LockPCR == nil {
		err = &OpError{op, errReply}
	}
	return err
}

// LockPCRs makes registers 0 to count-1 read-only; count is at most 32.
func (n *NSM) LockPCRs(ctx context.Context, count int) error {
	const op = "LockPCRs"
	if count < 0 || count > maxPCRs {
		return &OpError{op, CodeInvalidIndex}
	}
	res, err := n.send(ctx, op, &request.LockPCRs{Range: uint16(count)})
	if err == nil && res.LockPCRs == nil {
		err = &OpError{op, errReply}
	}
	return err
}

// Description is what the module says of itself.
type Description struct {
	ModuleID                  string
	Major, Minor, Patch, PCRs int
	LockedPCRs                []int
	Digest                    string
}

// Describe returns the module's version, id and locked registers.
func (n *NSM) Describe(ctx context.Context) (Description, error) {
	const op = "DescribeNSM"
	res, err := n.send(ctx, op, &request.DescribeNSM{})
	if err != nil {
		return Description{}, err
	}
	d := res.DescribeNSM
	if d == nil {
		return Description{}, &OpError{op, errReply}
	}
	out := Description{
		ModuleID: d.ModuleID, Major: int(d.VersionMajor), Minor: int(d.VersionMinor), Patch: int(d.VersionPatch),
		PCRs: int(d.MaxPCRs), Digest: string(d.Digest),
	}
	for _, i := range d.LockedPCRs {
		out.LockedPCRs = append(out.LockedPCRs, int(i))
	}
	return out, nil
}

// Read fills p with entropy from the module, 256 bytes a request or so.
func (n *NSM) Read(p []byte) (int, error) {
	const op = "GetRandom"
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.session == nil {
		return 0, &OpError{op, ErrClosed}
	}
	read, err := n.session.Read(p)
	var code *nsm.ErrorGetRandomFailed
	switch {
	case errors.As(err, &code) && code.ErrorCode != "":
		err = &OpError{op, Code(code.ErrorCode)}
	case err != nil:
		err = &OpError{op, err}
	}
	return read, err
}

func pcrIndex(op string, i int) (uint16, error) {
	if i < 0 || i >= maxPCRs {
		return 0, &OpError{op, CodeInvalidIndex}
	}
	return uint16(i), nil
}
