package wire

// ErrorResponse is what the parent sends in place of an answer, with the
// reason's HTTP status.
type ErrorResponse struct {
	Error ErrorBody `json:"error"`
}

// ErrorBody names a Reason and repeats its fixed text.
type ErrorBody struct {
	Code    Reason `json:"code"`
	Message string `json:"message"`
}
