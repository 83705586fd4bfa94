package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/soak"
)

// deskEnv makes this test binary the process that is killed while desks are at work. It writes a line
// for each promise.
const deskEnv = "PARLEY_HISTORY_DESKS"

func init() { children[deskEnv] = deskChild }

func deskChild(path string) int {
	store, err := sqlite.Open(path, &sqlite.Options{Search: true})
	if err == nil {
		_, err = store.FollowChanges(context.Background(), deskFollower)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	var print sync.Mutex
	for n := range 6 {
		go func() {
			d := &desk{store: store, room: fmt.Sprintf("c_%d_%d_%d", os.Getpid(), time.Now().UnixMilli(), n)}
			for {
				p, err := d.step(context.Background())
				if err != nil {
					fmt.Fprintf(os.Stderr, "commit %d: %v\n", d.n, err)
					os.Exit(1)
				}
				line, _ := json.Marshal(p)
				print.Lock()
				fmt.Printf("%s\n", line) // one write, so that a kill does not tear it
				print.Unlock()
			}
		}()
	}
	select {}
}

// TestCrashOfConversations kills a process that changes conversations, their messages, notes, marks and
// records, while the search follows. After each kill, what was acknowledged is there, each commit is
// whole, and the numbers of changes are unique and ascend.
func TestCrashOfConversations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	var promises []promise
	changes := map[int64]string{}
	live := 0
	kills := soak.Times(4, 500)
	for range kills {
		newest := int64(0) // before this process
		for change := range changes {
			newest = max(newest, change)
		}
		command, lines := startChild(t, deskEnv, path)
		after := 1 + rand.IntN(150)
		for n := 1; lines.Scan(); n++ {
			if n == after {
				time.AfterFunc(rand.N(3*time.Millisecond), func() { command.Process.Kill() })
			}
			var p promise
			if !strings.HasSuffix(lines.Text(), "}") {
				continue // torn
			}
			must(t, json.Unmarshal(lines.Bytes(), &p))
			promises = append(promises, p)
			if p.Change == 0 {
				continue
			}
			if other := changes[p.Change]; other != "" || p.Change <= newest {
				t.Errorf("%s has the change %d, like %q; %d was before", p.Room, p.Change, other, newest)
			}
			changes[p.Change] = p.Room
		}
		if command.Wait(); command.ProcessState.Exited() {
			t.Fatal("the child ended by itself")
		}
		must(t, sound(path))
		store, err := sqlite.Open(path, &sqlite.Options{Search: true})
		must(t, err)
		state := verifyDesks(t, store)
		for _, p := range promises {
			state.keeps(t, p)
		}
		live = state.live
		must(t, store.Close())
		if t.Failed() {
			break
		}
	}
	t.Logf("%d kills, %d commits acknowledged", kills, len(promises))
	wantHits(t, openSearch(t, path), "apfel", live)
}

// TestPowerCut: a power cut loses what the disk has not been told to keep. With a write-ahead log that
// is synced at each commit, that is the end of the log, perhaps in the middle of a page. Wherever the
// log ends, exactly the commits that were complete are there: all of them in their order, none in part.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for !cutPower(t) {
	}
}

// cutPower returns false if the store has moved its log into the database meanwhile, as it does now and then.
func cutPower(t *testing.T) bool {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	store := openAt(t, path)
	var synchronous int
	must(t, store.QueryRow("PRAGMA synchronous", &synchronous))
	if synchronous != 2 {
		t.Errorf("PRAGMA synchronous is %d; a commit must be on the disk before it is acknowledged", synchronous)
	}
	_, err := store.FollowChanges(t.Context(), deskFollower)
	must(t, err)
	must(t, store.Checkpoint())
	before, err := os.ReadFile(path)
	must(t, err)

	type acknowledged struct {
		end int64 // of the log
		promise
	}
	var all []acknowledged
	d := &desk{store: store, room: "c_desk"}
	for range 60 {
		p, err := d.step(t.Context())
		must(t, err)
		info, err := os.Stat(path + "-wal")
		must(t, err)
		all = append(all, acknowledged{info.Size(), p})
	}
	log, err := os.ReadFile(path + "-wal")
	must(t, err)
	now, err := os.ReadFile(path)
	must(t, err)
	if string(now) != string(before) {
		return false
	}

	cut := func(at int64, junk int) {
		copied := filepath.Join(t.TempDir(), "history.db")
		tail := make([]byte, junk) // what the disk had there before
		for i := range tail {
			tail[i] = byte(rand.Uint32())
		}
		must(t, os.WriteFile(copied, before, 0o600), os.WriteFile(copied+"-wal", append(log[:at:at], tail...), 0o600))
		s := openAt(t, copied)
		state := verifyDesks(t, s)
		for _, a := range all {
			if a.end <= at {
				state.keeps(t, a.promise)
			} else if a.Seq != 0 && a.Seq == a.Number && state.messages[deskKey(a.Room, a.Seq)].Seq != 0 {
				t.Errorf("%+v is there, and its commit was not complete", a.promise)
			}
		}
		must(t, s.Close(), sound(copied))
		if t.Failed() {
			t.Fatalf("cut at %d of %d, with %d bytes of junk", at, len(log), junk)
		}
	}
	for _, a := range all {
		cut(a.end, 0)
	}
	for range soak.Times(60, 2000) {
		at := rand.Int64N(int64(len(log)) + 1)
		cut(at, rand.IntN(2)*rand.IntN(9000))
	}
	return true
}
