//go:build race

package vsockrpc_test

const raceDetector = true
