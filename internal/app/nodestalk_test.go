package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app/apptest"
)

// expect waits for an event for which ok returns true.
func expect[T any](t *testing.T, p *apptest.Peer, event string, ok func(T) bool) T {
	t.Helper()
	for {
		var v T
		if p.Expect(event, &v); ok(v) {
			return v
		}
	}
}

// Two people at two servers are in one conversation.
func TestNodesConverse(t *testing.T) {
	n := newNodes(t)
	a, b := n.start("a"), n.start("b")
	ann, bob := (&instance{url: a.url}).dial(t), (&instance{url: b.url}).dial(t)
	join(t, ann, object{"roomId": "r", "userId": "ann"})
	first := send(t, ann, object{"roomId": "r", "message": "before"})
	page := join(t, bob, object{"roomId": "r", "userId": "bob"})
	if len(page.Messages) != 1 || page.Messages[0].ID != first.ID {
		t.Errorf("the history at the other server is %+v", page.Messages)
	}
	if page.Count != 2 {
		t.Errorf("%d people are in the room, with ann at the other server", page.Count)
	}
	expect(t, ann, "presence", func(p presence) bool { return p.Type == "join" && p.Member.UserID == "bob" && p.Count == 2 })

	sent := send(t, ann, object{"roomId": "r", "message": "hello"})
	got := expect(t, bob, "newMessage", func(m message) bool { return m.ID == sent.ID })
	if got != sent || got.Seq != 2 {
		t.Errorf("bob got %+v, not %+v", got, sent)
	}
	ann.Ask("editMessage", object{"roomId": "r", "seq": sent.Seq, "message": "Hello!"}, &struct{}{})
	expect(t, bob, "messageChanged", func(m message) bool { return m.Seq == sent.Seq && m.Message == "Hello!" })
	answered := send(t, bob, object{"roomId": "r", "message": "hi"})
	expect(t, ann, "newMessage", func(m message) bool { return m == answered })

	ann.Send("typing", object{"roomId": "r", "isTyping": true})
	expect(t, bob, "typing", func(v struct{ UserID string }) bool { return v.UserID == "ann" })
	a.kill()
	expect(t, bob, "presence", func(p presence) bool { return p.Type == "leave" && p.Member.UserID == "ann" && p.Count == 1 })
}

// Whoever signs in at one server is signed in at all, until one of them hears of the revocation.
func TestNodesAccess(t *testing.T) {
	n := newNodes(t, "--visitors")
	n.run("a", password, "operator", "add", "ann", "--password-stdin") // no server runs
	a, b := n.start("a"), n.start("b")
	atA, atB := n.at(a.url), n.at(b.url)
	cookie := atA.signIn("ann")
	operator := atB.mustConnect("polling", withCookie(cookie))
	operator.mustAsk("watchRooms", object{})

	status, answer, _ := atA.request("POST", "/api/visitors", nil, "{}")
	var visitor struct{ Token string }
	if json.Unmarshal(answer, &visitor); status != http.StatusCreated {
		t.Fatalf("a visitor's token: %d %s", status, answer)
	}
	guest := atA.mustConnect("websocket", withToken(visitor.Token))
	guest.mustAsk("startConversation", object{"message": "is anybody there?"})
	if row, ok := operator.await(`42["roomChanged",`); !ok || !strings.Contains(row, `"waitingSince":`) {
		t.Errorf("the operator at the other server gets %s", row)
	}
	n.run("a", "", "operator", "disable", "ann") // through the socket of a
	waitFor(t, "that the operator is disconnected", func() bool {
		select {
		case <-operator.done:
			return true
		default:
			return false
		}
	})
	if _, err := atB.connect("websocket", withCookie(cookie)); err == nil {
		t.Error("the session of a disabled operator counts at the other server")
	}
}

// A server does not start under a name that is taken, or beside another one in its directory.
func TestNodesKeepApart(t *testing.T) {
	n := newNodes(t)
	n.start("a")
	for where, want := range map[string]string{
		"elsewhere": `the name "a" is taken by another server of the cluster`,
		"a":         "another server uses ",
	} {
		cmd := n.server("a")
		cmd.Args[len(cmd.Args)-1] = n.dir + "/" + where
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("in the directory %s: %v\n%s", where, cmd.ProcessState, out)
		}
	}
}
