package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/parley-go/parley/internal/bench"
	"github.com/parley-go/parley/js"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // an external problem, such as the address or the data directory
	exitUsage  = 2 // the command line, environment or configuration file is wrong
	exitNoOne  = 3 // the server could not be reached

	exitInterrupted = 130 // by a signal, as shells report it
)

// A command is a row of the table from which dispatch, usage and help follow.
type command struct {
	name string // one word, or two
	args string // as usage shows them: "", "NAME", "[FILE]"
	does string // in one line
	doc  string // the rest of its help; may be empty
	// prints has a value of the type that --json prints: one, or one in each line.
	prints any
	lines  bool
	// settings are the names of the settings that are flags of the command, besides data and config.
	settings []string
	// setup adds the command's own flags, and returns what the command does.
	setup func(*call) func(context.Context) error
	// remote says that the command goes to a server, with the flags of serverFlags.
	remote bool
	// raw does the command if it reads its arguments itself, and needs no setup. help prints its help.
	raw  func(context.Context, *call, []string) int
	help func(io.Writer)
}

// commands is the table, in the order of the usage.
func commands() []command {
	return slices.Concat([]command{
		{name: "serve", args: "[flags]", does: "serve, at http://127.0.0.1:8080 unless told otherwise; the word may be left out", raw: serve, help: printUsage},
	}, roomCommands, deskCommands, contextCommands, operatorCommands, tokenCommands, keyCommands, banCommands, dataCommands, storeCommands, configCommands, []command{
		{name: "types", args: "[--lang ts|md|schema]", does: "print the events and their payloads", raw: printTypes,
			help: func(w io.Writer) { io.WriteString(w, typesUsage) }},
		{name: "bench", args: "[flags] URL [URL]", does: "measure a Socket.IO server, this one or another, or compare two", help: bench.PrintUsage,
			raw: func(ctx context.Context, c *call, args []string) int {
				return bench.Main(ctx, args, c.stdout, c.stderr)
			}},
		{name: "completion", args: "SHELL", does: "print a script that lets a shell complete commands: bash, zsh or fish", raw: completion, help: completionHelp},
		{name: "version", does: "print the version", raw: func(_ context.Context, c *call, _ []string) int {
			fmt.Fprintln(c.stdout, "parley", version(), runtime.Version())
			return exitOK
		}},
		{name: "help", args: "[COMMAND]", does: "print this, or what a command does", raw: help},
		{name: "help config", does: "print all settings, as markdown", raw: func(_ context.Context, c *call, _ []string) int {
			fmt.Fprint(c.stdout, Reference())
			return exitOK
		}},
		{name: "help cli", does: "print all commands, as markdown", raw: func(_ context.Context, c *call, _ []string) int {
			fmt.Fprint(c.stdout, Manual())
			return exitOK
		}},
	})
}

// find returns the command with which args begin, and the other arguments. If there is none, group is the
// word with which the names of several commands begin, if args begin with such a word.
func find(args []string) (found *command, rest []string, group []command) {
	all := commands()
	for words := min(2, len(args)); words > 0; words-- {
		name := strings.Join(args[:words], " ")
		for i := range all {
			if all[i].name == name {
				return &all[i], args[words:], nil
			}
		}
	}
	for _, c := range all {
		if first, _, two := strings.Cut(c.name, " "); two && len(args) > 0 && first == args[0] {
			group = append(group, c)
		}
	}
	return nil, args, group
}

// Main runs the command with its arguments, without the program's name, and returns the exit code.
// When ctx ends, the server shuts down gracefully, and other commands end.
func Main(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &call{environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}
	switch {
	case len(args) > 0 && strings.TrimLeft(args[0], "-") == "version":
		args = append([]string{"version"}, args[1:]...)
	case len(args) == 0 || strings.HasPrefix(args[0], "-"):
		args = append([]string{"serve"}, args...)
	}
	command, rest, group := find(args)
	switch {
	case command != nil && command.raw != nil:
		return command.raw(ctx, c, rest)
	case command != nil:
		return c.run(ctx, command, rest)
	case group == nil:
		return fail(stderr, exitUsage, noCommand("command", args[0]))
	case len(args) > 1 && isHelp(args[1]):
		printGroup(stdout, group)
		return exitOK
	case len(args) > 1 && !strings.HasPrefix(args[1], "-"):
		return fail(stderr, exitUsage, noCommand("command", args[0]+" "+args[1]))
	}
	return fail(stderr, exitUsage, fmt.Errorf("%s needs one more word; see parley help %s", args[0], args[0]))
}

// help is the command help.
func help(_ context.Context, c *call, args []string) int {
	found, rest, group := find(args)
	switch topic := strings.Join(args, " "); {
	case topic == "":
		printUsage(c.stdout)
	case found != nil && len(rest) == 0 && found.help != nil:
		found.help(c.stdout)
	case found != nil && len(rest) == 0 && found.raw != nil:
		printGroup(c.stdout, []command{*found})
	case found != nil && len(rest) == 0:
		found.print(c.stdout)
	case group != nil && len(args) == 1:
		printGroup(c.stdout, group)
	default:
		return fail(c.stderr, exitUsage, noCommand("help on", topic))
	}
	return exitOK
}

