package native

import "testing"

func TestLayoutOf(t *testing.T) {
	for version, size := range map[string]int{
		"0.4.0": 160, "0.5.0-dev": 160, "0.6.2": 160, "0.7.0": 168, "0.8.0": 168, "0.9.0": 168, "0.9.10-1-g0a": 168,
		"": 0, "0": 0, "0.": 0, "0.5": 0, "0.5.": 0, "0.3.0": 0, "0.10.0": 0, "0.-5.0": 0, "1.5.0": 0, "0.5x.0": 0,
		"0.+5.0": 0, "0.05.0": 0, "0.5.0x": 0, "0.5.+1": 0, "0.5.0.1": 0, "0.5.99999999999": 0, "-0.5.0": 0, "0.5-dev": 0,
	} {
		if l, ok := layoutOf(version); l.contextSize != size || ok != (size != 0) {
			t.Errorf("%q: %+v %v", version, l, ok)
		}
	}
}
