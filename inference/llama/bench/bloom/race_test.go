//go:build race

package bloom

const raceDetector = true
