//go:build unix

package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

// deskErrorEnv makes it the process in which everything fails that changes a conversation.
const deskErrorEnv = "PARLEY_HISTORY_DESK_ERROR"

func init() {
	children[ioErrorEnv] = failingChild(failWrites)
	children[deskErrorEnv] = failingChild(failDesk)
}

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

func failingChild(f func(path string) error) func(path string) int {
	return func(path string) int {
		signal.Ignore(syscall.SIGXFSZ) // the write fails instead
		if err := f(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
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
	lift, err := limitFiles(info.Size() + 50_000)
	if err != nil {
		return err
	}
	for err = error(nil); err == nil; sent++ {
		if err = send(sent); err == nil && sent > 1000 {
			return errors.New("no write failed")
		}
	}
	sent-- // the last one failed and will be sent again
	if !unavailable(err) {
		return fmt.Errorf("the error of a write that failed: %w", err)
	}
	if send(sent) == nil {
		return errors.New("a write did not fail")
	}
	slice, err := s.History(ctx, "a", history.Page{})
	if err != nil || slice.Head != int64(sent) {
		return fmt.Errorf("%d of %d there while writes fail, %v", slice.Head, sent, err)
	}

	if err := lift(); err != nil {
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

// limitFiles lets no file grow beyond a size.
func limitFiles(size int64) (lift func() error, err error) {
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		return nil, err
	}
	limited := unlimited
	set(&limited.Cur, size)
	return func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited) }, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited)
}

func unavailable(err error) bool {
	code := history.Code(err)
	return code == history.ErrUnknownOutcome.Code || code == history.ErrUnavailable.Code
}

// TestDeskIOError: each kind of a change fails in the middle of its commit, and says unavailable. The
// index of the search cannot be written either. When writes succeed again, all of them work again,
// and what was acknowledged is there.
func TestDeskIOError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	command := exec.Command(os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), deskErrorEnv+"="+path)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	must(t, sound(path))
	s := openSearch(t, path)
	state := verifyDesks(t, s)
	promises := 0
	for line := range bytes.Lines(out) {
		var p promise
		must(t, json.Unmarshal(line, &p))
		state.keeps(t, p)
		promises++
	}
	if promises < 40 {
		t.Errorf("%d commits were acknowledged", promises)
	}
	wantHits(t, s, "apfel", state.live)
}

func failDesk(path string) error {
	ctx := context.Background()
	log := new(record)
	s, err := sqlite.Open(path, &sqlite.Options{Search: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, name := range []string{deskFollower, "other"} {
		if _, err := s.FollowChanges(ctx, name); err != nil {
			return err
		}
	}
	d := &desk{store: s, room: "c_desk"}
	// failing makes some commits, and returns which kinds of them have failed.
	failing := func(commits int) (failed [8]bool, err error) {
		for range commits {
			p, err := d.step(ctx)
			if failed[d.n%8] = err != nil; err != nil {
				if !unavailable(err) {
					return failed, fmt.Errorf("commit %d: %w", d.n, err)
				}
				continue
			}
			line, err := json.Marshal(p)
			if err != nil {
				return failed, err
			}
			fmt.Printf("%s\n", line)
		}
		return failed, nil
	}
	const spare = 64 // messages that later commits edit, even if no new one can be stored
	for n := range spare {
		d.n = 8*n + 7
		if failed, err := failing(1); err != nil || failed[0] {
			return fmt.Errorf("at the beginning: %v, %w", failed, err)
		}
	}
	if failed, err := failing(8); err != nil || failed != [8]bool{} {
		return fmt.Errorf("at the beginning: %v, %w", failed, err)
	}
	release := s.HoldSnapshot(nil) // the log cannot begin anew while somebody reads
	info, err := os.Stat(path + "-wal")
	if err != nil {
		return err
	}
	lift, err := limitFiles(info.Size())
	if err != nil {
		return err
	}
	if failed, err := failing(8); err != nil || failed != [8]bool{true, true, true, true, true, true, true, true} {
		return fmt.Errorf("while writes fail: %v, %w", failed, err)
	}
	for what, try := range map[string]func() error{
		"mark": func() error { _, err := s.MarkUnread(ctx, d.room, deskOperator, 1); return err },
		"create": func() error {
			_, err := s.CreateRoom(ctx, "c_other", history.Conversation{UserID: "ann"})
			return err
		},
		"follow":   func() error { _, err := s.FollowChanges(ctx, "another"); return err },
		"unfollow": func() error { return s.Unfollow(ctx, "other") },
		"prune": func() error {
			_, err := s.Prune(ctx, history.PruneRule{Keep: 1})
			return err
		},
	} {
		if err := try(); !unavailable(err) {
			return fmt.Errorf("%s, while writes fail: %w", what, err)
		}
	}
	release()
	if err := lift(); err != nil {
		return err
	}
	if failed, err := failing(16); err != nil || failed != [8]bool{} {
		return fmt.Errorf("afterwards: %v, %w", failed, err)
	}
	if lines := log.take(); len(lines) > 2 { // that the index fails, and that it works again
		return fmt.Errorf("logged %q", lines)
	}
	return nil
}
