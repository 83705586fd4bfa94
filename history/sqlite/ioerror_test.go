//go:build unix

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// ioErrorEnv makes this test binary the process whose writes fail.
const ioErrorEnv = "PARLEY_HISTORY_IO_ERROR"

func init() { children[ioErrorEnv] = ioErrorChild }

// TestIOError: writes fail in the middle of commits. What was acknowledged stays, and when writes
// succeed again, the store works again. The writes fail because of a limit on the size of files,
// which applies to a whole process. So the test uses a separate process.
func TestIOError(t *testing.T) {
	command := exec.Command(os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), ioErrorEnv+"="+filepath.Join(t.TempDir(), "history.db"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func ioErrorChild(path string) int {
	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	if err := failWrites(path); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func failWrites(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(path, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	send := func(n int) error {
		_, err := s.Append(ctx, []history.Draft{{
			RoomID: "a", UserID: "ann", ClientID: fmt.Sprint(n), Message: []byte(`"` + strings.Repeat("x", 3000) + `"`),
		}})
		return err
	}
	sent := 0
	for ; sent < 20; sent++ {
		if err := send(sent); err != nil {
			return err
		}
	}
	// A reader's connection stays open. Closing the last connection would free space in the log.
	if _, err := s.History(ctx, "a", history.Page{}); err != nil {
		return err
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		return err
	}
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		return err
	}
	limited := unlimited
	set(&limited.Cur, info.Size()+50_000)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		return err
	}
	for err = error(nil); err == nil; sent++ {
		if err = send(sent); err == nil && sent > 1000 {
			return errors.New("no write failed")
		}
	}
	sent-- // the last one failed and will be sent again
	if code := history.Code(err); code != history.ErrUnknownOutcome.Code && code != history.ErrUnavailable.Code {
		return fmt.Errorf("the error of a write that failed: %w", err)
	}
	if send(sent) == nil {
		return errors.New("a write did not fail")
	}
	slice, err := s.History(ctx, "a", history.Page{})
	if err != nil || slice.Head != int64(sent) {
		return fmt.Errorf("%d of %d there while writes fail, %v", slice.Head, sent, err)
	}

	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		return err
	}
	for end := sent + 20; sent < end; sent++ {
		if err := send(sent); err != nil {
			return fmt.Errorf("after writes succeed again: %w", err)
		}
	}
	slice, err = s.History(ctx, "a", history.Page{Limit: history.Limit{Messages: history.MaxLimit}})
	if err != nil || len(slice.Messages) != sent || slice.Head != int64(sent) {
		return fmt.Errorf("%d of %d there afterwards, %v", len(slice.Messages), sent, err)
	}
	return sound(path)
}

// set assigns to a number whose type differs between systems.
func set[T int64 | uint64](to *T, n int64) { *to = T(n) }
