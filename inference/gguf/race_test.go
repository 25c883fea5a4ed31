//go:build race

package gguf_test

const raceDetector = true
