package uitest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/openai"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/web"
)

// newServer serves the page as the chatbot's client does, and beside it what
// a scenario needs to direct the enclave:
//
//	POST /control/enclave/NAME  the enclave is in this state from now on
//	POST /control/release       releases one gate; answers when that is reached
//	GET  /control/cancelled     waits for an answer to be stopped: its question
//	GET  /control/seen          counts of verifications, and the questions so far
func newServer(t *testing.T, states enclaves, state string) *httptest.Server {
	t.Helper()
	a := newAsker()
	a.attestation = states[state]
	page := web.NewHandler(web.Options{
		Asker: a, Version: "v0.0.0-test", Clock: func() time.Time { return genuineAt },
		Suggestions: []string{"What is my deductible?", "How do I reset my password?"},
	})
	mux := http.NewServeMux()
	mux.Handle("/v1/", openai.NewHandler(openai.Options{Asker: a}))
	mux.Handle("/", openai.Guard(page))
	mux.HandleFunc("POST /control/enclave/{name}", func(w http.ResponseWriter, r *http.Request) {
		next, ok := states[r.PathValue("name")]
		if !ok {
			http.Error(w, "no such state", http.StatusNotFound)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.attestation = next
	})
	mux.HandleFunc("POST /control/release", func(w http.ResponseWriter, r *http.Request) {
		select {
		case a.gates <- struct{}{}:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /control/cancelled", func(w http.ResponseWriter, r *http.Request) {
		select {
		case question := <-a.cancelled:
			json.NewEncoder(w).Encode(question)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /control/seen", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		json.NewEncoder(w).Encode(map[string]any{"verified": a.verified, "asked": a.asked})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}
