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
	// minKeyAge is how old a key must be to give way to another. It is more
	// than retryWithin.
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
	made    time.Duration // by the keyring's own time
	dropped time.Duration // when it ceased to open requests
	// opened has the ids of the requests that were opened with this key.
	opened map[RequestID]struct{}
}

// keyring holds the keys of an enclave: one that is given out, those before it
// that still open requests, and what was opened with those before them. It is
// safe for concurrent use.
type keyring struct {
	kem         KEM
	info        []byte
	rotateAfter time.Duration
	maxRequests int
	clock       func() time.Time

	mu     sync.Mutex
	keys   []*generation // oldest first; the last is given out
	former []*generation // without their keys, oldest first
	// age is how long the keyring has lived, as of looked. A clock that is set
	// back does not take of it.
	age    time.Duration
	looked time.Time
	closed bool
}

// tick brings the keyring's own time up to date. It returns the clock's.
func (k *keyring) tick() time.Time {
	now := k.clock()
	if !k.looked.IsZero() {
		k.age += max(0, now.Sub(k.looked))
	}
	k.looked = now
	return now
}

// current returns the key to give out, after making another if it is time.
func (k *keyring) current() (*generation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	now := k.tick()
	k.expire()
	if n := len(k.keys); n > 0 {
		g := k.keys[n-1]
		full := len(g.opened) >= k.maxRequests-k.maxRequests/4
		if k.age-g.made < k.rotateAfter && !full {
			return g, nil
		}
		if !k.hasRoom() {
			return g, nil // where it is full, its clients will be told ErrBusy
		}
		if len(k.keys) == maxKeys {
			k.drop()
		}
	}
	g, err := k.generate(now)
	if err != nil {
		return nil, err
	}
	k.keys = append(k.keys, g)
	return g, nil
}

// expire drops keys that no honest client uses any more, and forgets what was
// opened with others before them.
//
// A request is sealed again, for a later key, up to retryWithin after it was
// first. So what a key opened must be known until all keys are gone that were
// given out by then: those made less than minKeyAge after it was dropped. The
// time in the request does not help, since the parent sets the clock that it
// would be compared with.
//
// At most 16 are remembered: this one, 7 that were there beside it, and 8 that
// are made within the minute and cannot be dropped in it.
func (k *keyring) expire() {
	for len(k.keys) > 0 && k.age-k.keys[0].made > 2*k.rotateAfter+lateness {
		k.drop()
		k.forget()
	}
	k.forget()
}

func (k *keyring) forget() {
	for len(k.former) > 0 {
		began := k.age // of the oldest key, if there is none the next one's at the earliest
		if len(k.keys) > 0 {
			began = k.keys[0].made
		}
		if began-k.former[0].dropped < minKeyAge {
			return
		}
		k.former[0], k.former = nil, k.former[1:]
	}
}

// hasRoom reports whether another key can be made, though the oldest may have
// to give way. A key of less than a minute does not, so that those who flood an
// enclave do not shorten the life of keys to less than others need.
func (k *keyring) hasRoom() bool {
	return len(k.keys) < maxKeys || k.age-k.keys[0].made >= minKeyAge
}

// drop ends the oldest key. What it opened is still remembered.
func (k *keyring) drop() {
	g := k.keys[0]
	g.private, g.dropped = nil, k.age
	k.former = append(k.former, g)
	k.keys[0], k.keys = nil, k.keys[1:]
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
	return newGeneration(private, k.kem, k.info, k.age, now.Add(2*k.rotateAfter))
}

func newGeneration(private hpke.PrivateKey, kem KEM, info []byte, made time.Duration, notAfter time.Time) (*generation, error) {
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
	k.tick()
	k.expire()
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
	if k.closed {
		return ErrClosed
	}
	if err := k.admissible(g, request); err != nil {
		return err
	}
	g.opened[request] = struct{}{}
	return nil
}

func (k *keyring) admissible(g *generation, request RequestID) error {
	for _, all := range [2][]*generation{k.keys, k.former} {
		for _, other := range all {
			if _, ok := other.opened[request]; ok {
				return ErrReplayed
			}
		}
	}
	switch {
	case g.private == nil:
		return ErrKeyUnknown // dropped while the request was opened
	case len(g.opened) < k.maxRequests:
		return nil
	case g == k.keys[len(k.keys)-1] && !k.hasRoom():
		return ErrBusy
	}
	return ErrKeyUnknown // used up: there is another, or will be when asked for
}

// close forgets all keys.
func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range k.keys {
		g.private = nil
	}
	k.keys, k.former, k.closed = nil, nil, true
}
