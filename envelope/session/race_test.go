//go:build race

package session

// everyByte is how many bytes apart documents and requests are damaged: with
// the race detector cryptography takes ten times as long.
const everyByte = 31
