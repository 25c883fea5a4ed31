package image

import "fmt"

// Allocation is what the parent instance must set aside for an enclave.
type Allocation struct {
	MemoryMiB int64
	CPUs      int
}

// What allocations are made of, in MiB.
const (
	// MinMemory is the floor: kernel, program and the small model's work.
	MinMemory = 512
	// memoryStep is what memory is rounded up to: huge pages of 2 MiB go into
	// it, and the numbers stay legible.
	memoryStep = 64
)

// Allocate computes the memory for an image: nitro-cli demands four times its
// size. more is for what is not in the image and is loaded later, such as a
// sealed model, in MiB.
func Allocate(imageSize, more int64, cpus int) Allocation {
	mib := (4*imageSize + 1<<20 - 1) >> 20
	mib = max(mib, MinMemory) + more
	return Allocation{MemoryMiB: (mib + memoryStep - 1) / memoryStep * memoryStep, CPUs: cpus}
}

// YAML is the allocation as /etc/nitro_enclaves/allocator.yaml has it, which
// nitro-enclaves-allocator.service reads.
func (a Allocation) YAML() []byte {
	return fmt.Appendf(nil, "---\n# Memory and CPUs that are taken from this instance for enclaves.\nmemory_mib: %d\ncpu_count: %d\n", a.MemoryMiB, a.CPUs)
}
