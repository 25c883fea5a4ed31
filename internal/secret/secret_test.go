package secret_test

import (
	"testing"

	"github.com/nitroseal/nitroseal/internal/secret"
)

func TestDo(t *testing.T) {
	t.Logf("erases: %v", secret.Erases)
	calls := 0
	secret.Do(func() {
		secret.Do(func() { calls++ })
		calls++
	})
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
	defer func() {
		if recover() != "passes through" {
			t.Error("a panic does not pass through")
		}
	}()
	secret.Do(func() { panic("passes through") })
}
