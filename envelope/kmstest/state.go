package kmstest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxState bounds a state file, in bytes: some 1,500 keys with the longest
// policies.
const maxState = 64 << 20

// stateFormat names the form of the file.
const stateFormat = "nitroseal kmstest state 1"

// ErrState is matched by errors about what a state file holds. The file is left
// as it is.
var ErrState = errors.New("bad state file")

// state is what Options.StateFile keeps. Principals are not in it: their
// credentials come from elsewhere each time.
type state struct {
	Format  string            `json:"format"`
	Region  string            `json:"region"`
	Account string            `json:"account"`
	Keys    []stateKey        `json:"keys"`
	Aliases map[string]string `json:"aliases"`
}

type stateKey struct {
	ID       string    `json:"id"`
	Spec     string    `json:"spec"`
	Created  time.Time `json:"created"`
	Material []byte    `json:"material"`
	Policy   string    `json:"policy"` // "" allows nothing
}

// openState locks the state file and loads what is in it. A file that does not
// exist is made with the first key.
func (s *Server) openState() error {
	lock, err := lockFile(s.opts.StateFile + ".lock")
	if err != nil {
		return fmt.Errorf("kmstest: %s: %w", s.opts.StateFile, err)
	}
	s.lock = lock
	data, err := readLimited(s.opts.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.load(data)
		clear(data)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("kmstest: %s: %w", s.opts.StateFile, err), lock.Close())
	}
	return nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err == nil && len(data) > maxState {
		err = fmt.Errorf("%w: larger than %d bytes", ErrState, maxState)
	}
	return data, err
}

// load replaces keys and aliases by those in data, or changes nothing.
func (s *Server) load(data []byte) error {
	var st state
	if decodeStrict(data, &st) != nil {
		return fmt.Errorf("%w: not JSON of this form", ErrState)
	}
	if st.Format != stateFormat {
		return fmt.Errorf("%w: the format is not %q", ErrState, stateFormat)
	}
	if st.Region != s.opts.Region || st.Account != s.opts.Account {
		return fmt.Errorf("%w: it is of another region or account", ErrState)
	}
	keys := map[string]*key{}
	for i, sk := range st.Keys {
		k, err := s.restore(sk)
		if err != nil {
			return fmt.Errorf("%w: key %d: %w", ErrState, i+1, err)
		}
		if keys[sk.ID] != nil {
			return fmt.Errorf("%w: key %d is there twice", ErrState, i+1)
		}
		keys[sk.ID] = k
	}
	for alias, id := range st.Aliases {
		if !strings.HasPrefix(alias, "alias/") || keys[id] == nil {
			return fmt.Errorf("%w: an alias is of no key", ErrState)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.aliases = keys, map[string]string{}
	for alias, id := range st.Aliases {
		s.aliases[alias] = id
	}
	return nil
}

func (s *Server) restore(sk stateKey) (*key, error) {
	k := &key{created: sk.Created, spec: sk.Spec, policy: &policy{}}
	id, err := hex.DecodeString(strings.ReplaceAll(sk.ID, "-", ""))
	if err != nil || len(id) != len(k.id) || uuid([16]byte(id)) != sk.ID {
		return nil, errors.New("its id is no UUID")
	}
	k.id = [16]byte(id)
	k.arn = s.arn("key/" + sk.ID)
	if err := k.use(sk.Material); err != nil {
		return nil, errors.New("its material does not fit its spec")
	}
	if sk.Policy != "" {
		if k.policy, err = parsePolicy(sk.Policy); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// save writes the state file, if there is one, so that a crash leaves the old
// or the new one. It needs s.mu.
func (s *Server) save() error {
	if s.opts.StateFile == "" {
		return nil
	}
	if s.lock == nil {
		return apiError{"KMSInternalException", "the server is closed"}
	}
	st := state{Format: stateFormat, Region: s.opts.Region, Account: s.opts.Account, Keys: []stateKey{}, Aliases: s.aliases}
	for _, k := range s.keys {
		st.Keys = append(st.Keys, stateKey{k.uuid(), k.spec, k.created, k.material, k.policy.source})
	}
	slices.SortFunc(st.Keys, func(a, b stateKey) int { return strings.Compare(a.ID, b.ID) })
	var data bytes.Buffer
	defer func() { clear(data.Bytes()) }()
	e := json.NewEncoder(&data)
	e.SetIndent("", "  ")
	if err := e.Encode(st); err != nil {
		return err
	}
	if err := replace(s.opts.StateFile, data.Bytes()); err != nil {
		s.opts.Logger.Error("kmstest: cannot save the state", "err", err)
		return apiError{"KMSInternalException", "the server cannot save its state"}
	}
	return nil
}

// replace writes a file that only its owner reads, whole or not at all.
func replace(name string, data []byte) (err error) {
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+rand.Text())
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
