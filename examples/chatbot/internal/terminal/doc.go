// Package terminal is the chatbot's user interface on a terminal, or in a
// pipe: one question (Once) or a conversation (Chat), over an ask.Asker.
//
// Answers go to Out; the prompt, notes and errors go to Err, so that Out can
// be a file. Both functions have told of an error on Err by the time they
// return it: the caller passes it to ExitCode and prints nothing.
//
// # Exit codes
//
//	0    answered, or the conversation was left
//	1    failed
//	2    called wrongly: a flag or a question that can never be right
//	3    the enclave, or its answer, is not to be trusted
//	4    refused by KMS: the key policy or the credentials
//	5    unavailable, overloaded or too late: the same can succeed later
//	130  interrupted
//
// # Untrusted text
//
// An answer comes from a model that may have been talked into anything, and
// names come from model files. None of it reaches a terminal before it has
// been made harmless: each control character but newline and tab (C0, DEL and
// C1, so every escape sequence) and each bidirectional embedding, override and
// isolate (U+202A to U+202E, U+2066 to U+2069) is shown as U+FFFD, whatever
// the borders of chunks. CR LF is shown as a newline. In JSON the same
// characters are escaped instead, so that nothing is lost.
//
// # Confidential text
//
// The conversation and the prompt's history stay in this process and are
// never written to disk. A receipt, which is written where asked for, is
// readable by its owner only. What the terminal itself keeps, such as its
// scrollback, is beyond this package.
//
// # Interrupts
//
// The caller turns SIGINT into Options.Interrupts, and does not end the
// context for it. One ends the answer under way and not the program; at an
// empty prompt it says how to leave, and the next one leaves. The terminal is
// in raw mode only while the prompt is shown; then Ctrl-C comes as a key, with
// the same effect.
package terminal