func isHelp(arg string) bool {
	return slices.Contains([]string{"-h", "-help", "--help", "help"}, arg)
}

// noCommand says that there is no such command, and which ones have a similar name.
func noCommand(what, name string) error {
	var all []string
	for _, c := range commands() {
		first, _, _ := strings.Cut(c.name, " ")
		all = append(all, c.name, first)
	}
	return fmt.Errorf("there is no %s %q; %s parley help", what, name, orSee(name, all))
}

// orSee asks whether one of the names was meant that are similar to a name.
func orSee(name string, all []string) string {
	var near []string
	for _, candidate := range all {
		if (distance(name, candidate) <= 2 || len(name) > 2 && strings.HasPrefix(candidate, name)) && !slices.Contains(near, candidate) {
			near = append(near, candidate)
		}
	}
	if near == nil {
		return "see"
	}
	return "did you mean " + strings.Join(near, ", ") + "? See"
}

// distance returns how many letters must be inserted, removed, replaced or exchanged with the next one
// to make b of a.
func distance(a, b string) int {
	var before, row []int // of the last two prefixes of a
	for j := range len(b) + 1 {
		row = append(row, j)
	}
	for i := 1; i <= len(a); i++ {
		next := []int{i}
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			next = append(next, d)
		}
		before, row = row, next
	}
	return row[len(b)]
}

// fail prints an error on one line and returns the code.
func fail(stderr io.Writer, code int, err error) int {
	fmt.Fprintln(stderr, "parley:", explain(err))
	return code
}

func wantsHelp(err error) bool { return errors.Is(err, flag.ErrHelp) }

func printUsage(w io.Writer) {
	fmt.Fprint(w, "Parley is a Socket.IO server that keeps the messages of rooms.\n\n")
	printGroup(w, commands())
	fmt.Fprint(w, "\nFlags of serve:\n\n")
	var c Config
	fmt.Fprintf(w, "  --%s FILE\n        TOML file with settings.\n", configFlag)
	for _, s := range c.settings() {
		flag := strings.TrimSpace("--" + s.name + " " + s.def)
		fmt.Fprintf(w, "  %s\n        %s\n", flag, strings.ReplaceAll(s.doc, "`", ""))
	}
}

// printGroup lists commands.
func printGroup(w io.Writer, group []command) {
	for _, c := range group {
		fmt.Fprintf(w, "  %-38s %s\n", c.line(), c.does)
	}
}

// line returns how the command is called.
func (c *command) line() string { return strings.TrimSpace("parley " + c.name + " " + c.args) }

func serve(ctx context.Context, call *call, args []string) int {
	stdout, stderr := call.stdout, call.stderr
	flags, rest, err := parseFlags(newFlags(), args, "", func(string) bool { return true })
	if wantsHelp(err) {
		printUsage(stdout)
		return exitOK
	}
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected argument %q", rest[0])
	}
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	c, err := LoadConfig(call.environ, flags)
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	if err := c.checkFiles(slog.New(slog.DiscardHandler)); err != nil { // what reads them again warns
		return fail(stderr, exitUsage, err)
	}
	// Before touching the data directory, because another server may already be running here.
	ports, err := Listen(c)
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	s, err := Open(c, c.logger(stderr))
	if err != nil {
		ports.Close()
		return fail(stderr, exitFailed, err)
	}
	if err := c.checkOpen(s.gate.access); err != nil {
		ports.Close()
		s.Shutdown()
		return fail(stderr, exitUsage, err)
	}
	fmt.Fprint(stdout, s.banner(ports))
	if err := s.Serve(ctx, ports); err != nil {
		return fail(stderr, exitFailed, err)
	}
	return exitOK
}

// explain returns the error on one line, with advice if there is any.
func explain(err error) string {
	line := strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "parley: ")
	flag := "--addr"
	switch {
	case strings.HasPrefix(line, "http-redirect: "):
		flag = "--http-redirect, or off"
	case strings.HasPrefix(line, "cluster-addr: "):
		flag = "--cluster-addr"
	case strings.HasPrefix(line, "webtransport: "):
		flag = "--addr, or leave webtransport out of --transports"
	}
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		line += "; stop what listens there, or choose another address with " + flag
	case errors.Is(err, syscall.EACCES) && errors.As(err, &op) && op.Op == "listen" && op.Net != "unix":
		line += "; ports below 1024 need a privilege: choose another address with " + flag
	}
	return line
}

// version returns the version of the source, which is that of the JavaScript client in it, and after a
// plus sign the revision, unless the binary was built from the tag of that version.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return js.Version()
	}
	return versionOf(js.Version(), info)
}

func versionOf(source string, info *debug.BuildInfo) string {
	revision := info.Main.Version // without a repository, the module's version names the revision
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			revision = s.Value[:12]
		}
	}
	switch {
	case info.Main.Version == "v"+source, revision == "", revision == "(devel)":
		return source
	}
	return source + "+" + strings.TrimPrefix(revision, "v")
}
