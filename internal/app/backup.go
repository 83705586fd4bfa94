package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/parley-go/parley/history/sqlite"
)

// storeCommands work on the file of the store.
var storeCommands = []command{
	{name: "backup", args: "FILE", does: "copy the store to a file, beside a running server",
		doc: `The copy is of one moment, and is verified. It replaces a FILE that was there in one step, when
it is complete. Operators, keys and bans are in it. Certificates are not; they lie beside the store.`,
		setup: onStore(runBackup)},
	{name: "restore", args: "FILE", does: "replace the store by a backup; the server has to be stopped",
		doc: `It refuses while a server uses the data directory: stop that first. The backup is verified
before it replaces anything, and the store that was there is kept under another name.
Clients see that the store was replaced, and load their rooms anew.`,
		setup: onStore(runRestore)},
	{name: "check", args: "[FILE]", does: "look for damage in the store, or in a backup",
		doc: `It reads all of it, beside a running server. It prints what it finds, and exits with 1 if that
is anything.`,
		setup: onStore(runCheck)},
}

// onStore returns the setup of a command that gets the store's path and the argument, which may be empty
// if it is not required.
func onStore(run func(ctx context.Context, path, file string, stdout io.Writer) error) func(*call) func(context.Context) error {
	return func(c *call) func(context.Context) error {
		return func(ctx context.Context) error {
			path, err := c.database()
			if err != nil {
				return err
			}
			return run(ctx, path, strings.Join(c.args, ""), c.stdout)
		}
	}
}

func runBackup(ctx context.Context, path, file string, stdout io.Writer) error {
	if err := inDirectory(file); err != nil {
		return err
	}
	r, err := sqlite.Backup(ctx, path, file)
	if err != nil {
		return dataError(mayNot(path, err))
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
		return dataError(mayNot(path, err))
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

// mayNot explains an error about the store at path if this process may not use its files: SQLite only gives
// a number.
func mayNot(path string, err error) error {
	if errors.Is(err, sqlite.ErrInUse) || errors.Is(err, sqlite.ErrNoStore) {
		return err
	}
	var of string
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-lock"} {
		f, e := os.OpenFile(name, os.O_RDWR, 0)
		if e == nil {
			f.Close()
		} else if of == "" && errors.Is(e, fs.ErrPermission) {
			of = name
		}
	}
	if dir := filepath.Dir(path); of == "" {
		f, e := os.CreateTemp(dir, ".may-*")
		if e == nil {
			f.Close()
			os.Remove(f.Name())
			return err
		}
		if !errors.Is(e, fs.ErrPermission) && !errors.Is(e, syscall.EROFS) {
			return err
		}
		of = dir
	}
	return fmt.Errorf("%w: you may not write %s: run this as the user who owns it", err, of)
}

// inDirectory returns an error if the directory of a file to be written does not exist.
func inDirectory(file string) error {
	dir := filepath.Dir(file)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no directory %s", file, dir)
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
