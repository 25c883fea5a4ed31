//go:build !race

package session

// everyByte is how many bytes apart documents and requests are damaged.
const everyByte = 1
