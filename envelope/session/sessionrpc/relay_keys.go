package sessionrpc

import (
	"container/list"
	"sync"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// keyMap remembers which enclave has which key: as many keys as it may, those
// used last. Only enclaves' answers put keys in, so clients cannot push out each
// other's by asking for keys that do not exist. It is safe for concurrent use.
type keyMap struct {
	most int

	mu    sync.Mutex
	byKey map[session.KeyID]*list.Element // of *keyPlace
	used  *list.List                      // the one used last in front
}

type keyPlace struct {
	key  session.KeyID
	addr string
}

func newKeyMap(most int) *keyMap {
	return &keyMap{most: most, byKey: make(map[session.KeyID]*list.Element), used: list.New()}
}

// put notes that the enclave at addr has a key.
func (m *keyMap) put(key session.KeyID, addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byKey[key]; ok {
		e.Value.(*keyPlace).addr = addr
		m.used.MoveToFront(e)
		return
	}
	if m.used.Len() == m.most {
		delete(m.byKey, m.used.Remove(m.used.Back()).(*keyPlace).key)
	}
	m.byKey[key] = m.used.PushFront(&keyPlace{key, addr})
}

// get returns the address of the enclave that has a key.
func (m *keyMap) get(key session.KeyID) (addr string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byKey[key]
	if !ok {
		return "", false
	}
	m.used.MoveToFront(e)
	return e.Value.(*keyPlace).addr, true
}
