package sessionrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// ask passes a sealed request to the enclave that has its key, and the segments
// of the answer back.
func (r *Relay) ask(x *exchange, ctx context.Context, body []byte) word {
	key, err := r.requestKey(body)
	if err != nil {
		return wordBadRequest
	}
	addr, ok := r.keys.get(key)
	if !ok {
		return wordKeyUnknown
	}
	stream, err := r.opts.Pool.Target(addr).Stream(ctx, MethodAsk)
	if err != nil {
		return wordForPinned(err)
	}
	defer stream.Close()
	// Where the call or the connection has ended, receiving tells how.
	if err := stream.SendLast(body); err != nil && err != io.EOF && !errors.Is(err, vsockrpc.Unavailable) {
		return wordForPinned(err)
	}
	var framed []byte
	whole := false // a segment said that it was the last
	for {
		// An end is io.EOF itself: that of a broken connection only wraps one.
		segment, err := stream.Recv()
		switch {
		case err == io.EOF && x.stats.Segments > 0:
			return wordOK
		case err == io.EOF:
			return wordInternal // every answer has a last segment
		case whole:
			return wordOK // the client may be gone, it has all that it needs
		case err != nil:
			return wordForPinned(err)
		case len(segment) > session.MaxSegment:
			return wordInternal
		}
		if x.stats.Segments == 0 {
			x.w.Header().Set("Content-Type", contentTypeSegments)
			x.begin()
		}
		whole = session.IsLast(segment, x.stats.Segments == 0)
		framed = binary.BigEndian.AppendUint32(framed[:0], uint32(len(segment)))
		framed = append(framed, segment...)
		if code := x.write(ctx, r.opts.WriteTimeout, framed); code != wordOK {
			return code
		}
		x.stats.Segments++
	}
}
