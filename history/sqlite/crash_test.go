package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/soak"
)

// crashEnv makes this test binary the process that is killed. It appends to the store at that path
// and writes a line for each acknowledged message.
const crashEnv = "PARLEY_HISTORY_CRASH"

const (
	crashRooms   = 3
	crashSenders = 16
)

func crashChild(path string) int {
	store, err := sqlite.Open(path, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log := history.NewLog(store, nil)
	fmt.Println("ready")
	var print sync.Mutex
	for sender := range crashSenders {
		go func() {
			for n := 0; ; n++ {
				d := history.Draft{
					RoomID:   fmt.Sprint("room", (sender+n)%crashRooms),
					UserID:   fmt.Sprint("user", sender),
					ClientID: fmt.Sprint(os.Getpid(), "-", n),
					Message:  []byte(fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", rand.IntN(500)))),
				}
				r, err := log.Append(context.Background(), d)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				// One write per line, so that a kill does not tear it.
				print.Lock()
				fmt.Fprintf(os.Stdout, "%s %d %s\n", r.Message.RoomID, r.Message.Seq, r.Message.ID)
				print.Unlock()
			}
		}()
	}
	select {}
}

// TestCrash repeatedly kills a process that appends. Afterwards, every acknowledged message is
// there, once and in order.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	acknowledged := make(map[string]string) // message id → room and seq
	kills := soak.Times(10, 1000)
	for range kills {
		runAndKill(t, path, acknowledged)
	}
	t.Logf("%d kills, %d messages acknowledged", kills, len(acknowledged))

	store := openAt(t, path)
	if err := sound(path); err != nil {
		t.Error(err)
	}
	clients := make(map[string]bool)
	for n := range crashRooms {
		room := fmt.Sprint("room", n)
		var pos int64
		for {
			slice, err := store.Changes(context.Background(), room, pos, history.Limit{Messages: history.MaxLimit})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range slice.Messages {
				key := m.RoomID + m.UserID + m.ClientID
				if m.Seq != pos+1 || clients[key] {
					t.Fatalf("%d follows %d, or %s is there twice", m.Seq, pos, key)
				}
				if at, ok := acknowledged[m.ID]; ok && at != fmt.Sprint(room, " ", m.Seq) {
					t.Errorf("acknowledged as %s: %+v", at, m)
				}
				delete(acknowledged, m.ID)
				pos, clients[key] = m.Seq, true
			}
			if slice.UpTo == slice.Head {
				break
			}
		}
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged messages are lost", len(acknowledged))
	}
}

func runAndKill(t *testing.T, path string, acknowledged map[string]string) {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), crashEnv+"="+path)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Errorf("the child did not start: %q", lines.Text())
	}
	if _, err := sqlite.Open(path, nil); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("opened while another process has it: %v", err)
	}
	after := 1 + rand.IntN(200) // acknowledgements, plus up to the time of a commit
	for n := 1; lines.Scan(); n++ {
		if n == after {
			time.AfterFunc(rand.N(3*time.Millisecond), func() { command.Process.Kill() })
		}
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 {
			acknowledged[fields[2]] = fields[0] + " " + fields[1]
		}
	}
	if command.Wait(); command.ProcessState.Exited() {
		t.Error("the child ended by itself")
	}
}
