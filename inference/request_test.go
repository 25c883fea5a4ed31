package inference_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

func TestValidate(t *testing.T) {
	nan := float32(math.NaN())
	for _, tt := range []struct {
		req   inference.Request
		field string // "" if it is valid
		err   error
	}{
		{inference.Request{}, "", nil},
		{inference.Request{Prompt: "x", MaxTokens: 1, Temperature: 10, TopK: 5, TopP: 1, MinP: 1, RepeatPenalty: 10, RepeatWindow: 4096, Stop: []string{"a"}}, "", nil},
		{inference.Request{Prompt: strings.Repeat("x", inference.MaxPromptBytes+1)}, "Prompt", inference.ErrPromptTooLong},
		{inference.Request{Prompt: "secret\xff"}, "Prompt", inference.ErrInvalidRequest},
		{inference.Request{MaxTokens: -1}, "MaxTokens", inference.ErrInvalidRequest},
		{inference.Request{Temperature: nan}, "Temperature", inference.ErrInvalidRequest},
		{inference.Request{Temperature: -0.1}, "Temperature", inference.ErrInvalidRequest},
		{inference.Request{TopP: 1.1}, "TopP", inference.ErrInvalidRequest},
		{inference.Request{MinP: nan}, "MinP", inference.ErrInvalidRequest},
		{inference.Request{RepeatPenalty: float32(math.Inf(1))}, "RepeatPenalty", inference.ErrInvalidRequest},
		{inference.Request{TopK: -1}, "TopK", inference.ErrInvalidRequest},
		{inference.Request{RepeatWindow: 4097}, "RepeatWindow", inference.ErrInvalidRequest},
		{inference.Request{Stop: make([]string, 17)}, "Stop", inference.ErrInvalidRequest},
		{inference.Request{Stop: []string{""}}, "Stop", inference.ErrInvalidRequest},
		{inference.Request{Stop: []string{"\xff"}}, "Stop", inference.ErrInvalidRequest},
		{inference.Request{Stop: []string{strings.Repeat("s", 257)}}, "Stop", inference.ErrInvalidRequest},
	} {
		err := tt.req.Validate()
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.field, err)
		}
		var re *inference.RequestError
		if errors.As(err, &re) != (tt.field != "") || re != nil && re.Field != tt.field {
			t.Errorf("%s: %v", tt.field, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error quotes the prompt: %v", err)
		}
	}
}

func TestBlogPreset(t *testing.T) {
	got := inference.BlogPreset(inference.Request{Prompt: "p", Seed: 7})
	if got.TopK != 5 || got.MaxTokens != 20 || got.Temperature != 1 || got.Prompt != "p" || got.Seed != 7 {
		t.Errorf("%+v", got)
	}
}
