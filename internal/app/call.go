package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
	"github.com/parley-go/parley/internal/cmdline"
	"github.com/parley-go/parley/internal/remote"
)

// A call is one run of a command.
type call struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	flags  *flag.FlagSet     // the command's own
	given  map[string]string // settings on the command line
	args   []string          // the other arguments
	config Config
	server serverFlags // of a remote command
}

// A usageError says that the command line is wrong.
type usageError struct{ error }

func wrongUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("parley", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// run runs a command, and returns the exit code.
func (c *call) run(ctx context.Context, command *command, args []string) int {
	c.flags = newFlags()
	do := command.setup(c)
	if command.remote {
		c.server.add(c.flags)
	}
	var err error
	c.given, c.args, err = parseFlags(c.flags, args, command.name, command.allows)
	if wantsHelp(err) {
		command.print(c.stdout)
		return exitOK
	}
	if err == nil {
		err = command.checkArgs(c.args)
	}
	if err == nil && !command.remote {
		c.config, err = LoadConfig(c.environ, c.given)
	}
	if err != nil {
		return fail(c.stderr, exitUsage, err)
	}
	return c.exit(ctx, do(ctx))
}

// exit reports how a command has ended.
func (c *call) exit(ctx context.Context, err error) int {
	var usage usageError
	var refusal *access.Error
	var refused *event.Error
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE): // who reads the output has had enough
		return exitOK
	case ctx.Err() != nil:
		return fail(c.stderr, exitInterrupted, errors.New("interrupted"))
	case errors.Is(err, errFindings):
		return exitFailed // the command has printed them
	case errors.As(err, &usage):
		return fail(c.stderr, exitUsage, err)
	case errors.As(err, &refusal):
		return fail(c.stderr, exitFailed, fmt.Errorf("%s (%s)", printable(refusal.Message), refusal.Code))
	case errors.As(err, &refused):
		return fail(c.stderr, exitFailed, fmt.Errorf("%s (%s)", printable(refused.Message), printable(refused.Code)))
	case errors.Is(err, admin.ErrUnreachable), errors.Is(err, remote.ErrUnreachable):
		return fail(c.stderr, exitNoOne, err)
	case errors.Is(err, sqlite.ErrInUse):
		err = fmt.Errorf("%w: stop the server, or what else has it open", err)
	}
	return fail(c.stderr, exitFailed, err)
}

// allows reports whether a setting is a flag of the command.
func (c *command) allows(setting string) bool {
	for _, name := range c.settings {
		if strings.HasPrefix(setting, name) {
			return true
		}
	}
	return setting == "data" || setting == "state-dir"
}

// checkArgs checks the number of arguments. Those that may be left out stand in brackets, and the last one
// may be repeated if it ends with "…".
func (c *command) checkArgs(args []string) error {
	words := strings.Fields(c.args)
	least, most := 0, len(words)
	for _, word := range words {
		if !strings.HasPrefix(word, "[") {
			least++
		}
	}
	if strings.HasSuffix(strings.TrimSuffix(c.args, "]"), "…") {
		most = len(args)
	}
	switch {
	case len(words) == 0 && len(args) > 0:
		return fmt.Errorf("unexpected argument %q", args[0])
	case len(args) >= least && len(args) <= max(least, most):
		return nil
	case len(words) == 1 && most == 1:
		return fmt.Errorf("want one %s: %s; see parley help %s", strings.Trim(c.args, "[]"), c.line(), c.name)
	}
	return fmt.Errorf("want %s: %s; see parley help %s", c.args, c.line(), c.name)
}

// print prints the help of the command.
func (c *command) print(w io.Writer) {
	args := c.args
	if !strings.Contains(args, "flags") {
		args = strings.TrimSpace("[flags] " + args)
	}
	fmt.Fprintf(w, "parley %s %s: %s.\n", c.name, args, c.does)
	if c.doc != "" {
		fmt.Fprintf(w, "\n%s\n", c.doc)
	}
	own := c.ownFlags()
	first := true
	own.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n\n")
			first = false
		}
		printFlag(w, f)
	})
	if c.remote {
		fmt.Fprint(w, "\nFlags that say which server, and who you are there:\n\n")
		which := newFlags()
		new(serverFlags).add(which)
		which.VisitAll(func(f *flag.Flag) { printFlag(w, f) })
		fmt.Fprint(w, "\nWithout any of them it goes to the server that uses the data directory, which these flags name:\n\n")
	} else {
		fmt.Fprint(w, "\nFlags, whose values are looked for as the server's are (see parley help config):\n\n")
	}
	fmt.Fprintf(w, "  %-21s %s\n", "--data DIR", "the data directory; parley-data if nothing sets it")
	fmt.Fprintf(w, "  %-21s %s\n", "--state-dir DIR", "the server's own directory, if it is another one")
	fmt.Fprintf(w, "  %-21s %s\n", "--config FILE", "TOML file with settings")
	for _, name := range c.settings {
		if name == "" {
			fmt.Fprintf(w, "  %-21s all other flags of serve\n", "--…")
			continue
		}
		if strings.HasSuffix(name, "-") {
			name += "…"
		}
		fmt.Fprintf(w, "  %-21s the server's settings of this name, if no server runs\n", "--"+name)
	}
}

