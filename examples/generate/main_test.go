package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

const model = "../chatbot/model/larkfield-bloom-q8_0.gguf"

// TestReference compares the printed object with the reference.
func TestReference(t *testing.T) {
	data, err := os.ReadFile("../../inference/llama/testdata/oracle-dev.json")
	if err != nil {
		t.Fatal(err)
	}
	var oracle struct {
		Prompts []struct {
			Prompt string
			IDs    []int32 `json:"input_ids"`
			F32    struct {
				IDs  []int32 `json:"greedy_ids"`
				Text string  `json:"greedy_text"`
			}
		}
	}
	if err := json.Unmarshal(data, &oracle); err != nil || len(oracle.Prompts) < 3 {
		t.Fatal(err)
	}
	for _, p := range oracle.Prompts[:3] {
		for _, fromStdin := range []bool{false, true} {
			args := []string{"-model", model, "-prompt", p.Prompt, "-max-tokens", "48", "-temperature", "0", "-threads", "1", "-json"}
			if fromStdin {
				args[3] = "-"
			}
			var out, errOut bytes.Buffer
			if code := run(t.Context(), args, strings.NewReader(p.Prompt), &out, &errOut); code != 0 || errOut.Len() > 0 {
				t.Fatalf("exit status %d, %s", code, &errOut)
			}
			var got struct {
				PromptTokens []int32 `json:"prompt_tokens"`
				Tokens       []int32
				Text         string
			}
			d := json.NewDecoder(&out)
			d.DisallowUnknownFields()
			if err := d.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.PromptTokens, p.IDs) || !slices.Equal(got.Tokens, p.F32.IDs) || got.Text != p.F32.Text {
				t.Errorf("%q: %+v", p.Prompt, got)
			}
		}
	}
}

func TestText(t *testing.T) {
	var out, errOut bytes.Buffer
	args := []string{"-model", model, "-prompt", "Question: what is my deductible\nAnswer:", "-threads", "1", "-stop", " a year"}
	if code := run(t.Context(), args, nil, &out, &errOut); code != 0 || out.String() != " Your individual deductible is $1,500\n" {
		t.Errorf("exit status %d, %q %s", code, &out, &errOut)
	}
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"-h", 0, "-max-tokens"},
		{"", 2, "-model and -prompt are needed"},
		{"-model x", 2, "-model and -prompt are needed"},
		{"-model x -prompt y z", 2, "belong to no flag"},
		{"-model x -prompt y -max-tokens 0", 2, "not positive"},
		{"-model x -prompt y -seed 4294967296", 2, "32 bits"},
		{"-model x -prompt y -frog", 2, "frog"},
		{"-model nowhere.gguf -prompt y", 1, "nowhere.gguf"},
		{"-model x -prompt y -temperature 11", 1, "Temperature"},
		{"-model main.go -prompt y", 1, "could not load"},
		{"-model " + model + " -prompt y -digest " + strings.Repeat("00", 32), 1, "digest"},
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), strings.NewReader(""), &out, &errOut)
		if code != tt.code || !strings.Contains(errOut.String(), tt.says) || out.Len() > 0 {
			t.Errorf("%q: exit status %d, %s%s", tt.args, code, &out, &errOut)
		}
	}
}
