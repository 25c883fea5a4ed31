//go:build goexperiment.runtimesecret && linux && (amd64 || arm64)

package envelope

import (
	"runtime"
	"slices"
	"testing"
	"unsafe"
)

// wordsAt reads memory that Go may have freed, which stays mapped.
//
//go:nocheckptr
func wordsAt(at uintptr, n int) []uint {
	// The address is of nothing that the collector knows: kept as a number
	// until now, it did not keep the memory alive.
	return slices.Clone(unsafe.Slice(*(**uint)(unsafe.Pointer(&at)), n))
}

// The primes of a private key that nobody has any more are no longer in memory.
func TestPrivateKeyIsErased(t *testing.T) {
	at, n := func() (uintptr, int) {
		key, err := generateKey(2048)
		if err != nil {
			t.Fatal(err)
		}
		words := key.Primes[0].Bits()
		if len(words) < 16 {
			t.Fatalf("a prime of %d words", len(words))
		}
		return uintptr(unsafe.Pointer(&words[0])), len(words)
	}()
	for range 3 {
		runtime.GC()
	}
	left := 0
	for _, w := range wordsAt(at, n) {
		if w != 0 {
			left++
		}
	}
	if left > n/4 { // the memory may serve something else by now
		t.Errorf("%d of %d words of a prime are left", left, n)
	}
}
