package vsockrpc

import (
	"io"
	"log/slog"
	"net"
	"testing"
)

// A call whose connection breaks between its OPEN and its message was not sent,
// and says so.
func TestUnsentIsUnprocessed(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	c := newConn(client, 1<<20, -1, slog.New(slog.DiscardHandler))
	c.onStatus = func(s *stream, e *Error) { s.end(e) }
	s, err := c.open(open{method: []byte("m")}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.out.fail(io.ErrClosedPipe)
	if err := s.send(t.Context(), []byte("message"), true, true); CodeOf(err) != Unavailable {
		t.Error(err)
	}
	c.close(&Error{Code: Unavailable})
	if _, err := s.answer(t.Context()); CodeOf(err) != Unavailable || !Unprocessed(err) {
		t.Errorf("%v, unprocessed: %v", err, Unprocessed(err))
	}
}

// Calls that a pool makes do not wait for a connection.
func TestCallsOfAPoolDoNotDial(t *testing.T) {
	c, err := NewClient("mem://nobody", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.callOnce(t.Context(), nil, "m", nil, false); err != errNotConnected || c.dial != nil {
		t.Error(err)
	}
	if _, err := c.stream(t.Context(), "m", false); err != errNotConnected || c.dial != nil {
		t.Error(err)
	}
	c.Close()
	if _, _, err := c.callOnce(t.Context(), nil, "m", nil, false); CodeOf(err) != Canceled || !Unprocessed(err) {
		t.Error(err)
	}
}
