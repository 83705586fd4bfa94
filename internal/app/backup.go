package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/parley-go/parley/history/sqlite"
)

// storeCommand is a command that works on the store in the data directory.
type storeCommand struct {
	usage string
	file  bool // whether the argument FILE is required
	// run gets the store's path and the argument, which may be empty if it is not required.
	run func(ctx context.Context, path, file string, stdout io.Writer) error
}

const dataFlags = `
Flags, whose values are looked for as the server's are (see parley help config):

  --data DIR       the data directory; parley-data if nothing sets it
  --config FILE    TOML file with settings

`

var storeCommands = map[string]storeCommand{
	"backup": {`parley backup [flags] FILE copies the store to FILE, beside a running server.

The copy is of one moment, and is verified. It replaces a FILE that was there in one step, when
it is complete. Certificates are not in it; they lie beside the store.
` + dataFlags, true, runBackup},
	"restore": {`parley restore [flags] FILE replaces the store by the backup in FILE.

It refuses while a server uses the data directory: stop that first. The backup is verified
before it replaces anything, and the store that was there is kept under another name.
Clients see that the store was replaced, and load their rooms anew.
` + dataFlags, true, runRestore},
	"check": {`parley check [flags] [FILE] looks for damage in the store, or in a backup.

It reads all of it, beside a running server. It prints what it finds, and exits with 1 if that
is anything.
` + dataFlags, false, runCheck},
}

// main runs the command.
func (s storeCommand) main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	flags, rest, err := parseFlags(args, func(name string) bool { return name == "data" })
	if wantsHelp(err) {
		fmt.Fprint(stdout, s.usage)
		return exitOK
	}
	if err == nil && (len(rest) > 1 || len(rest) == 0 && s.file) {
		err = errors.New("want one FILE; see --help")
	}
	var c Config
	if err == nil {
		c, err = LoadConfig(environ, flags)
	}
	if err == nil && c.inMemory() {
		err = errors.New("data in memory is the running server's alone")
	}
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	err = s.run(ctx, filepath.Join(c.Data, databaseName), strings.Join(rest, ""), stdout)
	switch {
	case ctx.Err() != nil:
		return fail(stderr, exitInterrupted, errors.New("interrupted"))
	case errors.Is(err, errFindings):
		return exitFailed // the command has printed them
	case errors.Is(err, sqlite.ErrInUse):
		err = fmt.Errorf("%w: stop the server, or what else has it open", err)
	}
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	return exitOK
}

func runBackup(ctx context.Context, path, file string, stdout io.Writer) error {
	r, err := sqlite.Backup(ctx, path, file)
	if err != nil {
		return dataError(err)
	}
	fmt.Fprintf(stdout, "%s: %s\n", file, summary(r))
	return nil
}

func runRestore(ctx context.Context, path, file string, stdout io.Writer) error {
	r, replaced, err := sqlite.Restore(ctx, file, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %s\n", path, summary(r))
	if replaced != "" {
		fmt.Fprintf(stdout, "the store that was there is now %s; delete it when you do not need it\n", replaced)
	}
	return nil
}

var errFindings = errors.New("the store has faults")

func runCheck(ctx context.Context, path, file string, stdout io.Writer) error {
	path = cmp.Or(file, path)
	r, err := sqlite.Check(ctx, path)
	switch {
	case err != nil && file == "":
		return dataError(err)
	case err != nil:
		return err
	}
	for _, finding := range r.Findings {
		fmt.Fprintln(stdout, printable(finding))
	}
	if r.Damaged {
		fmt.Fprintf(stdout, "%s: damaged\n", path)
		return errFindings
	}
	fmt.Fprintf(stdout, "%s: %s\n", path, summary(r))
	if len(r.Findings) > 0 {
		return errFindings
	}
	return nil
}

// dataError adds advice to an error about the store in the data directory.
func dataError(err error) error {
	if errors.Is(err, sqlite.ErrNoStore) {
		return fmt.Errorf("%w; --data names the data directory", err)
	}
	return err
}

func summary(r sqlite.Report) string {
	text := fmt.Sprintf("%d messages in %d rooms, %d bytes", r.Messages, r.Rooms, r.Bytes)
	if len(r.Findings) > 0 {
		return text + "; with faults, see parley check"
	}
	return text + "; no fault was found"
}

// printable replaces characters that could control a terminal: strangers choose the names of rooms.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
