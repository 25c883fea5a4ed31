package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkUnwrapCMS opens what KMS sends, with what cannot be avoided in the
// same run: one RSA-2048 OAEP decryption and AES-256-CBC. Both are timed in
// turns, so that what else the machine does strikes both.
func BenchmarkUnwrapCMS(b *testing.B) {
	key := readKey(b, "cms/keys/rsa2048.key.pem")
	for _, name := range []string{"32", "4096"} {
		message := read(b, "cms/valid/kmslike-rsa2048-"+name+".cms")
		m, err := parseEnvelopedData(message)
		if err != nil {
			b.Fatal(err)
		}
		plaintext := make([]byte, len(m.ciphertext))
		floor := func() {
			contentKey, err := rsa.DecryptOAEP(sha256.New(), nil, key, m.encryptedKey, nil)
			if err != nil {
				b.Fatal(err)
			}
			block, err := aes.NewCipher(contentKey)
			if err != nil {
				b.Fatal(err)
			}
			cipher.NewCBCDecrypter(block, m.iv).CryptBlocks(plaintext, m.ciphertext)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var ours, least time.Duration
			for b.Loop() {
				begin := time.Now()
				if _, err := UnwrapCMS(key, message, UnwrapOptions{}); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				floor()
				ours += middle.Sub(begin)
				least += time.Since(middle)
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "unwrap-ns")
			b.ReportMetric(float64(ours)/float64(least), "x-floor")
		})
	}
}

// BenchmarkTiming looks for a difference in time between messages that open and
// those that fail in one of two places, with Welch's t over the quickest nine
// tenths of the measurements. Below about 4.5 there is no evidence of any. "t-
// control" compares two messages that open; "t-early", against a reader that
// gives up after a failed OAEP without having decrypted the content, shows what
// the measurement can see.
func BenchmarkTiming(b *testing.B) {
	key := readKey(b, "cms/keys/rsa2048.key.pem")
	contentKey := bytes.Repeat([]byte{7}, contentKeySize)
	padded := append(make([]byte, 4080), bytes.Repeat([]byte{16}, 16)...)
	good, control := seal(b, key, contentKey, contentKey, padded), seal(b, key, contentKey, contentKey, padded)
	badOAEP := seal(b, key, contentKey, contentKey, padded)
	badOAEP.encryptedKey[100] ^= 1
	badPadding := seal(b, key, contentKey, contentKey, make([]byte, len(padded)))
	early := func() { _, _ = rsa.DecryptOAEP(sha256.New(), nil, key, badOAEP.encryptedKey, nil) }
	classes := []func(){
		func() { _, _ = good.open(key) },
		func() { _, _ = control.open(key) },
		func() { _, _ = badOAEP.open(key) },
		func() { _, _ = badPadding.open(key) },
		early,
	}
	times := make([][]float64, len(classes))
	runtime.GC()
	for b.Loop() {
		for _, i := range mathrand.Perm(len(classes)) {
			begin := time.Now()
			classes[i]()
			times[i] = append(times[i], float64(time.Since(begin)))
		}
	}
	for i, name := range []string{"", "t-control", "t-bad-oaep", "t-bad-padding", "t-early"} {
		if i > 0 {
			b.ReportMetric(math.Abs(welch(times[0], times[i])), name)
		}
	}
}

// welch is Welch's t of two samples, without the slowest tenth of each.
func welch(x, y []float64) float64 {
	moments := func(s []float64) (mean, variance, n float64) {
		s = slices.Sorted(slices.Values(s))
		s = s[:max(1, len(s)*9/10)]
		n = float64(len(s))
		for _, v := range s {
			mean += v / n
		}
		for _, v := range s {
			variance += (v - mean) * (v - mean) / max(1, n-1)
		}
		return mean, variance, n
	}
	mx, vx, nx := moments(x)
	my, vy, ny := moments(y)
	return (mx - my) / math.Sqrt(vx/nx+vy/ny+1e-9)
}

// BenchmarkStream seals and opens a stream of 1 GiB on one core and on two,
// beside raw AES-256-GCM over as many bytes, in pieces of a segment.
func BenchmarkStream(b *testing.B) {
	const size = 1 << 30
	var key [contentKeySize]byte
	rand.Read(key[:])
	header := []byte("header")
	body := [bodyHeaderSize]byte{bodyHeaderSize}
	chunk := make([]byte, segment1MB)
	rand.Read(chunk)
	seal := func(w io.Writer, workers int) error {
		s, err := newWriter(w, key[:], header, body, segment1MB, workers, -1)
		if err != nil {
			return err
		}
		for range size / len(chunk) {
			if _, err := s.Write(chunk); err != nil {
				return err
			}
		}
		return s.Close()
	}
	var sealed bytes.Buffer
	sealed.Grow(size + size/1000)
	if err := seal(&sealed, 2); err != nil {
		b.Fatal(err)
	}
	stream := sealed.Bytes()[len(framed(header)):]
	open := func(workers int) error {
		r, err := newReader(bytes.NewReader(stream), key[:], header, segment1MB, workers)
		if err != nil {
			return err
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); err != nil || n != size {
			return fmt.Errorf("%d bytes, %w", n, err)
		}
		return nil
	}
	c, err := newSegmentCipher(key[:], header, body)
	if err != nil {
		b.Fatal(err)
	}
	one := c.aead.Seal(nil, c.nonce(1, false), chunk[tagSize:], nil)
	// The floors encrypt and decrypt one segment over and over, on each core.
	raw := func(workers int, do func(buf []byte)) error {
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				buf := make([]byte, segment1MB)
				for n := 0; n < size/workers; n += segment1MB - tagSize {
					do(buf)
				}
			})
		}
		all.Wait()
		return nil
	}
	rawSeal := func(workers int) error {
		return raw(workers, func(buf []byte) { c.aead.Seal(buf[:0], c.nonce(1, false), buf[:segment1MB-tagSize], nil) })
	}
	rawOpen := func(workers int) error {
		return raw(workers, func(buf []byte) {
			if _, err := c.aead.Open(buf[:0], c.nonce(1, false), one, nil); err != nil {
				b.Error(err)
			}
		})
	}
	for _, bench := range []struct {
		name  string
		cores int
		do    func(workers int) error
	}{
		{"raw-seal", 1, rawSeal},
		{"raw-seal", 2, rawSeal},
		{"seal", 1, func(workers int) error { return seal(io.Discard, workers) }},
		{"seal", 2, func(workers int) error { return seal(io.Discard, workers) }},
		{"raw-open", 1, rawOpen},
		{"raw-open", 2, rawOpen},
		{"open", 1, open},
		{"open", 2, open},
	} {
		b.Run(fmt.Sprintf("%s-%d-core", bench.name, bench.cores), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(bench.cores))
			b.ReportAllocs()
			b.SetBytes(size)
			for b.Loop() {
				if err := bench.do(bench.cores); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
