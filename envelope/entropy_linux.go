package envelope

import (
	"os"
	"syscall"
)

// rndReseedCRNG is RNDRESEEDCRNG of linux/random.h, on amd64 and arm64, which
// is what Nitro Enclaves run on. Elsewhere the kernel may not know the number.
const rndReseedCRNG = 0x5207

// reseed asks the kernel to take what was written into use now; by itself it
// reseeds about once a minute. The request needs CAP_SYS_ADMIN, which the one
// program of an enclave has. Refusal is no failure: before its first seed the
// generator takes what was written along, and without the privilege it does so
// at its next reseed.
func reseed(pool *os.File) {
	conn, err := pool.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, rndReseedCRNG, 0)
	})
}
