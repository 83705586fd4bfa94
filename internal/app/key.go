package app

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/admin"
)

var keyCommands = []command{
	{name: "keys list", does: "list the keys of programs, and those that sign visitors' tokens", prints: admin.Key{}, lines: true, setup: listKeys},
	{name: "keys add", args: "NAME", does: "make a key for a program, and print it; nobody sees it again", prints: admin.MadeKey{}, setup: addKey},
	{name: "keys remove", args: "NAME", does: "remove a key, and disconnect who has it, or a token of it",
		doc: `NAME is that of a program, or of a key that signed visitors' tokens before keys rotate. Such a key ends
by itself after 180 days; remove it if somebody else knows it. Then visitors whose tokens it has signed
lose their conversations.`,
		setup: func(c *call) func(context.Context) error {
			return func(ctx context.Context) error {
				return c.ask(ctx, false, func(a *admin.Client) error {
					err := a.Call(ctx, http.MethodDelete, admin.Path("/api/keys/%s", c.args[0]), nil, nil)
					if err == nil {
						c.say("the key %s is removed", printable(c.args[0]))
					}
					return err
				})
			}
		}},
	{name: "keys rotate", does: "sign visitors' tokens with a new key; the old one goes on verifying for 180 days", prints: admin.Key{}, lines: true, setup: rotateKeys},
}

var keyHead = []string{"KEY", "FOR", "ROOMS", "MADE", "EXPIRES", "USED"}

func keyRow(k admin.Key) []string {
	name, what := k.Name, "visitors' tokens"
	if k.Type == admin.APIKey {
		name, what = k.Name+" ("+k.Start+"…)", "a program"
		if k.Admin {
			what = "an admin program"
		}
	}
	rooms := "all"
	if k.Rooms != nil {
		var each []string
		for _, pattern := range slices.Sorted(maps.Keys(k.Rooms)) {
			each = append(each, pattern+"="+k.Rooms[pattern])
		}
		rooms = strings.Join(each, ",")
	}
	return []string{name, what, rooms, local(k.CreatedAt), local(k.ExpiresAt), local(k.UsedAt)}
}

func listKeys(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		var all admin.List[admin.Key]
		err := c.ask(ctx, false, func(a *admin.Client) error { return a.Call(ctx, http.MethodGet, "/api/keys", nil, &all) })
		if err != nil {
			return err
		}
		return list(c, *asJSON, all.Items, keyHead, keyRow)
	}
}

func addKey(c *call) func(context.Context) error {
	isAdmin := c.flags.Bool("admin", false, "may also change operators, keys and settings")
	rooms := c.roomsFlag()
	expires := c.timeFlag("expires", "the `TIME` at which it ends, or a duration such as 90d", false)
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		var made admin.MadeKey
		err := c.ask(ctx, true, func(a *admin.Client) error {
			return a.Call(ctx, http.MethodPost, "/api/keys", admin.NewKey{Name: c.args[0], Admin: *isAdmin, Rooms: *rooms, ExpiresAt: *expires}, &made)
		})
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(made)
		}
		c.say("keep this key of %s: nobody sees it again", printable(made.Name))
		_, err = fmt.Fprintln(c.stdout, made.Secret)
		return err
	}
}

func rotateKeys(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		var all admin.List[admin.Key]
		err := c.ask(ctx, true, func(a *admin.Client) error {
			return a.Call(ctx, http.MethodPost, "/api/keys/rotate", nil, &all)
		})
		if err != nil {
			return err
		}
		return list(c, *asJSON, all.Items, keyHead, keyRow)
	}
}
