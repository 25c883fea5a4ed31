package openai

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// errClientGone: the response cannot be written any more.
var errClientGone = errors.New("openai: the client is gone")

// sse writes server-sent events. Each goes out at once.
type sse struct {
	w       http.ResponseWriter
	timeout time.Duration
}

func (s *sse) begin() {
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.WriteHeader(http.StatusOK)
}

// send writes v as the data of an event. JSON holds no line ends of its own.
func (s *sse) send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write("data: " + string(data) + "\n\n")
}

// done is OpenAI's sign that nothing is missing.
func (s *sse) done() error { return s.write("data: [DONE]\n\n") }

// fail writes the last event of a stream that failed. Client libraries look
// for the member error in the data; the type of the event is for others.
func (s *sse) fail(e *apiError) {
	if data, err := json.Marshal(e); err == nil {
		s.write("event: error\ndata: " + string(data) + "\n\n")
	}
}

func (s *sse) write(event string) error {
	c := http.NewResponseController(s.w)
	err := c.SetWriteDeadline(time.Now().Add(s.timeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errClientGone
	}
	if _, err := s.w.Write([]byte(event)); err != nil {
		return errClientGone
	}
	if err := c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errClientGone
	}
	return nil
}
