package attest

import (
	"container/list"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
)

// defaultCacheSize is how many chains a ChainCache keeps by default: those of
// as many modules. A chain takes about 10 KiB.
const defaultCacheSize = 256

// ChainCache remembers certificate chains whose signatures and form were found
// right, by the digest of all their certificates, leaf included. Whether their
// root is trusted and whether they are valid is checked at each use all the
// same. Only chains that lead to a trusted root get in, so strangers cannot
// fill it. It is bounded, the least recently used leaves first, and safe for
// concurrent use. A nil *ChainCache remembers nothing.
type ChainCache struct {
	size int

	mu     sync.Mutex
	chains map[cacheKey]*list.Element
	order  *list.List // of cacheEntry, the most recently used in front
}

type cacheKey [sha256.Size]byte

type cacheEntry struct {
	key   cacheKey
	chain []*x509.Certificate
}

// NewChainCache returns a cache of at most size chains; 0 means 256.
func NewChainCache(size int) *ChainCache {
	if size <= 0 {
		size = defaultCacheSize
	}
	return &ChainCache{size: size, chains: map[cacheKey]*list.Element{}, order: list.New()}
}

// key is the digest of the certificates, each with its length.
func (c *ChainCache) key(p *payload) (k cacheKey) {
	if c == nil {
		return k
	}
	h := sha256.New()
	var length [4]byte
	add := func(der []byte) {
		binary.BigEndian.PutUint32(length[:], uint32(len(der)))
		h.Write(length[:])
		h.Write(der)
	}
	for _, der := range p.cabundle {
		add(der)
	}
	add(p.certificate)
	h.Sum(k[:0])
	return k
}

func (c *ChainCache) get(k cacheKey) []*x509.Certificate {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.chains[k]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(cacheEntry).chain
}

func (c *ChainCache) put(k cacheKey, chain []*x509.Certificate) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chains[k] != nil {
		return
	}
	c.chains[k] = c.order.PushFront(cacheEntry{k, chain})
	if len(c.chains) > c.size {
		c.remove(c.order.Back())
	}
}

func (c *ChainCache) drop(k cacheKey) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.chains[k]; e != nil {
		c.remove(e)
	}
}

// remove needs c.mu.
func (c *ChainCache) remove(e *list.Element) {
	delete(c.chains, e.Value.(cacheEntry).key)
	c.order.Remove(e)
}

// Len is how many chains the cache holds.
func (c *ChainCache) Len() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.chains)
}
