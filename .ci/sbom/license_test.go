package main

import (
	"os"
	"testing"
)

// TestClassify checks that a licence is known by its wording, and that what is
// added to one, or missing from it, is not overlooked.
func TestClassify(t *testing.T) {
	apache, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"Apache":              {string(apache), "Apache-2.0"},
		"MIT":                 {llamaLicense, "MIT"},
		"MIT with a rider":    {llamaLicense + "\nCommons Clause applies.", ""},
		"MIT without the end": {llamaLicense[:600], ""},
		"GPL":                 {"GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007", ""},
		"nothing":             {"", ""},
		"BSD with two clauses": {"Redistribution and use in source and binary forms, with or without\n" +
			"modification, are permitted provided that the following conditions are met:", "BSD-2-Clause"},
	} {
		if got, err := classify(c.text); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}
