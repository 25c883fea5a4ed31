package llama

import (
	"fmt"
	"unicode"

	"github.com/nitroseal/nitroseal/inference"
)

// maxRun is the most characters in a row that are all white space, that have
// none of ASCII's spaces, tabs and line breaks among them, or that have neither
// a letter or digit nor a space or tab. libllama splits text with std::regex,
// whose matcher recurses once for each character of a match and so overflows
// the stack, and ends the process, on a long one: measured with libllama 0.5.0
// between 20,000 and 24,000 characters on a stack of 8 MiB, and between 4,096
// and 6,000 on one of 2 MiB. The patterns match words, white space, or signs
// with line breaks behind them, so bounding these runs bounds every match.
const maxRun = 4096

// checkRuns returns an error if the text that pieces make together has a run
// over maxRun.
func checkRuns(pieces ...string) error {
	words, spaces, signs := 0, 0, 0
	for _, piece := range pieces {
		for _, r := range piece {
			words++
			spaces++
			signs++
			switch {
			case !unicode.IsSpace(r):
				spaces = 0
				if unicode.IsLetter(r) || unicode.IsNumber(r) {
					signs = 0
				}
			case r == ' ', r == '\t':
				words, signs = 0, 0
			case r == '\n', r == '\r':
				words = 0
			}
			if max(words, spaces, signs) > maxRun {
				return &inference.RequestError{
					Field:  "Prompt",
					Reason: fmt.Sprintf("over %d characters without a space, without a letter or digit, or of white space alone", maxRun),
					Err:    inference.ErrInvalidRequest,
				}
			}
		}
	}
	return nil
}
