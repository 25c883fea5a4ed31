package pid1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Where an image has what Main looks for.
const (
	// Name is the program that the kernel starts. Main is for programs that
	// are called by it.
	Name = "/init"
	// ConfigFile holds the Config.
	ConfigFile = "/etc/init.json"
	// ModulesDir holds kernel modules, whose names sort in the order in which
	// they are loaded.
	ModulesDir = "/modules"
)

// maxConfig bounds the configuration, in bytes.
const maxConfig = 1 << 20

// Config says what an enclave runs.
type Config struct {
	// Command is the program, by its absolute path, and its arguments.
	// Required.
	Command []string `json:"command"`
	// Env is its whole environment, NAME=VALUE.
	Env []string `json:"env,omitempty"`
	// ParentCID is whom the heartbeat goes to: 3 on Nitro, where nitro-cli
	// waits for it. 0 sends none.
	ParentCID uint32 `json:"parent_cid,omitempty"`
	// TmpMiB bounds /tmp and /run, each, in MiB. 0 means 64.
	TmpMiB int `json:"tmp_mib,omitempty"`
}

// Encode returns the file form of a Config that ParseConfig takes.
func (c Config) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(c); err != nil {
		return nil, err
	}
	if b.Len() > maxConfig {
		return nil, fmt.Errorf("pid1: the configuration has more than %d bytes", maxConfig)
	}
	return b.Bytes(), nil
}

// ParseConfig reads a configuration. Unknown members are errors: what an image
// asks for is done, or the enclave does not start.
func ParseConfig(data []byte) (Config, error) {
	if len(data) > maxConfig {
		return Config{}, fmt.Errorf("pid1: the configuration has more than %d bytes", maxConfig)
	}
	var c Config
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("pid1: the configuration: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Config{}, errors.New("pid1: there is something after the configuration")
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (c Config) check() error {
	switch {
	case len(c.Command) == 0 || !path.IsAbs(c.Command[0]):
		return errors.New("pid1: the command is not there, or not an absolute path")
	case c.TmpMiB < 0:
		return errors.New("pid1: the size of /tmp is negative")
	}
	for _, e := range c.Env {
		if i := strings.IndexByte(e, '='); i < 1 {
			return errors.New("pid1: the environment is not NAME=VALUE")
		}
	}
	for _, s := range append(append([]string{}, c.Command...), c.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New("pid1: command or environment holds a zero byte")
		}
	}
	return nil
}
