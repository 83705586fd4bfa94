package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/parley-go/parley/internal/bench"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // an external problem, such as the address or the data directory
	exitUsage  = 2 // the command line, environment or configuration file is wrong

	exitInterrupted = 130 // by a signal, as shells report it
)

const usage = `Parley is a Socket.IO server that keeps the messages of rooms.

  parley [serve] [flags]   serve, at http://127.0.0.1:8080 unless told otherwise
  parley backup FILE       copy the store to a file, beside a running server
  parley restore FILE      replace the store by a backup; the server has to be stopped
  parley check [FILE]      look for damage in the store, or in a backup
  parley bench [flags] URL measure a Socket.IO server, this one or another
  parley types             print the events and their payloads, as TypeScript or otherwise
  parley version           print the version
  parley help [COMMAND]    print this, or what a command does
  parley help config       print all settings, as markdown

`

// Main runs the command with its arguments, without the program's name, and returns the exit code.
// When ctx ends, the server shuts down gracefully.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 && (!strings.HasPrefix(args[0], "-") || strings.TrimLeft(args[0], "-") == "version") {
		command, args = strings.TrimLeft(args[0], "-"), args[1:]
	}
	if s, ok := storeCommands[command]; ok {
		return s.main(ctx, args, environ, stdout, stderr)
	}
	switch command {
	case "serve":
		return serve(ctx, args, environ, stdout, stderr)
	case "bench":
		return bench.Main(ctx, args, stdout, stderr)
	case "types":
		return printTypes(args, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, "parley", version(), runtime.Version())
		return exitOK
	case "help":
		topic := strings.Join(args, " ")
		switch s, ok := storeCommands[topic]; {
		case ok:
			fmt.Fprint(stdout, s.usage)
		case topic == "config":
			fmt.Fprint(stdout, Reference())
		case topic == "bench":
			bench.PrintUsage(stdout)
		case topic == "types":
			fmt.Fprint(stdout, typesUsage)
		case topic == "", topic == "serve":
			printUsage(stdout)
		default:
			return fail(stderr, exitUsage, fmt.Errorf("there is no help on %q; see parley help", topic))
		}
		return exitOK
	}
	return fail(stderr, exitUsage, fmt.Errorf("there is no command %q; see parley help", command))
}

// fail prints an error on one line and returns the code.
func fail(stderr io.Writer, code int, err error) int {
	fmt.Fprintln(stderr, "parley:", explain(err))
	return code
}

func wantsHelp(err error) bool { return errors.Is(err, flag.ErrHelp) }

func printUsage(w io.Writer) {
	fmt.Fprint(w, usage, "Flags:\n\n")
	var c Config
	fmt.Fprintf(w, "  --%s FILE\n        TOML file with settings.\n", configFlag)
	for _, s := range c.settings() {
		flag := strings.TrimSpace("--" + s.name + " " + s.def)
		fmt.Fprintf(w, "  %s\n        %s\n", flag, strings.ReplaceAll(s.doc, "`", ""))
	}
}

// parseFlags returns the settings on the command line, by name, if allowed accepts them, and the
// other arguments. Flags may stand before, between and after the arguments.
func parseFlags(args []string, allowed func(name string) bool) (values map[string]string, rest []string, err error) {
	values = make(map[string]string)
	flags := flag.NewFlagSet("parley", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
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
	for {
		if err := flags.Parse(args); err != nil {
			return nil, nil, err
		}
		parsed := len(args) - flags.NArg()
		if flags.NArg() == 0 || parsed > 0 && args[parsed-1] == "--" {
			return values, append(rest, flags.Args()...), nil
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}

func serve(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	flags, rest, err := parseFlags(args, func(string) bool { return true })
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
	c, err := LoadConfig(environ, flags)
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	// Before touching the data directory, because another server may already be running here.
	ports, err := Listen(c)
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	log := c.logger(stderr)
	s, err := Open(c, log)
	if err != nil {
		ports.Close()
		return fail(stderr, exitFailed, err)
	}
	if !c.InsecureOpen {
		if err := s.gate.access.CheckAddresses(c.Addr); err != nil {
			ports.Close()
			s.Shutdown()
			return fail(stderr, exitUsage, err)
		}
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

// version returns the version of the module, or the revision from which it was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if v == "" {
		return "(devel)"
	}
	return v
}
