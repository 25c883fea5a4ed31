package keypolicy

import "strings"

// Match reports whether s matches a pattern in which * stands for any
// characters and ? for one (IAM User Guide, "IAM JSON policy elements:
// Resource"). It takes time proportional to the product of the lengths at
// worst.
func Match(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0: // let the last * take one character more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
