package envelope

import (
	"fmt"
	"io"
	"os"
)

// kernelPool takes entropy for the kernel's generator (random(4)). Anyone may
// write to it: what is written is mixed in, and can only add to what is there.
const kernelPool = "/dev/random"

// entropySize is how many bytes are mixed in at a time: twice the 256 bits that
// the generator's state holds.
const entropySize = 64

// mixEntropy writes bytes from src to the pool, and has the kernel reseed its
// generator from there at once where it lets us.
func mixEntropy(src io.Reader, pool string) error {
	var seed [entropySize]byte
	defer clear(seed[:])
	if _, err := io.ReadFull(src, seed[:]); err != nil {
		return fmt.Errorf("envelope: reading entropy: %w", err)
	}
	f, err := os.OpenFile(pool, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("envelope: mixing entropy in: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(seed[:]); err != nil {
		return fmt.Errorf("envelope: mixing entropy in: %w", err)
	}
	reseed(f)
	return nil
}
