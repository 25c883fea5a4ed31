//go:build !linux

package envelope

import "os"

// reseed leaves it to the kernel when to reseed.
func reseed(*os.File) {}
