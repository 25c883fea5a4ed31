package main

import (
	"context"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
)

// cell is one fault at one hop: one line of the matrix.
type cell struct {
	hop, fault string
	// how says in a few words how the fault is made.
	how string
	// skip says why the cell cannot be done. Then the rest is empty.
	skip string

	// enclaves is how many the pipeline has: 0 means 1.
	enclaves int
	// kind is the pipeline that the cell needs.
	kind kind
	// inject makes the fault and returns what mends it. One of the two is set:
	// the first breaks processes, the second what is in one process.
	inject func(context.Context, *pipeline) (heal func() error, err error)
	inside func(context.Context, *inside) (heal func() error, err error)

	// must are the errors of which at least one has to come, since the fault
	// did nothing otherwise; may are others that it can cause. With no must the
	// fault lasts for hold, and may be without effect. With neither no client may
	// notice it, since it is somebody else's.
	must, may []class
	// hold is how long the fault lasts at least. 0 means half a second.
	hold time.Duration
	// within bounds the time from mending to the first answer of each client.
	// 0 means 10 seconds.
	within time.Duration
	// fresh has each question asked by a new client, which verifies the enclave
	// anew. Others rely on one attestation for minutes.
	fresh bool
	// edit changes what the clients are made with.
	edit func(*chat.Options)
}

// kind is a kind of pipeline.
type kind int

const (
	plain  kind = iota // processes, plain HTTP to the parent
	tls                // processes, HTTPS to the parent
	narrow             // processes, with an enclave that takes few questions
)

func (c *cell) name() string { return c.hop + ": " + c.fault }

func (c *cell) holdFor() time.Duration {
	if c.hold == 0 {
		return 500 * time.Millisecond
	}
	return c.hold
}

func (c *cell) bound() time.Duration {
	if c.within == 0 {
		return 10 * time.Second
	}
	return c.within
}

// allows reports whether an error of this class may come of the fault.
func (c *cell) allows(k class) bool {
	for _, list := range [][]class{c.must, c.may} {
		for _, a := range list {
			if a == k {
				return true
			}
		}
	}
	return false
}

// cells is the whole matrix, in the order of a question's way.
func cells() []cell {
	var all []cell
	for _, part := range [][]cell{
		clientCells(), networkCells(), parentCells(), linkCells(), enclaveCells(),
		kmsWayCells(), kmsAnswerCells(), kmsKeyCells(), moduleCells(), modelCells(), clockCells(),
	} {
		all = append(all, part...)
	}
	return all
}
