package session

import (
	"crypto/hpke"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/internal/secret"
)

const (
	// defaultRotateAfter is how long a key is given out.
	defaultRotateAfter = 30 * time.Minute
	// lateness is how long after its NotAfter a key still opens requests, for
	// those under way.
	lateness = time.Minute
	// maxKeys is how many keys may open requests at a time.
	maxKeys = 8
	// minKeyAge is how old a key must be to give way to another.
	minKeyAge = time.Minute
	// defaultMaxRequests is how many requests one key opens.
	defaultMaxRequests = 1 << 16
)

// generation is one key of an enclave, with the requests that it opened.
type generation struct {
	id      KeyID
	private hpke.PrivateKey
	config  []byte
	digest  [48]byte
	made    time.Time
	// opened has the ids of the requests that were opened with this key. It
	// is as old as the key: no clock decides when a replay is forgotten.
	opened map[RequestID]struct{}
}

// keyring holds the keys of an enclave: one that is given out, and those before
// it that still open requests. It is safe for concurrent use.
type keyring struct {
	kem         KEM
	info        []byte
	rotateAfter time.Duration
	maxRequests int
	clock       func() time.Time

	mu     sync.Mutex
	keys   []*generation // oldest first; the last is given out
	closed bool
}

// current returns the key to give out, after making another if it is time.
func (k *keyring) current() (*generation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	now := k.clock()
	k.expire(now)
	if n := len(k.keys); n > 0 {
		g := k.keys[n-1]
		age := now.Sub(g.made)
		full := len(g.opened) >= k.maxRequests-k.maxRequests/4
		// A clock that was set back makes keys older, not younger.
		if age >= 0 && age < k.rotateAfter && !full {
			return g, nil
		}
		if !k.makeRoom(now) {
			return g, nil // where it is full, its clients will be told ErrBusy
		}
	}
	g, err := k.generate(now)
	if err != nil {
		return nil, err
	}
	k.keys = append(k.keys, g)
	return g, nil
}

// expire drops keys that no honest client uses any more.
func (k *keyring) expire(now time.Time) {
	for len(k.keys) > 0 && now.Sub(k.keys[0].made) > 2*k.rotateAfter+lateness {
		k.drop()
	}
}

// makeRoom drops the oldest key if there are too many for another, and reports
// whether there is room now. A key of less than a minute stays: what it opened
// must be known for as long as a client may send that again.
func (k *keyring) makeRoom(now time.Time) bool {
	if len(k.keys) < maxKeys {
		return true
	}
	if now.Sub(k.keys[0].made) < minKeyAge {
		return false
	}
	k.drop()
	return true
}

func (k *keyring) drop() {
	k.keys[0].private = nil
	k.keys = k.keys[1:]
}

// generate makes a key. Its memory is erased, once it is garbage, where package
// secret can see to that.
func (k *keyring) generate(now time.Time) (*generation, error) {
	var private hpke.PrivateKey
	var err error
	secret.Do(func() { private, err = k.kem.hpke().GenerateKey() })
	if err != nil {
		return nil, err
	}
	return newGeneration(private, k.kem, k.info, now, now.Add(2*k.rotateAfter))
}

func newGeneration(private hpke.PrivateKey, kem KEM, info []byte, made, notAfter time.Time) (*generation, error) {
	config := KeyConfig{kem, private.PublicKey().Bytes(), notAfter, info}
	raw, err := config.marshal()
	if err != nil {
		return nil, err
	}
	g := &generation{private: private, config: raw, digest: digestOf(labelConfig, raw), made: made, opened: map[RequestID]struct{}{}}
	g.id = keyIDOf(g.digest)
	return g, nil
}

// find returns the key of that name if it still opens requests. It refuses what
// is certainly a replay before anything is computed.
func (k *keyring) find(id KeyID, request RequestID) (*generation, hpke.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, nil, ErrClosed
	}
	k.expire(k.clock())
	for _, g := range k.keys {
		if g.id == id {
			return g, g.private, k.admissible(g, request)
		}
	}
	return nil, nil, ErrKeyUnknown
}

// admit takes note that g opened a request, which is allowed once, whatever
// keys it was sealed to.
func (k *keyring) admit(g *generation, request RequestID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.admissible(g, request); err != nil {
		return err
	}
	g.opened[request] = struct{}{}
	return nil
}

func (k *keyring) admissible(g *generation, request RequestID) error {
	for _, other := range k.keys {
		if _, ok := other.opened[request]; ok {
			return ErrReplayed
		}
	}
	if len(g.opened) >= k.maxRequests {
		return ErrBusy
	}
	return nil
}

// close forgets all keys.
func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.keys) > 0 {
		k.drop()
	}
	k.closed = true
}
