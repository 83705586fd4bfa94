package app

import (
	"context"
	"flag"
	"net/http"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
)

var operatorCommands = []command{
	{name: "operator add", args: "NAME", does: "add an operator, who answers users",
		doc: `NAME is what the operator signs in with. The password is asked for on the terminal, twice, or
read from standard input; it is never an argument. If there is such an operator already, the command
exits with 1, unless --update is given: then it changes what other flags name, asks for nothing,
and keeps the rest.`,
		prints: access.Operator{}, setup: addOperator},
	{name: "operator list", does: "list all operators", prints: access.Operator{}, lines: true, setup: listOperators},
	{name: "operator passwd", args: "NAME", does: "change an operator's password, and end the sessions",
		setup: func(c *call) func(context.Context) error {
			fromStdin := c.passwordFlag()
			return func(ctx context.Context) error {
				password, err := c.password(ctx, *fromStdin)
				if err != nil {
					return err
				}
				return c.changeOperator(ctx, admin.OperatorChange{Password: password}, "%s has a new password; all sessions have ended")
			}
		}},
	{name: "operator disable", args: "NAME", does: "lock an operator out, at once", setup: setDisabled(true, "%s is locked out")},
	{name: "operator enable", args: "NAME", does: "let an operator in again",
		setup: setDisabled(false, "%s can sign in again; tokens and sessions from before do not count")},
	{name: "operator remove", args: "NAME", does: "remove an operator, and end the sessions",
		doc: `Messages of the operator stay. Tokens that others have signed for this name still count: to lock
them out, disable the operator instead.`,
		setup: func(c *call) func(context.Context) error {
			return func(ctx context.Context) error {
				return c.ask(ctx, false, func(a *admin.Client) error {
					if err := a.Call(ctx, http.MethodDelete, admin.Path("/api/operators/%s", c.args[0]), nil, nil); err != nil {
						return err
					}
					c.say("%s is removed", printable(c.args[0]))
					var left admin.List[access.Operator]
					if err := a.Call(ctx, http.MethodGet, "/api/operators", nil, &left); err != nil || len(left.Items) > 0 {
						return err
					}
					c.say("No operator is left. Without visitors and keys, too, the server is open when it starts again.")
					return nil
				})
			}
		}},
}

func addOperator(c *call) func(context.Context) error {
	isAdmin := c.flags.Bool("admin", false, "may also change operators, keys and settings")
	name := c.flags.String("name", "", "the `NAME` that users see")
	email := c.flags.String("email", "", "an e-mail `ADDRESS`, to sign in with as well")
	update := c.flags.Bool("update", false, "change the operator if there is one")
	none := c.flags.Bool("no-password", false, "the operator does not sign in here: others sign the tokens")
	fromStdin, asJSON := c.passwordFlag(), c.jsonFlag()
	return func(ctx context.Context) (err error) {
		in := admin.NewOperator{ID: c.args[0], Update: *update}
		c.flags.Visit(func(f *flag.Flag) {
			switch f.Name {
			case "admin":
				if in.Role = auth.Operator; *isAdmin {
					in.Role = auth.Admin
				}
			case "name":
				in.Name = name
			case "email":
				in.Email = email
			}
		})
		if *none && *fromStdin {
			return wrongUsage("--no-password and --password-stdin contradict each other")
		}
		if *fromStdin || !*none && !*update {
			if in.Password, err = c.password(ctx, *fromStdin); err != nil {
				return err
			}
		}
		var o access.Operator
		err = c.ask(ctx, true, func(a *admin.Client) error {
			return a.Call(ctx, http.MethodPost, "/api/operators", in, &o)
		})
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(o)
		}
		c.say("%s is an %s", printable(o.ID), o.Role)
		return nil
	}
}

func listOperators(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		var all admin.List[access.Operator]
		err := c.ask(ctx, false, func(a *admin.Client) error { return a.Call(ctx, http.MethodGet, "/api/operators", nil, &all) })
		if err != nil {
			return err
		}
		return list(c, *asJSON, all.Items, []string{"OPERATOR", "ROLE", "STATE", "NAME", "E-MAIL", "SINCE"}, func(o access.Operator) []string {
			state := "enabled"
			if o.Disabled {
				state = "disabled"
			}
			return []string{o.ID, string(o.Role), state, o.Name, o.Email, local(o.CreatedAt)}
		})
	}
}

func setDisabled(disabled bool, done string) func(*call) func(context.Context) error {
	return func(c *call) func(context.Context) error {
		return func(ctx context.Context) error {
			return c.changeOperator(ctx, admin.OperatorChange{Disabled: &disabled}, done)
		}
	}
}

// changeOperator changes the operator that the argument names.
func (c *call) changeOperator(ctx context.Context, change admin.OperatorChange, done string) error {
	return c.ask(ctx, false, func(a *admin.Client) error {
		err := a.Call(ctx, http.MethodPatch, admin.Path("/api/operators/%s", c.args[0]), change, nil)
		if err == nil {
			c.say(done, printable(c.args[0]))
		}
		return err
	})
}
