// Package secret erases what functions that handle secrets leave behind in
// registers, on the stack and on the heap, where Go can do that: in programs
// built with GOEXPERIMENT=runtimesecret, on linux/amd64 and linux/arm64 (Go
// package runtime/secret). In others Do only calls the function.
//
// Code clears what it can reach by itself all the same; Do is for the rest, such
// as the insides of a private key or of a cipher that the standard library made.
package secret
