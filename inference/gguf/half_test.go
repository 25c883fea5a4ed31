package gguf

import (
	"math"
	"testing"
)

// TestHalf rounds every number at which the result could change: each half,
// the middle between it and the next, and the floats beside that.
func TestHalf(t *testing.T) {
	check := func(f float32, want uint16) {
		if got := floatToHalf(f); got != want {
			t.Fatalf("%g (%#08x) became %#04x, not %#04x", f, math.Float32bits(f), got, want)
		}
		if got := floatToHalf(-f); got != want|0x8000 {
			t.Fatalf("%g became %#04x, not %#04x", -f, got, want|0x8000)
		}
	}
	for h := range uint16(0x7c00) {
		f := halfToFloat(h)
		// The definition of the format, in double precision.
		want := math.Ldexp(float64(h&0x3ff), -24)
		if e := int(h >> 10); e > 0 {
			want = math.Ldexp(1024+float64(h&0x3ff), e-25)
		}
		if float64(f) != want || halfToFloat(h|0x8000) != -f {
			t.Fatalf("%#04x is %g, not %g", h, f, want)
		}
		check(f, h)
		next := float64(65536) // as if there were no infinity
		if h != 0x7bff {
			next = float64(halfToFloat(h + 1))
		}
		middle := float32((float64(f) + next) / 2)
		check(middle, h+h&1)
		check(math.Nextafter32(middle, 0), h)
		check(math.Nextafter32(middle, 1e9), h+1)
	}
	check(float32(math.Inf(1)), 0x7c00)
	check(math.MaxFloat32, 0x7c00)
	check(0, 0)
	if !math.IsNaN(float64(halfToFloat(0x7e01))) || !math.IsInf(float64(halfToFloat(0xfc00)), -1) {
		t.Error("infinity or NaN is lost")
	}
	if h := floatToHalf(float32(math.NaN())); h&0x7c00 != 0x7c00 || h&0x3ff == 0 {
		t.Errorf("NaN became %#04x", h)
	}
}

func TestQuantize(t *testing.T) {
	fill := func(values ...float32) []float32 { return append(values, make([]float32, blockWeights-len(values))...) }
	for name, tt := range map[string]struct {
		weights []float32
		scale   float32
		want    []int8
	}{
		"zeros":            {fill(), 0, nil},
		"integers":         {fill(127, -127, 1, -1), 1, []int8{127, -127, 1, -1}},
		"halves":           {fill(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5), 1, []int8{127, 1, 2, 3, -1, -2, -3}},
		"under a half":     {fill(127, math.Nextafter32(0.5, 0), -math.Nextafter32(0.5, 0)), 1, []int8{127, 0, 0}},
		"negative largest": {fill(-254, 127), 2, []int8{-127, 64}},
		"tiny":             {fill(1e-44, -1e-44), 0, []int8{0, 0}},
		"small":            {fill(1e-10, -1e-10), 0, []int8{127, -127}},
	} {
		b := make([]byte, blockBytes)
		quantize(b, tt.weights)
		if got := halfToFloat(uint16(b[0]) | uint16(b[1])<<8); got != tt.scale {
			t.Errorf("%s: scale %g, not %g", name, got, tt.scale)
		}
		for i, q := range append(tt.want, make([]int8, blockWeights-len(tt.want))...) {
			if int8(b[2+i]) != q {
				t.Errorf("%s: weight %d is %d, not %d", name, i, int8(b[2+i]), q)
			}
		}
	}
}

func TestSizeLabel(t *testing.T) {
	for n, want := range map[uint64]string{
		500: "0.50K", 13472: "13K", 3161472: "3.2M", 9_960_000: "10M", 559214592: "559M", 1_722_408_960: "1.7B", 176_247_271_424: "176B", 2e12: "2.0T",
	} {
		if got := sizeLabel(n); got != want {
			t.Errorf("%d is %s, not %s", n, got, want)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	values := make([]float32, pieceWeights)
	for i := range values {
		values[i] = float32(i%1021) / 1021
	}
	for _, typ := range []TensorType{F32, F16, Q8_0} {
		b.Run(typ.String(), func(b *testing.B) {
			s := &stream{converter: &converter{}, from: &weights{}, to: typ}
			b.SetBytes(4 * pieceWeights)
			for b.Loop() {
				if err := s.encode(values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
