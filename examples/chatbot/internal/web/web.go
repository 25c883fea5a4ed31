// Package web is the page that the chatbot's client shows in the browser of its
// own machine: a conversation with the enclave, and a panel that says why the
// enclave is believed.
//
// All encryption is done in the client's Go process. The page talks to that
// process only, in clear, over the loopback interface: it asks questions with
// POST /v1/chat/completions, which another handler serves, and reads what it
// shows about the enclave from the endpoints here:
//
//	GET /                          the page; its parts are under /assets/
//	GET /api/about                 JSON: About
//	GET /api/attestation           JSON: Report, or Failure with status 502
//	GET /api/attestation/document  the attestation document, as a download
//
// Every answer forbids the browser to store it. The page keeps conversations
// in the memory of its tab alone, loads nothing from elsewhere and runs no
// inline script; its Content-Security-Policy holds it to that, and Trusted
// Types keep it from making HTML of text.
//
// What the package does not do: it does not check Host and Origin. Whoever
// serves the handler puts it behind openai.Guard, or a hostile site could read
// the endpoints here through a name that it points to 127.0.0.1. Nor does it
// protect from other programs of this machine, and it sends no token: the page
// cannot be used with openai.Options.Token.
package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// defaultTimeout is Options.Timeout where it is 0.
const defaultTimeout = 30 * time.Second

// Options configures a Handler.
type Options struct {
	// Asker is asked for the enclave's attestation. Required.
	Asker ask.Asker
	// Version is the program's, for people; empty shows none.
	Version string
	// Suggestions are questions that an empty conversation offers, for models
	// that know one subject. None means that it offers none.
	Suggestions []string
	// SingleTurn says that the model answers single questions. The page then
	// sends no earlier turns with a question unless the user turns that on.
	SingleTurn bool
	// Timeout bounds the verification of an enclave. 0 means 30 seconds.
	Timeout time.Duration
	// Clock gives the time at which certificates are shown as valid or not.
	// nil means time.Now.
	Clock func() time.Time
}

// About is what the page shows of the program itself.
type About struct {
	Version     string   `json:"version"`
	Suggestions []string `json:"suggestions"`
	SingleTurn  bool     `json:"single_turn"`
}

// NewHandler returns the handler of the page, which is safe for concurrent
// use. It is to be mounted at the root, beside package openai's under /v1/:
//
//	mux.Handle("/v1/", openai.NewHandler(openai.Options{Asker: asker}))
//	mux.Handle("/", openai.Guard(web.NewHandler(web.Options{Asker: asker})))
func NewHandler(opts Options) http.Handler {
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	h := &handler{opts}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /assets/{name}", serveAsset)
	mux.HandleFunc("GET /api/about", h.about)
	mux.HandleFunc("GET /api/attestation", h.attestation)
	mux.HandleFunc("GET /api/attestation/document", h.document)
	return secure(mux)
}

type handler struct{ opts Options }

func (h *handler) about(w http.ResponseWriter, _ *http.Request) {
	about := About{Version: h.opts.Version, Suggestions: h.opts.Suggestions, SingleTurn: h.opts.SingleTurn}
	if about.Suggestions == nil {
		about.Suggestions = []string{}
	}
	writeJSON(w, http.StatusOK, about)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
