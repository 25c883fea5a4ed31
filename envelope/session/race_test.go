//go:build race

package session

// everyByte is how many bytes apart documents are damaged: with the race
// detector signatures take ten times as long to verify.
const everyByte = 31
