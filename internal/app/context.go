package app

import (
	"context"
	"net/url"
	"path/filepath"

	"github.com/parley-go/parley/internal/remote"
)

var contextCommands = []command{
	{name: "context add", args: "NAME", does: "name a server, with the token for it",
		doc: `It keeps --url, and --token-file or --token, in a file that only you can read:
$XDG_CONFIG_HOME/parley/contexts.toml, or ~/.config/parley/contexts.toml. Commands use the context with
--context NAME or ` + contextVariable + `, or always: see context use. A context of the same name is replaced.`,
		setup: addContext},
	{name: "context use", args: "[NAME]", does: "choose the context of commands that name no server; without a NAME, none",
		setup: func(c *call) func(context.Context) error {
			return func(context.Context) error {
				return c.changeContexts(func(all *remote.Contexts) error {
					all.Current = ""
					if len(c.args) == 1 {
						all.Current = c.args[0]
					}
					return known(all, all.Current)
				})
			}
		}},
	{name: "context list", does: "list the contexts", prints: printedContext{}, lines: true, setup: listContexts},
	{name: "context remove", args: "NAME", does: "forget a context",
		setup: func(c *call) func(context.Context) error {
			return func(context.Context) error {
				return c.changeContexts(func(all *remote.Contexts) error {
					err := known(all, c.args[0])
					delete(all.All, c.args[0])
					if all.Current == c.args[0] {
						all.Current = ""
					}
					return err
				})
			}
		}},
}

type printedContext struct {
	Name      string `json:"name"`
	URL       string `json:"url"`
	TokenFile string `json:"tokenFile,omitempty"`
	Current   bool   `json:"current"`
}

func known(all *remote.Contexts, name string) error {
	if _, ok := all.All[name]; name != "" && !ok {
		return wrongUsage("there is no context %q; see parley context list", name)
	}
	return nil
}

// changeContexts changes the contexts.
func (c *call) changeContexts(change func(*remote.Contexts) error) error {
	all, err := c.contexts()
	if err == nil {
		err = change(all)
	}
	if err != nil {
		return err
	}
	return all.Write()
}

func addContext(c *call) func(context.Context) error {
	var t remote.Context
	c.flags.StringVar(&t.URL, "url", "", "the `URL` of the server")
	c.flags.StringVar(&t.TokenFile, "token-file", "", "the `FILE` with the token")
	c.flags.StringVar(&t.Token, "token", "", "the `TOKEN` itself; others see it in the list of processes")
	return func(context.Context) (err error) {
		u, err := url.Parse(t.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return wrongUsage("--url: want a URL such as https://chat.example.com")
		}
		if t.Token != "" && t.TokenFile != "" {
			return wrongUsage("--token and --token-file contradict each other")
		}
		if t.TokenFile != "" {
			if t.TokenFile, err = filepath.Abs(t.TokenFile); err != nil {
				return err
			}
		}
		return c.changeContexts(func(all *remote.Contexts) error {
			all.All[c.args[0]] = t
			return nil
		})
	}
}

func listContexts(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(context.Context) error {
		all, err := c.contexts()
		if err != nil {
			return err
		}
		var items []printedContext
		for _, name := range all.Names() {
			t := all.All[name]
			items = append(items, printedContext{name, t.URL, t.TokenFile, name == all.Current})
		}
		return list(c, *asJSON, items, []string{"NAME", "URL", "TOKEN FILE", "IN USE"}, func(p printedContext) []string {
			used := ""
			if p.Current {
				used = "yes"
			}
			return []string{p.Name, p.URL, p.TokenFile, used}
		})
	}
}
