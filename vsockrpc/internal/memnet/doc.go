// Package memnet is stream connections within a process that behave as a
// socket's do, where net.Pipe does not: what is written is buffered up to a
// limit, deadlines may be moved while something waits for them, either side may
// end its direction alone, and listeners have names and a bounded backlog.
//
// Nothing in it does input or output: whatever waits does so on a condition or
// a channel and for timers, so connections that are made in a bubble of package
// testing/synctest work there.
//
// The storage of each direction is a Queue, which package vsocktest replaces by
// one that makes trouble.
package memnet
