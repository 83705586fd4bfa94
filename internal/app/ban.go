package app

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
)

var banCommands = []command{
	{name: "revoke", does: "make tokens and sessions worthless, and disconnect who has them",
		doc: `It counts for what was issued before now, or before --before: new tokens are good. Keys of programs
are not concerned; see keys remove.`,
		prints: access.Revocation{}, setup: revoke},
	{name: "ban add", does: "ban a user or a network, and disconnect who is concerned; a ban of the same replaces it", prints: access.Ban{}, setup: addBan},
	{name: "ban list", does: "list the bans", prints: access.Ban{}, lines: true, setup: listBans},
	{name: "ban remove", args: "[BANNED]", does: "lift a ban",
		doc: `BANNED is what ban list shows: user:ID, net:NETWORK, or erased:… for a user who was erased. Nobody
can tell from it who that was, but --user with the id lifts this ban as well.`,
		setup: removeBan},
}

// banOf adds the flags that say whom a ban concerns.
func (c *call) banOf() (b *admin.NewBan, check func() error) {
	b = new(admin.NewBan)
	c.flags.StringVar(&b.UserID, "user", "", "the `ID` of a user")
	c.flags.StringVar(&b.Network, "network", "", "an address, or a `NETWORK` such as 203.0.113.0/24")
	return b, func() error {
		if b.Subject() == "" {
			return wrongUsage("want one of --user and --network")
		}
		return nil
	}
}

func addBan(c *call) func(context.Context) error {
	b, check := c.banOf()
	until := c.timeFlag("until", "the `TIME` at which it ends, or a duration such as 24h; if left out, for ever", false)
	c.flags.StringVar(&b.Reason, "reason", "", "a `TEXT` for other operators")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		if err := check(); err != nil {
			return err
		}
		b.Until = *until
		var made access.Ban
		err := c.ask(ctx, true, func(a *admin.Client) error { return a.Call(ctx, http.MethodPost, "/api/bans", b, &made) })
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(made)
		}
		c.say("%s is banned, %s", printable(made.Subject), banEnd(made))
		return nil
	}
}

func banEnd(b access.Ban) string {
	if b.Until.IsZero() {
		return "for ever"
	}
	return "until " + local(b.Until)
}

func listBans(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		var all admin.List[access.Ban]
		err := c.ask(ctx, false, func(a *admin.Client) error { return a.Call(ctx, http.MethodGet, "/api/bans", nil, &all) })
		if err != nil {
			return err
		}
		return list(c, *asJSON, all.Items, []string{"BANNED", "SINCE", "UNTIL", "REASON"}, func(b access.Ban) []string {
			return []string{b.Subject, local(b.CreatedAt), cmp.Or(local(b.Until), "for ever"), b.Reason}
		})
	}
}

func removeBan(c *call) func(context.Context) error {
	b, check := c.banOf()
	return func(ctx context.Context) error {
		subject := b.Subject()
		switch {
		case len(c.args) > 0 && *b == (admin.NewBan{}):
			subject = c.args[0]
		case len(c.args) > 0:
			return wrongUsage("want one of BANNED, --user and --network")
		default:
			if err := check(); err != nil {
				return err
			}
		}
		return c.ask(ctx, false, func(a *admin.Client) error {
			err := a.Call(ctx, http.MethodDelete, admin.Path("/api/bans/%s", subject), nil, nil)
			if err == nil {
				c.say("the ban of %s is lifted", printable(subject))
			}
			return err
		})
	}
}

func revoke(c *call) func(context.Context) error {
	var r admin.NewRevocation
	c.flags.StringVar(&r.UserID, "user", "", "what the user with this `ID` has")
	c.flags.StringVar(&r.OperatorID, "operator", "", "what the operator with this `ID` has, sessions too")
	c.flags.StringVar(&r.TokenID, "jti", "", "the token with this `ID`")
	c.flags.BoolVar(&r.Everybody, "all", false, "what everybody has")
	before := c.timeFlag("before", "what was issued before this `TIME`, or so long ago, such as 1h; now if left out", true)
	c.flags.StringVar(&r.Reason, "reason", "", "a `TEXT` for other operators")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		given := 0
		for _, is := range []bool{r.UserID != "", r.OperatorID != "", r.TokenID != "", r.Everybody} {
			if is {
				given++
			}
		}
		if given != 1 {
			return wrongUsage("want one of --user, --operator, --jti and --all")
		}
		r.Before = *before
		var made access.Revocation
		err := c.ask(ctx, true, func(a *admin.Client) error {
			return a.Call(ctx, http.MethodPost, "/api/revocations", r, &made)
		})
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(made)
		}
		whose := printable(made.Subject)
		switch kind, id, _ := strings.Cut(whose, ":"); {
		case r.Everybody:
			c.say("everything that was issued before %s is worth nothing now", local(made.Before))
		case kind == "jti":
			c.say("the token %s is worth nothing now", id)
		default:
			c.say("what was issued to %s %s before %s is worth nothing now", kind, id, local(made.Before))
		}
		return nil
	}
}
