package gguf

import (
	"encoding/binary"
	"math"
)

// halfToFloat widens a half-precision number, which is always exact.
func halfToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent := uint32(h>>10) & 0x1f
	fraction := uint32(h & 0x3ff)
	switch exponent {
	case 0: // zero and subnormal numbers: fraction × 2^-24
		v := float32(fraction) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(v))
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// floatToHalf rounds to the nearest half-precision number, and to the even one
// of two that are equally near, as IEEE 754 does by default. What is too large
// becomes infinity.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN, kept quiet
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520, halfway to what would follow 65504
		return sign | 0x7c00
	case b < 0x38800000: // 2^-14: the result is subnormal or zero
		// Adding 0.5 aligns the number so that its last bit is 2^-24, and
		// the addition does the rounding.
		v := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(v)-math.Float32bits(0.5))
	}
	// 13 bits of the fraction are dropped. Adding just under half of the last
	// bit that stays, and that bit itself, rounds half to even; a carry goes
	// into the exponent where it belongs.
	b += 0x0fff + b>>13&1
	return sign | uint16(b>>13-(127-15)<<10)
}

// blockWeights and blockBytes are the sizes of a block of Q8_0.
const (
	blockWeights = 32
	blockBytes   = 34
)

// quantize fills b with the Q8_0 blocks of weights, whose number is a multiple
// of 32. Each step is done in single precision and in ggml's order, since
// other ways to compute the same round differently.
func quantize(b []byte, weights []float32) {
	for ; len(weights) > 0; weights, b = weights[blockWeights:], b[blockBytes:] {
		block, out := weights[:blockWeights], b[:blockBytes]
		scale := math.Float32frombits(largestBits(block)) / 127
		inverse := float32(0)
		// The reciprocal of a scale under 2^-126 can be infinite. In half
		// precision such a scale is 0 anyway.
		if scale >= 0x1p-126 {
			inverse = 1 / scale
		}
		binary.LittleEndian.PutUint16(out, floatToHalf(scale))
		out = out[2:]
		for i, w := range block {
			// The conversion rounds the product to single precision; without
			// it the compiler may fuse it with the addition. The sum is
			// exact in double precision. Halves go away from zero, as with
			// roundf of C.
			x := float64(float32(w * inverse))
			out[i] = byte(int8(x + math.Copysign(0.5, x)))
		}
	}
}

// largestBits returns the bits of the largest magnitude. Without their signs,
// numbers are in the order of their bits, and infinity and what is no number
// come last.
func largestBits(values []float32) uint32 {
	most := uint32(0)
	for _, v := range values {
		most = max(most, math.Float32bits(v)&^(1<<31))
	}
	return most
}