func printFlag(w io.Writer, f *flag.Flag) {
	value, does := flag.UnquoteUsage(f)
	fmt.Fprintf(w, "  %-21s %s\n", strings.TrimSpace("--"+f.Name+" "+value), does)
}

// ownFlags returns the flags of a command with a setup, without those of serverFlags.
func (c *command) ownFlags() *flag.FlagSet {
	own := &call{flags: newFlags()}
	c.setup(own)
	return own.flags
}

// parseFlags returns the settings on the command line, by name, if allowed accepts them, and the other
// arguments. Flags may stand before, between and after the arguments. Those that are in flags already
// are set. The command's name is for errors.
func parseFlags(flags *flag.FlagSet, args []string, command string, allowed func(name string) bool) (values map[string]string, rest []string, err error) {
	values = make(map[string]string)
	note := func(name string) func(string) error {
		return func(v string) error { values[name] = v; return nil }
	}
	flags.Func(configFlag, "", note(configFlag))
	var c Config
	for _, s := range c.settings() {
		switch {
		case !allowed(s.name):
		case s.yes:
			flags.BoolFunc(s.name, "", note(s.name))
		default:
			flags.Func(s.name, "", note(s.name))
		}
	}
	if rest, err = cmdline.Parse(flags, args); err != nil {
		return nil, nil, flagError(flags, command, err)
	}
	return values, rest, nil
}

