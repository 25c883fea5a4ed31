package model

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestDigest(t *testing.T) {
	sum := sha256.Sum256(GGUF)
	if got := hex.EncodeToString(sum[:]); got != Digest {
		t.Fatalf("the embedded model has SHA-256 %s, the pin says %s", got, Digest)
	}
}
