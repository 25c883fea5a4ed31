package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// kernelRelease checks that a file is a kernel that can start an enclave of
// this architecture, and returns its release, such as 6.12.1, or "" where the
// file does not tell. Nitro takes x86_64 kernels as bzImage (Linux, "The
// Linux/x86 Boot Protocol") and arm64 ones as Image ("Booting AArch64 Linux").
func kernelRelease(path, arch string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	isX86 := n >= 0x264 && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa && string(head[0x202:0x206]) == "HdrS"
	isARM := n >= 64 && string(head[56:60]) == "ARM\x64"
	switch {
	case arch == "x86_64" && isARM, arch == "arm64" && isX86:
		return "", fmt.Errorf("image: the kernel %s is not for %s", path, arch)
	case arch == "arm64" && isARM:
		return "", nil
	case arch == "x86_64" && isX86:
	default:
		form := map[string]string{"x86_64": "a bzImage", "arm64": "an uncompressed Image"}[arch]
		return "", fmt.Errorf("image: %s is no kernel: for %s that is %s", path, arch, form)
	}
	const loadedHigh = 0x211
	if head[loadedHigh]&1 == 0 {
		return "", fmt.Errorf("image: the kernel %s is a zImage, not a bzImage", path)
	}
	at := int(binary.LittleEndian.Uint16(head[0x20e:]))
	if at == 0 || at+0x200 >= n {
		return "", nil
	}
	text, _, _ := bytes.Cut(head[at+0x200:], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	return release, nil
}
