package nsmtest

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
)

// call makes the ioctl that hf/nsm makes, with any bytes.
func call(t *testing.T, n *NSM, request []byte, room int, command uintptr) (reply []byte, errno syscall.Errno) {
	t.Helper()
	device := n.Device()
	f, err := device.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make([]byte, room+1) // never empty, so that it has an address
	msg := &message{}
	msg.request.Base, msg.response.Base = &request[0], &out[0]
	msg.request.SetLen(len(request))
	msg.response.SetLen(room)
	_, _, errno = device.Syscall(syscall.SYS_IOCTL, f.Fd(), command, uintptr(unsafe.Pointer(msg)))
	if errno != 0 {
		return nil, errno
	}
	return out[:msg.response.Len], 0
}

func newNSM(t *testing.T) *NSM {
	t.Helper()
	ca, err := NewCA(CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestIoctl(t *testing.T) {
	n := newNSM(t)
	describe := encode("DescribeNSM")
	if reply, errno := call(t, n, describe, maxResponse, ioctlNSM); errno != 0 || len(reply) == 0 {
		t.Fatal(errno)
	}
	if _, errno := call(t, n, describe, maxResponse, ioctlNSM+1); errno != syscall.ENOTTY {
		t.Errorf("another command: %v", errno)
	}
	if _, errno := call(t, n, make([]byte, maxRequest+1), maxResponse, ioctlNSM); errno != syscall.EMSGSIZE {
		t.Errorf("a large request: %v", errno)
	}
	if _, errno := call(t, n, describe, maxResponse+1, ioctlNSM); errno != syscall.EMSGSIZE {
		t.Errorf("a large buffer: %v", errno)
	}
	device := n.Device()
	if _, _, errno := device.Syscall(syscall.SYS_IOCTL, 7, ioctlNSM, 0); errno != syscall.EBADF {
		t.Errorf("a descriptor that is not open: %v", errno)
	}
}

func TestBadRequests(t *testing.T) {
	n := newNSM(t)
	for name, tt := range map[string]struct {
		request any
		want    string
	}{
		"unknown":              {"Reboot", "InvalidOperation"},
		"a number":             {7, "InvalidArgument"},
		"two variants":         {map[string]any{"LockPCR": 1, "LockPCRs": 2}, "InvalidArgument"},
		"DescribePCR, no map":  {map[string]any{"DescribePCR": 1}, "InvalidArgument"},
		"DescribePCR, no args": {"DescribePCR", "InvalidArgument"},
		"ExtendPCR, no args":   {map[string]any{"ExtendPCR": "x"}, "InvalidArgument"},
		"LockPCR, no args":     {map[string]any{"LockPCR": "x"}, "InvalidArgument"},
		"LockPCRs, no args":    {map[string]any{"LockPCRs": "x"}, "InvalidArgument"},
		"Attestation, no args": {map[string]any{"Attestation": "x"}, "InvalidArgument"},
		"PCR32":                {map[string]any{"DescribePCR": indexRequest{32}}, "InvalidIndex"},
		"extend PCR32":         {map[string]any{"ExtendPCR": extendRequest{32, nil}}, "InvalidIndex"},
		"lock PCR32":           {map[string]any{"LockPCR": indexRequest{32}}, "InvalidIndex"},
		"lock 33":              {map[string]any{"LockPCRs": rangeRequest{33}}, "InvalidIndex"},
		"nonce of 513 bytes":   {map[string]any{"Attestation": attestationRequest{Nonce: make([]byte, 513)}}, "InputTooLarge"},
	} {
		reply, errno := call(t, n, encode(tt.request), maxResponse, ioctlNSM)
		var e map[string]string
		if errno != 0 || cbor.Unmarshal(reply, &e) != nil || e["Error"] != tt.want {
			t.Errorf("%s: %v, %v", name, errno, e)
		}
	}
	reply, errno := call(t, n, encode("GetRandom"), 30, ioctlNSM)
	var e map[string]string
	if errno != 0 || cbor.Unmarshal(reply, &e) != nil || e["Error"] != "BufferTooSmall" {
		t.Errorf("a small buffer: %v, %x", errno, reply)
	}
}
