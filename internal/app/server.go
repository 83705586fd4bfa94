package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/admin"
	"github.com/parley-go/parley/internal/remote"
)

// Variables that say to which server remote commands go. The server ignores them.
const (
	urlVariable       = "PARLEY_URL"
	tokenVariable     = "PARLEY_TOKEN"
	tokenFileVariable = "PARLEY_TOKEN_FILE"
	contextVariable   = "PARLEY_CONTEXT"
)

const defaultURL = "http://127.0.0.1:8080"

// serverFlags say to which server a remote command goes, and who one is there.
type serverFlags struct {
	url, token, tokenFile, context string
	user, operator                 string
	timeout                        time.Duration
}

// add adds the flags.
func (s *serverFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&s.url, "url", "", "the `URL` of the server; "+urlVariable+", or else "+defaultURL)
	flags.StringVar(&s.token, "token", "", "a `TOKEN`, or the key of a program; others see it in the list of processes, so prefer --token-file or "+tokenVariable)
	flags.StringVar(&s.tokenFile, "token-file", "", "the `FILE` with the token; it is read again for each connection")
	flags.StringVar(&s.context, "context", "", "the `NAME` of a server; see context add")
	flags.StringVar(&s.user, "user", "", "act as the user with this `ID`, if the server lets you")
	flags.StringVar(&s.operator, "as-operator", "", "act as the operator with this `ID`, if the server lets you")
	s.timeout = time.Minute
	flags.Func("timeout", "how long to wait for an answer, a `DURATION`; 1m if left out", func(text string) (err error) {
		s.timeout, err = parseDuration(text)
		return err
	})
}

// env returns the value of an environment variable.
func (c *call) env(name string) string {
	value := ""
	for _, pair := range c.environ {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v
		}
	}
	return value
}

func (c *call) contexts() (*remote.Contexts, error) {
	return remote.ReadContexts(remote.ContextsPath(c.env))
}

// target returns which server the flags, the variables and the contexts name. A token goes only to the server
// for which it was given: that of a context stays with its URL.
func (c *call) target() (t remote.Context, err error) {
	s := &c.server
	if s.context != "" && s.url != "" {
		return t, wrongUsage("--context and --url contradict each other")
	}
	if s.token != "" && s.tokenFile != "" {
		return t, wrongUsage("--token and --token-file contradict each other")
	}
	name := s.context
	if s.url == "" {
		name = cmp.Or(name, c.env(contextVariable))
	}
	variables := remote.Context{URL: c.env(urlVariable), Token: c.env(tokenVariable), TokenFile: c.env(tokenFileVariable)}
	given := s.url != "" || s.token != "" || s.tokenFile != "" || variables != (remote.Context{})
	if name != "" || !given {
		contexts, err := c.contexts()
		if err != nil {
			return t, wrongUsage("%w", err)
		}
		if name == "" {
			name = contexts.Current
		}
		var known bool
		if t, known = contexts.All[name]; name != "" && !known {
			return t, wrongUsage("there is no context %q; see parley context list", name)
		}
	}
	if name == "" {
		t = variables
	}
	if s.url != "" {
		t.URL = s.url
	}
	if s.token != "" || s.tokenFile != "" {
		t.Token, t.TokenFile = s.token, s.tokenFile
	}
	if t.Token != "" {
		t.TokenFile = ""
	}
	return t, nil
}

// connect connects to the server. Without a URL and a token, it tries the socket for commands of a server on
// this machine first. Unless operates is set, one is a user there if nothing else is said.
func (c *call) connect(ctx context.Context, operates bool) (*remote.Session, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	o := remote.Options{URL: cmp.Or(t.URL, defaultURL), UserID: c.server.user, OperatorID: c.server.operator, Patience: c.server.timeout}
	switch {
	case t.TokenFile != "":
		o.Token = func() (string, error) {
			text, err := os.ReadFile(t.TokenFile)
			if err == nil && len(bytes.TrimSpace(text)) == 0 {
				err = fmt.Errorf("there is no token in %s", t.TokenFile)
			}
			return string(bytes.TrimSpace(text)), err
		}
		if _, err := o.Token(); err != nil {
			return nil, wrongUsage("token-file: %w", err)
		}
	case t.Token != "":
		o.Token = func() (string, error) { return strings.TrimSpace(t.Token), nil }
	default:
		if t.URL == "" {
			if o.Socket, err = c.controlSocket(ctx); err != nil {
				return nil, err
			}
		}
		if o.UserID == "" && o.OperatorID == "" {
			if operates {
				o.OperatorID = account()
			} else {
				o.UserID = account()
			}
		}
	}
	session, err := remote.Connect(ctx, o)
	if errors.Is(err, remote.ErrUnreachable) {
		err = fmt.Errorf("%w at %s: start one with parley serve, or name another one with --url", err, o.URL)
	}
	return session, err
}

// controlSocket returns the path of the socket of a server on this machine that answers there; empty: there is
// none.
func (c *call) controlSocket(ctx context.Context) (string, error) {
	config, err := LoadConfig(c.environ, c.given)
	if err != nil {
		return "", usageError{err}
	}
	if config.stateDir() == "" {
		return "", nil
	}
	path := filepath.Join(config.stateDir(), admin.SocketName)
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return "", nil
	}
	conn.Close()
	return path, nil
}

// account returns the name of who calls.
func account() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "parley"
}
