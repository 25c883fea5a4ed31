//go:build goexperiment.runtimesecret

package secret

import "runtime/secret"

// Erases reports whether Do erases anything in this program.
const Erases = true

// Do calls f. Registers and stack that it used are erased before Do returns;
// what it allocated on the heap, when that is garbage and the collector sees
// it. Goroutines that f starts are not covered.
func Do(f func()) { secret.Do(f) }
