package app

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/parley-go/parley/history"
)

const manualHead = `# Command line

<!-- Made by "parley help cli". -->

` + "`parley help COMMAND`" + ` prints the same. Flags may stand before, between and after the arguments; what follows
` + "`--`" + ` is an argument in any case. ` + "`--flag value` and `--flag=value`" + ` are the same. All
commands but bench, completion, help, types and version also take ` + "`--data DIR` and `--config FILE`" + `, and look for
what is not given as the server does; see [configuration.md](configuration.md). [operations.md](operations.md#commands-on-the-data-directory) says how commands
work beside a running server.

Results are on standard output, and everything else on standard error. An error is one line that begins with
` + "`parley:`" + `. With ` + "`--json`" + `, a command prints one object, or one in each line if it lists something. Members with
a ` + "`?`" + ` may be absent. Times are in UTC, as RFC 3339 says.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused, with the code of the refusal ([events.md](events.md)) on standard error; or a problem with the disk, the address or the backup; or ` + "`check` and `token check`" + ` have found something |
| 2 | the command line, a variable or the configuration file is wrong |
| 3 | the server cannot be reached, or has gone away |
| 130 | interrupted; ` + "`tail` and `chat`" + ` end with 0 then |

Where a flag takes a TIME, write a date such as ` + "`2026-01-31`" + `, a time such as ` + "`2026-01-31T18:00:00Z`" + ` or
` + "`\"2026-01-31 18:00\"`" + ` (local), or a duration such as ` + "`24h` or `30d`" + `.
`

const serverHead = `
## The server

` + "`tail`, `send`, `history`, `rooms` and `chat`" + ` talk to a server as any client does, on this machine or another one:

    parley send support-42 'How can I help?'                       # prints the number of the message
    journalctl -f | parley send logs -                             # each line is a message, stored once
    parley tail support-42 --json | jq .message                    # what is there, and what comes
    parley tail --all --json --state tail.state >> messages.jsonl  # goes on where it has stopped

| what | where it is looked for |
|---|---|
| the server | ` + "`--url`, `PARLEY_URL`" + `, a context, the server that uses the data directory (` + "`--data`" + `, as other commands), http://127.0.0.1:8080 |
| the token | ` + "`--token-file`, `--token`, `PARLEY_TOKEN`, `PARLEY_TOKEN_FILE`" + `, the context of the server |

A context is a server and its token under a name:

    parley keys add reports > ~/.reports.key                       # on the server's machine
    parley context add shop --url https://chat.example.com --token-file ~/.reports.key
    parley rooms --waiting --context shop
    parley context use shop                                        # from now on without --context

Without a URL and a token, a command goes through the socket in the data directory. Who may open it can do everything,
as with the other commands. Others see a ` + "`--token`" + ` in the list of processes: prefer a file. Without a token, you are
the operator with the name of your account, and for ` + "`send` and `chat`" + ` the user of that name. Say otherwise with
` + "`--as-operator` or `--user`" + `. The key of a program and the socket let you be anybody; a user's token does not.

These commands take, besides their own flags:
`

// Manual returns the documentation of all commands as markdown.
func Manual() string {
	var b strings.Builder
	b.WriteString(manualHead + serverHead)
	own := newFlags()
	new(serverFlags).add(own)
	tableOf(&b, own)
	for _, c := range commands() {
		fmt.Fprintf(&b, "\n## %s\n\n", c.line())
		switch {
		case c.name == "serve":
			b.WriteString("Serves, at http://127.0.0.1:8080 unless told otherwise. The word `serve` may be left out. Its flags are\nthe [settings](configuration.md), and `--config FILE`.\n")
		case c.help != nil:
			fmt.Fprintf(&b, "%s.\n\n```\n", upper(c.does))
			c.help(&b)
			b.WriteString("```\n")
		case c.raw != nil:
			fmt.Fprintf(&b, "%s. It has no flags.\n", upper(c.does))
		default:
			c.describe(&b)
		}
	}
	return b.String()
}

// describe writes what a command with a setup does.
func (c *command) describe(w io.Writer) {
	fmt.Fprintf(w, "%s.\n", upper(c.does))
	if c.doc != "" {
		fmt.Fprintf(w, "\n%s\n", c.doc)
	}
	row := tableOf(w, c.ownFlags())
	if c.remote {
		row("…", "the flags that [say which server](#the-server)")
	}
	for _, name := range c.settings {
		switch {
		case name == "":
			row("…", "all [settings](configuration.md) of the server")
		case strings.HasSuffix(name, "-"):
			row(name+"…", "the server's settings of these names, if no server runs")
		default:
			row(name, "the server's setting, if no server runs")
		}
	}
	if c.prints != nil {
		what := "one object"
		if c.lines {
			what = "an object in each line"
		}
		fmt.Fprintf(w, "\n`--json` prints %s:\n\n```\n%s\n```\n", what, shape(reflect.TypeOf(c.prints)))
	}
}

// tableOf writes a table of flags, and returns what adds a row.
func tableOf(w io.Writer, flags *flag.FlagSet) (row func(flag, does string)) {
	head := "\n| flag | |\n|---|---|\n"
	row = func(flag, does string) {
		fmt.Fprintf(w, "%s| `--%s` | %s |\n", head, flag, does)
		head = ""
	}
	flags.VisitAll(func(f *flag.Flag) {
		value, does := flag.UnquoteUsage(f)
		row(strings.TrimSpace(f.Name+" "+value), does)
	})
	return row
}

// upper returns a text with a capital at its beginning.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// shape describes the JSON of a type.
func shape(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[history.Time]():
		return "time"
	case t == reflect.TypeFor[json.RawMessage]():
		return "object"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem())
	case reflect.Slice:
		return "[" + shape(t.Elem()) + ", …]"
	case reflect.Map:
		return "{" + shape(t.Key()) + ": " + shape(t.Elem()) + ", …}"
	case reflect.Struct:
		return "{" + strings.Join(members(t), ", ") + "}"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

func members(t reflect.Type) (all []string) {
	for f := range fields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			all = append(all, members(f.Type)...)
			continue
		}
		if strings.HasPrefix(options, "omit") {
			name += "?"
		}
		of := shape(f.Type)
		if f.Tag.Get("ts") == "any" {
			of = "any"
		}
		all = append(all, name+": "+of)
	}
	return all
}

// fields are those of a struct that are in its JSON.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("json") != "-" && !yield(f) {
				return
			}
		}
	}
}