var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -(.+)$`)
	wrongValue  = regexp.MustCompile(`^invalid (boolean )?value (".*") for (?:flag )?-([\w-]+): (.*)$`)
	noValue     = regexp.MustCompile(`^flag needs an argument: -(.+)$`)
)

// flagError says what package flag says in the words of errors of settings.
func flagError(flags *flag.FlagSet, command string, err error) error {
	if m := unknownFlag.FindStringSubmatch(err.Error()); m != nil {
		var all []string
		flags.VisitAll(func(f *flag.Flag) { all = append(all, "--"+f.Name) })
		return fmt.Errorf("--%s: there is no such flag; %s", m[1], strings.TrimSpace(orSee("--"+m[1], all)+" parley help "+command))
	}
	if m := wrongValue.FindStringSubmatch(err.Error()); m != nil {
		want := strings.TrimPrefix(m[4], "want ")
		if m[1] != "" {
			want = "true or false"
		}
		return fmt.Errorf("--%s: %s is not allowed: want %s", m[3], m[2], want)
	}
	if m := noValue.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("--%s: the value is missing; see %s", m[1], strings.TrimSpace("parley help "+command))
	}
	return err
}

// database returns the path of the store's file.
func (c *call) database() (string, error) {
	switch {
	case c.config.inMemory():
		return "", errInMemory
	case c.config.inPostgres():
		return "", wrongUsage("data is a PostgreSQL database: use its own tools, such as pg_dump and pg_restore")
	}
	return filepath.Join(c.config.Data, databaseName), nil
}

var errInMemory = wrongUsage("data in memory is the running server's alone")

// reachFor is how long a command looks for the server that uses the data directory. It may just have
// started, or be another command. Tests shorten it.
var reachFor = 5 * time.Second

// ask calls f with who answers calls about the data directory: the server that runs there, or this
// process, which then opens the store. The store is made only if make is set.
func (c *call) ask(ctx context.Context, make bool, f func(*admin.Client) error) error {
	if c.config.inMemory() {
		return errInMemory
	}
	const every = 100 * time.Millisecond
	for deadline := time.Now().Add(reachFor); ; {
		server, unreachable := admin.Connect(ctx, filepath.Join(c.config.stateDir(), admin.SocketName))
		if unreachable == nil {
			defer server.Close()
			return f(server)
		}
		err := c.askStore(ctx, make, f)
		if !errors.Is(err, sqlite.ErrInUse) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is in use by a server that does not answer commands: stop it first: %w", c.config.Data, unreachable)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// open opens the store, which is made only if make is set.
func (c *call) open(ctx context.Context, make bool, log *slog.Logger) (interface {
	history.Store
	history.Records
}, error) {
	if c.config.inPostgres() {
		_, search, err := postgres.Inspect(ctx, c.config.Data)
		if err != nil {
			return nil, err
		}
		return postgres.Open(ctx, c.config.Data, &postgres.Options{Search: search, Logger: log})
	}
	path := filepath.Join(c.config.Data, databaseName)
	if _, err := os.Stat(path); !make && errors.Is(err, os.ErrNotExist) {
		return nil, dataError(fmt.Errorf("%s: %w", c.config.Data, sqlite.ErrNoStore))
	}
	_, err := os.Stat(path + "-search") // an index that is there has to follow what changes
	store, err := sqlite.Open(path, &sqlite.Options{MinFree: c.config.MinFreeDisk, Search: err == nil, Logger: log})
	if err != nil {
		return nil, mayNot(path, err)
	}
	return store, nil
}

// askStore calls f with a client of this process, over the store.
func (c *call) askStore(ctx context.Context, make bool, f func(*admin.Client) error) error {
	log := c.config.logger(c.stderr)
	store, err := c.open(ctx, make, log)
	if err != nil {
		return err
	}
	defer store.Close()
	who, err := access.New(ctx, store, nil)
	if err != nil {
		return err
	}
	messages := history.NewLog(store, &history.LogOptions{Logger: log})
	defer messages.Close()
	var verifier *jwtauth.Verifier
	defer func() {
		if verifier != nil {
			verifier.Close()
		}
	}()
	local := admin.Local(admin.Handler(admin.Options{
		Access: who, Log: messages, Store: store,
		Tokens: func() (_ *jwtauth.Verifier, err error) {
			if verifier != nil {
				return verifier, nil
			}
			o, err := c.config.tokenOptions(log)
			if err != nil {
				return nil, err
			}
			o.Visitors = who.Keyring()
			verifier, err = jwtauth.New(o)
			return verifier, err
		},
	}))
	defer local.Close()
	return f(local)
}

// say prints a line for people, on standard error.
func (c *call) say(format string, args ...any) { fmt.Fprintf(c.stderr, format+"\n", args...) }

// printJSON prints one value on a line.
func (c *call) printJSON(v any) error { return json.NewEncoder(&printableJSON{w: c.stdout}).Encode(v) }

// table prints rows in columns, with control characters replaced.
func (c *call) table(rows ...[]string) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if cell = printable(cell); cell == "" {
				cell = "-"
			}
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// list prints items as JSON lines, or as a table.
func list[T any](c *call, asJSON bool, items []T, head []string, row func(T) []string) error {
	if asJSON {
		for _, item := range items {
			if err := c.printJSON(item); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{head}
	for _, item := range items {
		rows = append(rows, row(item))
	}
	return c.table(rows...)
}

// local is a time for people.
func local(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// jsonFlag adds the flag --json.
func (c *call) jsonFlag() *bool { return c.flags.Bool("json", false, "print JSON, for programs") }

// roomsFlag adds the flag --room, which may be repeated.
func (c *call) roomsFlag() *map[string]string {
	var rooms map[string]string
	c.flags.Func("room", "`PATTERN=RIGHTS`: the only rooms that it may use, such as order-*=rw; may be repeated", func(s string) error {
		i := strings.LastIndexByte(s, '=')
		if i < 1 {
			return errors.New("want PATTERN=RIGHTS, such as order-*=rw")
		}
		if rooms == nil {
			rooms = make(map[string]string)
		}
		rooms[s[:i]] = s[i+1:]
		return nil
	})
	return &rooms
}

// timeFlag adds a flag for a time: a date, RFC 3339, or a duration from now. Past says in which direction.
func (c *call) timeFlag(name, usage string, past bool) *time.Time {
	t := new(time.Time)
	c.flags.Func(name, usage, func(s string) error {
		if d, err := parseDuration(s); err == nil {
			if past {
				d = -d
			}
			*t = time.Now().Add(d).UTC().Truncate(time.Millisecond)
			return nil
		}
		for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
			if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
				*t = at.UTC()
				return nil
			}
		}
		return errors.New("want a time such as 2026-01-31, 2026-01-31T18:00:00Z or 24h")
	})
	return t
}

// parseDuration also accepts days, such as 30d.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+" ", "%d ", &n); err == nil && fmt.Sprint(n) == days && n > 0 && n < 100*365 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("not positive")
	}
	return d, err
}
