package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// documentName is the file name of the downloaded attestation document, a
// COSE_Sign1 structure.
const documentName = "nitroseal-attestation.cose"

func (h *handler) attestation(w http.ResponseWriter, r *http.Request) {
	if _, report := h.verified(w, r); report != nil {
		writeJSON(w, http.StatusOK, report)
	}
}

func (h *handler) document(w http.ResponseWriter, r *http.Request) {
	a, report := h.verified(w, r)
	if report == nil {
		return
	}
	w.Header().Set("Content-Type", "application/cose")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Raw)))
	w.Header().Set("Content-Disposition", `attachment; filename="`+documentName+`"`)
	w.Write(a.Raw)
}

// verified returns the enclave's attestation and its report. If the report is
// nil, it has answered with a Failure.
func (h *handler) verified(w http.ResponseWriter, r *http.Request) (*ask.Attestation, *Report) {
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	a, err := h.opts.Asker.Attestation(ctx)
	if err == nil {
		var report *Report
		if report, err = newReport(a, h.opts.Clock()); err == nil {
			return a, report
		}
	}
	writeJSON(w, http.StatusBadGateway, newFailure(err))
	return nil, nil
}
