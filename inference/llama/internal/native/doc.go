// Package native binds the functions of libllama that package llama uses. It
// is the only package that touches C memory or passes C structures.
//
// [Load] checks the library's binary interface before it makes the first call
// that depends on it; see guard.go.
package native
