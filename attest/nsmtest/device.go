package nsmtest

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
	"github.com/hf/nsm"
	"github.com/hf/nsm/ioc"

	"github.com/nitroseal/nitroseal/attest"
)

// Limits of the device's buffers, in bytes (drivers/misc/nsm.c in Linux).
const (
	maxRequest  = 0x1000
	maxResponse = 0x3000
)

// Fault takes the place of the module's work on one request.
type Fault struct {
	// Errno, if not 0, is what the ioctl fails with.
	Errno syscall.Errno
	// Code, if not empty, is the error code that the module answers.
	Code attest.Code
	// Reply is otherwise the module's whole reply, well-formed or not.
	Reply []byte
}

// message is struct nsm_raw: where the request is and where the response goes.
type message struct {
	request, response syscall.Iovec
}

var ioctlNSM = uintptr(ioc.Command(ioc.READ|ioc.WRITE, 0x0A, 0, uint(unsafe.Sizeof(message{}))))

// devices are the open files, by descriptor. A table is needed because the
// stand-in for the system call below must be a plain function.
var devices struct {
	sync.Mutex
	last uintptr
	open map[uintptr]*NSM
}

// firstFd keeps the descriptors away from those of real files.
const firstFd = 1 << 30

// file is an open device file.
type file struct{ fd uintptr }

func (f file) Fd() uintptr { return f.fd }

func (f file) Close() error {
	devices.Lock()
	defer devices.Unlock()
	delete(devices.open, f.fd)
	return nil
}

// Device returns what hf/nsm needs to talk to the module instead of /dev/nsm.
func (n *NSM) Device() nsm.Options {
	return nsm.Options{Open: n.open, Syscall: deviceSyscall}
}

func (n *NSM) open() (nsm.FileDescriptor, error) {
	devices.Lock()
	defer devices.Unlock()
	if devices.open == nil {
		devices.open, devices.last = map[uintptr]*NSM{}, firstFd
	}
	devices.last++
	devices.open[devices.last] = n
	return file{devices.last}, nil
}

// deviceSyscall stands for syscall.Syscall on the device file.
//
// Its last argument is the address of a message that may lie on the caller's
// stack, and that stack, unlike during a real system call, can move while this
// code runs: it is the same goroutine's. The address is therefore turned into
// a pointer before anything can grow the stack: nosplit sees to that, and to a
// plain function, since the wrapper of a method value could grow it. From then
// on the runtime keeps the pointer right.
//
//go:nosplit
func deviceSyscall(trap, fd, command, arg uintptr) (r1, r2 uintptr, errno syscall.Errno) {
	return 0, 0, ioctl(trap, fd, command, *(**message)(unsafe.Pointer(&arg)))
}

func ioctl(trap, fd, command uintptr, msg *message) syscall.Errno {
	devices.Lock()
	n := devices.open[fd]
	devices.Unlock()
	if n == nil {
		return syscall.EBADF
	}
	return n.ioctl(trap, command, msg)
}

func (n *NSM) ioctl(trap, command uintptr, msg *message) syscall.Errno {
	if trap != syscall.SYS_IOCTL || command != ioctlNSM {
		return syscall.ENOTTY
	}
	if msg.request.Len > maxRequest || msg.response.Len > maxResponse {
		return syscall.EMSGSIZE
	}
	reply, errno := n.handle(unsafe.Slice(msg.request.Base, msg.request.Len))
	if errno != 0 {
		return errno
	}
	out := unsafe.Slice(msg.response.Base, msg.response.Len)
	if len(reply) > len(out) {
		reply = errorReply(attest.CodeBufferTooSmall)
	}
	msg.response.SetLen(copy(out, reply))
	return 0
}

// handle decodes a request, has it done and encodes the reply.
func (n *NSM) handle(raw []byte) ([]byte, syscall.Errno) {
	op, args, ok := splitRequest(raw)
	if n.opts.Fault != nil {
		if f := n.opts.Fault(op); f != nil {
			switch {
			case f.Errno != 0:
				return nil, f.Errno
			case f.Code != "":
				return errorReply(f.Code), 0
			}
			return f.Reply, 0
		}
	}
	if !ok {
		return errorReply(attest.CodeInvalidArgument), 0
	}
	return n.dispatch(op, args), 0
}

func (n *NSM) dispatch(op string, args cbor.RawMessage) []byte {
	var reply any
	var code attest.Code
	switch op {
	case "DescribeNSM":
		reply = n.describe()
	case "GetRandom":
		reply = random()
	case "DescribePCR":
		var a indexRequest
		if cbor.Unmarshal(args, &a) != nil {
			return errorReply(attest.CodeInvalidArgument)
		}
		reply, code = n.describePCR(int(a.Index))
	case "ExtendPCR":
		var a extendRequest
		if cbor.Unmarshal(args, &a) != nil {
			return errorReply(attest.CodeInvalidArgument)
		}
		reply, code = n.extendPCR(int(a.Index), a.Data)
	case "Attestation":
		var a attestationRequest
		if cbor.Unmarshal(args, &a) != nil {
			return errorReply(attest.CodeInvalidArgument)
		}
		reply, code = n.attest(a)
	case "LockPCR":
		var a indexRequest
		if cbor.Unmarshal(args, &a) != nil {
			return errorReply(attest.CodeInvalidArgument)
		}
		return bareReply(op, n.lockPCR(int(a.Index)))
	case "LockPCRs":
		var a rangeRequest
		if cbor.Unmarshal(args, &a) != nil {
			return errorReply(attest.CodeInvalidArgument)
		}
		return bareReply(op, n.lockRange(int(a.Range)))
	default:
		return errorReply(attest.CodeInvalidOperation)
	}
	if code != "" {
		return errorReply(code)
	}
	return encode(map[string]any{op: reply})
}
