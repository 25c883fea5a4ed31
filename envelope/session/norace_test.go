//go:build !race

package session

// everyByte is how many bytes apart documents are damaged.
const everyByte = 1
