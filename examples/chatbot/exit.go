package main

import "errors"

// exitError ends the program with a status of its own.
type exitError struct {
	status int
	err    error // nil if everything has been said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// ExitStatus implements what exitStatus looks for.
func (e *exitError) ExitStatus() int { return e.status }

// exitStatus is what the program ends with after an error: what the error, or
// one that it wraps, says by a method ExitStatus, or else exitFailed. A status
// that would pass for success, or that no process can have, is exitFailed too.
func exitStatus(err error) int {
	var e interface {
		error
		ExitStatus() int
	}
	if errors.As(err, &e) {
		if status := e.ExitStatus(); status > 0 && status < 256 {
			return status
		}
	}
	return exitFailed
}

// cannotRun makes err end the program as wrong usage does. It is for commands
// whose status 1 is a verdict: a file that cannot be read is none.
func cannotRun(err error) error { return &exitError{exitUsage, err} }
