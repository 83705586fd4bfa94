package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/admin"
)

var dataCommands = []command{
	{name: "export", does: "print what is stored as lines of JSON",
		doc: `The last line is {"end":true,"rows":N}. Without it the export is not whole, and the command exits
with 1. With --output it writes FILE.part, which gets its name when the last line is there.`,
		setup: export},
	{name: "erase", does: "erase a user or a room, so that no byte of it is left",
		doc: `It shows what would go, and asks you to type the id. Backups from before still have it. Bans and
revocations of the user stay, and so does the access of who has a token: see revoke.`,
		prints: admin.Erasure{}, setup: erase},
}

func export(c *call) func(context.Context) error {
	room := c.flags.String("room", "", "a room with its notes, by its `ID`")
	user := c.flags.String("user", "", "what is known of a user, and the conversations, by the `ID`")
	all := c.flags.Bool("all", false, "everything")
	since := c.timeFlag("since", "only messages and notes that were written or changed since this `TIME`, or so long ago, such as 24h; rooms without any are left out", true)
	output := c.flags.String("output", "", "write to this `FILE` instead of standard output")
	return func(ctx context.Context) error {
		path := ""
		for _, of := range []struct {
			given bool
			path  string
		}{{*room != "", admin.Path("/api/rooms/%s/export", *room)}, {*user != "", admin.Path("/api/users/%s/export", *user)}, {*all, "/api/export"}} {
			switch {
			case !of.given:
			case path != "":
				return wrongUsage("want only one of --room, --user and --all")
			default:
				path = of.path
			}
		}
		if path == "" {
			return wrongUsage("want one of --room, --user and --all")
		}
		if !since.IsZero() {
			path += "?since=" + url.QueryEscape(since.Format(time.RFC3339Nano))
		}
		return c.ask(ctx, false, func(a *admin.Client) error {
			if *output == "" {
				_, err := c.copyExport(ctx, a, path, c.stdout)
				return err
			}
			rows, err := c.exportFile(ctx, a, path, *output)
			if err == nil {
				c.say("%s: %d lines", *output, rows)
			}
			return err
		})
	}
}

// exportFile writes an export into a file that only its owner may read. The file gets its name when it is
// whole.
func (c *call) exportFile(ctx context.Context, a *admin.Client, path, file string) (rows int64, err error) {
	if err := inDirectory(file); err != nil {
		return 0, err
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	if rows, err = c.copyExport(ctx, a, path, f); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(part)
		return rows, err
	}
	return rows, os.Rename(part, file)
}

// copyExport writes an export to w, and fails if it is not whole.
func (c *call) copyExport(ctx context.Context, a *admin.Client, path string, w io.Writer) (rows int64, err error) {
	switch {
	case isTerminal(w):
		w = &printableJSON{w: w}
	case isTerminal(c.stderr):
		w = &progress{w: w, shown: c.stderr}
	}
	r, to := io.Pipe()
	ended := make(chan struct{})
	go func() {
		to.CloseWithError(a.Stream(ctx, to, path))
		close(ended)
	}()
	rows, err = history.CheckExport(io.TeeReader(r, w))
	r.Close() // after a failure, nobody reads on
	<-ended
	return rows, err
}

// progress writes through, and shows how much, once a second.
type progress struct {
	w, shown io.Writer
	bytes    int64
	last     time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	if now := time.Now(); now.Sub(p.last) >= time.Second {
		p.last = now
		fmt.Fprintf(p.shown, "\r%.1f MB ", float64(p.bytes)/1e6)
	}
	return p.w.Write(b)
}

func erase(c *call) func(context.Context) error {
	user := c.flags.String("user", "", "the `ID` of a user")
	room := c.flags.String("room", "", "the `ID` of a room")
	yes := c.flags.Bool("yes", false, "do not ask")
	dry := c.flags.Bool("dry-run", false, "only show what would go")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		if (*user == "") == (*room == "") {
			return wrongUsage("want one of --user and --room")
		}
		id, path := *user, admin.Path("/api/users/%s", *user)
		if *room != "" {
			id, path = *room, admin.Path("/api/rooms/%s", *room)
		}
		show := func(e admin.Erasure, verb string) error {
			if *asJSON {
				return c.printJSON(e)
			}
			return c.printErasure(e, id, verb)
		}
		if !*yes {
			var would admin.Erasure
			err := c.ask(ctx, false, func(a *admin.Client) error {
				return a.Call(ctx, http.MethodDelete, path+"?dryRun=true", nil, &would)
			})
			if err != nil {
				return err
			}
			if *dry {
				return show(would, "would be erased")
			}
			if !*asJSON {
				if err := show(would, "would be erased"); err != nil {
					return err
				}
			}
			c.say("Type %s to erase it:", printable(id))
			typed, err := c.readLine(ctx)
			if err != nil {
				return err
			}
			if typed != id {
				return errors.New("nothing was erased: this is another id")
			}
		} else if *dry {
			return wrongUsage("--yes and --dry-run contradict each other")
		}
		var erased admin.Erasure
		err := c.ask(ctx, false, func(a *admin.Client) error { return a.Call(ctx, http.MethodDelete, path, nil, &erased) })
		if err != nil {
			return err
		}
		return show(erased, "erased")
	}
}

// printErasure says what goes, or has gone.
func (c *call) printErasure(e admin.Erasure, id, verb string) error {
	what := fmt.Sprintf("%d rooms with %d messages", len(e.Erased.Rooms), e.Erased.Messages)
	if e.Erased.Changed > 0 {
		what += fmt.Sprintf(", and the text and author of %d messages in other rooms", e.Erased.Changed)
	}
	if e.Erased.Person {
		what += ", and what is known of the person"
	}
	if _, err := fmt.Fprintf(c.stdout, "%s: %s: %s\n", printable(id), verb, what); err != nil {
		return err
	}
	const most = 20
	for i, room := range e.Erased.Rooms {
		if i == most {
			fmt.Fprintf(c.stdout, "  … and %d others\n", len(e.Erased.Rooms)-most)
			break
		}
		fmt.Fprintf(c.stdout, "  %s\n", printable(room))
	}
	for _, kept := range e.Kept {
		fmt.Fprintf(c.stdout, "  stays: %s\n", printable(strings.Replace(kept, "user:", "of user ", 1)))
	}
	return nil
}
