package app_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app/apptest"
)

// When a user has been erased, no file of the data directory has its id, nor what it wrote, nor what
// operators wrote about it. Its ban and its revocation are in force, before and after a restart.
func TestErasedUserIsInNoFile(t *testing.T) {
	const user, stays = "leaving-user-7", "staying-user-8"
	s := filled(t)
	server := s.serve()
	connect := func(token string) *apptest.Client {
		c, err := apptest.ConnectWith(t.Context(), server.url, http.Header{"Authorization": {"Bearer " + token}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ask := func(c *apptest.Client, event string, q object) (roomID string) {
		t.Helper()
		var a struct {
			RoomID string
			Error  refusal
		}
		if err := c.Call(t.Context(), event, q, &a); err != nil || a.Error.Code != "" {
			t.Fatalf("%s %v: %+v, %v", event, q, a.Error, err)
		}
		return a.RoomID
	}
	tokenOf := func(args ...string) string {
		return strings.TrimSpace(s.must("", append([]string{"token", "create"}, args...)...))
	}
	operator := connect(tokenOf("--operator", "bob"))
	tokens := map[string]string{}
	for _, id := range []string{user, stays} {
		tokens[id] = tokenOf("--user", id, "--room", "*=rw")
		c := connect(tokens[id])
		ask(c, "hello", object{"page": object{"url": "https://shop.example/page-of-" + id}})
		room := ask(c, "startConversation", object{"message": object{"text": "text-of-" + id}, "subject": "subject-of-" + id, "attributes": object{"x": "attribute-of-" + id}})
		ask(operator, "joinRoom", object{"roomId": room, "notes": true})
		ask(operator, "addNote", object{"roomId": room, "message": object{"text": "note-on-" + id}})
		ask(operator, "updateRoom", object{"roomId": room, "addLabels": []string{"label-of-" + id}})
		ask(operator, "markRead", object{"roomId": room, "seq": 1})
		ask(c, "joinRoom", object{"roomId": "lounge"})
		ask(c, "sendMessage", object{"roomId": "lounge", "message": "said-in-public-by-" + id, "clientId": "key-of-" + id})
		s.must("", "ban", "add", "--user", id, "--reason", "reason-to-ban-"+id)
		s.must("", "revoke", "--user", id)
	}
	s.must("", "erase", "--user", user, "--yes")
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	err := filepath.WalkDir(s.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, id := range []string{user, stays} {
			for rest := content; ; {
				i := bytes.Index(rest, []byte(id))
				if i < 0 {
					break
				}
				found[id] = true
				if id == user {
					t.Errorf("%s has %q", e.Name(), rest[max(0, i-40):i+len(id)])
				}
				rest = rest[i+len(id):]
			}
		}
		return err
	})
	if err != nil || !found[stays] {
		t.Errorf("of the other user: %v, %v", found, err)
	}
	server = s.serve()
	for id, token := range tokens {
		if c, err := apptest.ConnectWith(t.Context(), server.url, http.Header{"Authorization": {"Bearer " + token}}); err == nil {
			c.Close()
			t.Errorf("%s connects", id)
		}
	}
	if bans := s.must("", "ban", "list"); !strings.Contains(bans, "erased:") || strings.Contains(bans, user) || !strings.Contains(bans, stays) {
		t.Errorf("the bans are\n%s", bans)
	}
	// The ban of an erased user can be lifted as it is listed, or with the id.
	for _, by := range [][]string{nil, {"--user", user}} {
		if by == nil {
			for word := range strings.FieldsSeq(s.must("", "ban", "list")) {
				if strings.HasPrefix(word, "erased:") {
					by = []string{word}
				}
			}
		} else {
			s.must("", "ban", "add", "--user", user)
		}
		if code, _, stderr := s.run("", append([]string{"ban", "remove"}, by...)...); code != 0 {
			t.Fatalf("ban remove %v: exit code %d, %q", by, code, stderr)
		}
		if bans := s.must("", "ban", "list"); strings.Contains(bans, "erased:") || strings.Contains(bans, user) {
			t.Errorf("after ban remove %v the bans are\n%s", by, bans)
		}
		bearer(t, server.url, tokenOf("--user", user))
	}
	if code, _, stderr := s.run("", "ban", "remove", "user:"+stays, "--user", stays); code != 2 || !strings.Contains(stderr, "want one of") {
		t.Errorf("two subjects: exit code %d, %q", code, stderr)
	}
}
