// Package pid1 is the first process of an enclave.
//
// The kernel starts it, from the image's boot ramdisk, with an empty machine: no
// file systems, no modules, no network. It sets that up, tells nitro-cli that
// the enclave has booted, starts the one program that the image is for, reaps
// what ends, and restarts the machine when that program ends, however it does.
// On Nitro a restart ends the enclave.
//
// The program is a process of its own, so that whatever kills it, a fault in a
// library or lack of memory, leaves this one to end things in order. If this one
// fails as well, the kernel panics, and has been told to restart then.
//
// Nothing from outside reaches it: the configuration lies in the image, and is
// measured. The console shows which step failed and nothing else.
package pid1
