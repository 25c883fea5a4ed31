package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

const verifyReceiptAbout = `
With -receipt it verifies a receipt in place of a document: that an enclave gave
this answer to this question, with this model and these settings, and whether it
ended or was cut at the limit of its length. The receipt file holds all of that,
in clear. -question and -answer say what they must be,
byte for byte but for white space around them: compare with texts that did not
come with the receipt, or read those that are shown. A question is what was
sent: to a model that knows lower case only, clients send lower case. A receipt carries its own
time and is never too old. What was asked before in the same conversation is
covered too, and is shown in JSON.
`

// receiptFlags are those of chatbot verify about receipts.
type receiptFlags struct {
	receipt, question, answer, model string
}

// check returns what is wrong with the flags, or "".
func (f *receiptFlags) check(v *verifyFlags, operands int) string {
	switch {
	case f.receipt == "" && (f.question != "" || f.answer != "" || f.model != ""):
		return "-question, -answer and -model-digest are for -receipt"
	case f.receipt == "" && operands == 0:
		return "an argument is missing: the document, or -receipt FILE"
	case f.receipt != "" && operands > 0:
		return "-receipt names the file; an argument beside it is one too many"
	case f.receipt != "" && (v.at != "" || v.nonce != ""):
		return "-receipt excludes -at and -nonce: a receipt has a time of its own, and no nonce"
	}
	return ""
}

// errAnother is a receipt of something else than was expected.
var errAnother = errors.New("the receipt is about something else")

// judge verifies the receipt, and that it is about what is expected. Errors are
// those of files; the verdict is in the report.
func (f *receiptFlags) judge(opts attest.Options, in io.Reader) (*receiptReport, error) {
	data, err := readInput(f.receipt, in, wire.MaxReceiptFile)
	if err != nil {
		return nil, err
	}
	r := &receiptReport{}
	if r.question, err = expectedText(f.question); err != nil {
		return nil, err
	}
	if r.answer, err = expectedText(f.answer); err != nil {
		return nil, err
	}
	r.model = f.model
	if r.file, r.err = wire.ParseReceiptFile(data); r.err != nil {
		return r, nil
	}
	if r.receipt, r.err = r.file.Verify(opts); r.err == nil {
		r.err = r.compare()
	}
	return r, nil
}

// expectedText reads a text without the white space around it, which clients do
// not show. It is nil for an empty name.
func expectedText(name string) (*string, error) {
	if name == "" {
		return nil, nil
	}
	data, err := readLimited(name, wire.MaxReceiptFile)
	if err != nil {
		return nil, err
	}
	return new(strings.TrimSpace(string(data))), nil
}

// receiptReport is what is printed of a receipt.
type receiptReport struct {
	file             *wire.ReceiptFile
	receipt          *session.Receipt // nil unless it is genuine
	question, answer *string          // what they must be, or nil
	model            string
	report           // of its document, with the verdict
}

// asked is the question itself: the last message, or the prompt.
func (r *receiptReport) asked() string {
	if m := r.file.Request.Messages; len(m) > 0 {
		return m[len(m)-1].Content
	}
	return r.file.Request.Prompt
}

// compare finds what is not as it must be in a genuine receipt.
func (r *receiptReport) compare() error {
	same := func(want *string, got string) bool { return want == nil || *want == strings.TrimSpace(got) }
	switch {
	case !same(r.question, r.asked()):
		return fmt.Errorf("%w: another question", errAnother)
	case !same(r.answer, r.file.Answer):
		return fmt.Errorf("%w: another answer", errAnother)
	case r.model != "" && !strings.EqualFold(r.model, r.file.ModelDigest):
		return fmt.Errorf("%w: another model", errAnother)
	}
	return nil
}

// text is the report for a person. Question and answer are shown quoted: they
// may come from anybody.
func (r *receiptReport) text() string {
	t := &text{}
	if r.receipt == nil {
		t.line(0, "verdict     REFUSED: "+oneLine(r.err.Error()))
		return t.String()
	}
	t.line(0, fmt.Sprintf("question    %q", r.asked()))
	if n := len(r.file.Request.Messages); n > 1 {
		t.line(0, fmt.Sprintf("            after %d messages before it", n-1))
	}
	t.line(0, fmt.Sprintf("answer      %q", r.file.Answer))
	switch r.file.FinishReason {
	case inference.FinishLength:
		t.line(0, "            cut at the limit of its length")
	case inference.FinishStopString:
		t.line(0, "            ended at a text that the question named")
	}
	t.line(0, fmt.Sprintf("model       SHA-256 %s", oneLine(r.file.ModelDigest)))
	t.line(0, "made        "+r.receipt.Time.UTC().Format(time.RFC3339))
	r.doc, r.at = r.receipt.Document, r.receipt.Time
	return t.String() + r.report.text()
}

// json writes the same for programs.
func (r *receiptReport) json(w io.Writer) error {
	v := struct {
		Accepted bool          `json:"accepted"`
		Error    string        `json:"error,omitempty"`
		Kind     string        `json:"error_kind,omitempty"`
		Policy   bool          `json:"policy_given"`
		Time     *time.Time    `json:"time,omitempty"`
		Model    string        `json:"model_sha256,omitempty"`
		Messages []messageJSON `json:"messages,omitempty"`
		Prompt   string        `json:"prompt,omitempty"`
		Answer   string        `json:"answer,omitempty"`
		Finish   string        `json:"finish_reason,omitempty"`
		Document *documentJSON `json:"document,omitempty"`
	}{Accepted: r.err == nil, Policy: r.policyFile != ""}
	if r.err != nil {
		v.Error, v.Kind = r.err.Error(), refusalKind(r.err)
	}
	if r.receipt != nil {
		r.doc = r.receipt.Document
		v.Time, v.Model, v.Answer, v.Prompt = new(r.receipt.Time.UTC()), r.file.ModelDigest, r.file.Answer, r.file.Request.Prompt
		v.Finish = string(r.file.FinishReason)
		for _, m := range r.file.Request.Messages {
			v.Messages = append(v.Messages, messageJSON{string(m.Role), m.Content})
		}
		v.Document = r.document()
	}
	return printJSON(w, v)
}

type messageJSON struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}
