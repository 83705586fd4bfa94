package remote

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/BurntSushi/toml"
)

// A Context is a server with the token for it, under a name.
type Context struct {
	URL       string `toml:"url"`
	TokenFile string `toml:"token-file,omitempty"`
	Token     string `toml:"token,omitempty"`
}

// Contexts are all contexts of a user.
type Contexts struct {
	Current string             `toml:"current,omitempty"` // the name of the one that is used if nothing else is said
	All     map[string]Context `toml:"contexts"`

	path string
}

// ContextsPath returns where contexts are kept: $XDG_CONFIG_HOME/parley/contexts.toml. Without that variable
// it is ~/.config on Unix, and %AppData% on Windows. It is empty if env knows none of these.
func ContextsPath(env func(string) string) string {
	dir := env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // as the XDG specification says
		dir = env("AppData")
		if home := env("HOME"); runtime.GOOS != "windows" || dir == "" {
			dir = ""
			if home != "" {
				dir = filepath.Join(home, ".config")
			}
		}
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "parley", "contexts.toml")
}

// ReadContexts reads the contexts from the file at path. There are none if there is no such file.
func ReadContexts(path string) (*Contexts, error) {
	c := &Contexts{All: map[string]Context{}, path: path}
	text, err := os.ReadFile(path)
	switch {
	case path == "" || errors.Is(err, os.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("read contexts: %w", err)
	}
	meta, err := toml.Decode(string(text), c)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: correct it, or remove it and add your contexts again", path) // err could show a token
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: there is no such key: %s", path, unknown[0])
	}
	return c, nil
}

// Write writes the file, which only its owner may read.
func (c *Contexts) Write() error {
	if c.path == "" {
		return errors.New("there is no place for contexts: set XDG_CONFIG_HOME")
	}
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(c); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	return replace(c.path, text.Bytes())
}

// Names returns the names of all contexts, in order.
func (c *Contexts) Names() []string {
	names := make([]string, 0, len(c.All))
	for name := range c.All {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// replace writes a file in one step. Only its owner may read it.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with the mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
