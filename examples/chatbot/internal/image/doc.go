// Package image makes an enclave image file of a program, without Docker.
//
// An image has two ramdisks, which the kernel unpacks over each other into one
// root file system:
//
//	boot (PCR1)  /init, which is the program; the C library and what else the
//	             program needs to start; kernel modules, in the order in which
//	             they are loaded
//	app (PCR2)   what it runs with: its arguments, libllama with its backends,
//	             a model and other files
//
// So PCR1 changes with kernel and program, PCR2 with arguments and model, and
// PCR0 with all.
//
// The same files give the same bytes, wherever they lie and whenever that is:
// names are sorted, times are zero and all belongs to root. The ramdisks are
// not compressed, since compressors change their output between versions.
//
// What a program needs is found by reading its ELF headers as ld.so does:
// nothing is executed, so that images can be made for another architecture.
package image
