package main

import (
	"fmt"
	"strings"
)

// kinds are the licences that may be linked, by SPDX identifier, each with
// phrases that its text must have, in lower case and with single spaces. The
// first that fits is taken. Everything else is refused: a person must look.
var kinds = []struct {
	id      string
	phrases []string
}{
	{"Apache-2.0", []string{"apache license version 2.0, january 2004"}},
	{"MPL-2.0", []string{"mozilla public license version 2.0 =", "source code form"}},
	{"MIT", []string{"permission is hereby granted, free of charge, to any person obtaining a copy", "the above copyright notice and this permission notice shall be included", `the software is provided "as is", without warranty of any kind`}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms, with or without modification, are permitted provided that", "neither the name of"}},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms, with or without modification, are permitted provided that"}},
}

// foreign are phrases that no text may have, whatever else it says, but for
// that of the MPL, which names the GNU licences as secondary ones.
var foreign = []string{"gnu general public license", "gnu affero", "gnu lesser", "commons clause", "business source license", "server side public license", "non-commercial"}

// classify returns the SPDX identifier of a licence's text.
func classify(text string) (string, error) {
	words := strings.Join(strings.Fields(strings.ToLower(text)), " ")
next:
	for _, k := range kinds {
		for _, phrase := range k.phrases {
			if !strings.Contains(words, phrase) {
				continue next
			}
		}
		for _, phrase := range foreign {
			if k.id != "MPL-2.0" && strings.Contains(words, phrase) {
				return "", fmt.Errorf("the text looks like %s but speaks of %q", k.id, phrase)
			}
		}
		return k.id, nil
	}
	return "", fmt.Errorf("the text is none of the allowed licences")
}

// isTerms tells texts of licences from notices and grants beside them.
func isTerms(name string) bool {
	upper := strings.ToUpper(name[strings.LastIndexByte(name, '/')+1:])
	return strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING")
}
