// Package guest boots a Linux kernel in QEMU and runs one program in it, so
// that tests have what the machine lacks: above all AF_VSOCK with a peer.
//
// The guest has no disk and no network; its root file system is an initramfs
// made here. Its console is the program's output. Nothing needs privileges, and
// without KVM QEMU emulates the processor, about ten times slower.
package guest
