// Command desk writes into the data directory of a server that does not run, for tests of closed
// servers. "desk DATA operator ID NAME PASSWORD" adds an operator, "desk DATA ban USER" bans a user.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/access"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("too few arguments")
	}
	store, err := sqlite.Open(filepath.Join(args[0], "parley.db"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	a, err := access.New(ctx, store, nil)
	if err != nil {
		return err
	}
	switch what, rest := args[1], args[2:]; {
	case what == "operator" && len(rest) == 3:
		_, err = a.AddOperator(ctx, access.Operator{ID: rest[0], Name: rest[1], Role: auth.Operator}, access.Secret(rest[2]))
	case what == "ban" && len(rest) == 1:
		_, err = a.Ban(ctx, access.Ban{Subject: "user:" + rest[0]})
	default:
		err = fmt.Errorf("unknown: %q", args[1:])
	}
	return err
}
