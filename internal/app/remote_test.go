package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
)

// messages returns the lines of JSON.
func (l *lines) messages(t *testing.T) (all []message) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

// begin runs a command until the test stops it, and returns how it has ended then.
func (s *shell) begin(args ...string) (out *lines, stop func() int) {
	out = new(lines)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan int, 1)
	environ := append([]string{"PARLEY_DATA=" + s.data}, s.environ...)
	go func() { ended <- app.Main(ctx, args, environ, strings.NewReader(""), out, os.Stderr) }()
	stop = func() int { cancel(); return <-ended }
	s.t.Cleanup(func() { cancel() })
	return out, stop
}

// What cannot be done says why on standard error, with the exit code that scripts expect, and never shows
// a token.
func TestRemoteFailures(t *testing.T) {
	s := filled(t)
	server := s.serve()
	s.must("correct horse battery", "operator", "add", "ann", "--password-stdin") // closes it
	token := strings.TrimSpace(s.must("", "token", "create", "--user", "u7"))
	file := configFile(t, token)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := "http://" + l.Addr().String()
	l.Close()
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"tail", "lounge", "--url", nowhere}, 3, "start one with parley serve, or name another one with --url"},
		{[]string{"send", "lounge", "hi", "--url", nowhere}, 3, nowhere},
		{[]string{"send", "lounge", "hi", "--url", server.url + "/elsewhere"}, 3, "no Socket.IO at this address"},
		{[]string{"history", "lounge", "--url", server.url}, 1, "(bad_token)"},
		{[]string{"history", "lounge", "--url", server.url, "--token", token + "x"}, 1, "(bad_token)"},
		{[]string{"history", "lounge", "--url", server.url, "--token-file", file}, 1, "(forbidden)"},
		{[]string{"tail", "--all", "--url", server.url, "--token-file", file}, 1, "(forbidden)"},
		{[]string{"send", "c_1", strings.Repeat("x", 70_000), "--url", server.url, "--token-file", file}, 1, "(too_large)"},
		{[]string{"send", "c_1", "hi", "--user", "u8", "--url", server.url, "--token-file", file}, 1, "(identity_mismatch)"},
		{[]string{"history", "a\nb"}, 1, "(bad_room)"},
		{[]string{"tail"}, 2, "--all"},
		{[]string{"tail", "r", "--all"}, 2, "--all"},
		{[]string{"tail", "--all", "--notes"}, 2, "--notes"},
		{[]string{"send"}, 2, "parley send ROOM [MESSAGE]"},
		{[]string{"send", "r", "a", "b"}, 2, "parley send ROOM [MESSAGE]"},
		{[]string{"send", "r", "{", "--json"}, 2, "not JSON"},
		{[]string{"histroy", "r"}, 2, "did you mean history?"},
		{[]string{"tail", "r", "--sicne", "1h"}, 2, "did you mean --since?"},
		{[]string{"rooms", "--context", "shop"}, 2, "parley context list"},
		{[]string{"rooms", "--context", "shop", "--url", server.url}, 2, "contradict"},
		{[]string{"rooms", "--token", "a", "--token-file", "b"}, 2, "contradict"},
		{[]string{"rooms", "--url", server.url, "--token-file", filepath.Join(s.data, "none")}, 2, "token-file"},
		{[]string{"rooms", "--url", "http://ann:secret@127.0.0.1"}, 1, "malformed"},
		{[]string{"chat", "r"}, 2, "needs a terminal"},
	} {
		code, stdout, stderr := s.run("", test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%.120q: exit code %d, output %q, errors %q", test.args, code, stdout, stderr)
		}
		if strings.Contains(stderr, token) || strings.Contains(stderr, "secret@") {
			t.Errorf("%.60q shows the token: %q", test.args, stderr)
		}
	}
}

// On the machine itself, a closed server lets its owner do everything, without a token. Elsewhere a token says
// who somebody is, and a program's key lets it be anybody.
func TestWhoRemoteCommandsAre(t *testing.T) {
	s := filled(t)
	server := s.serve()
	s.must("correct horse battery", "operator", "add", "ann", "--password-stdin")
	key := strings.TrimSpace(s.must("", "keys", "add", "bot"))
	user := strings.TrimSpace(s.must("", "token", "create", "--user", "u7"))
	author := func(environ []string, args ...string) (who message) {
		t.Helper()
		s.environ = environ
		if err := json.Unmarshal([]byte(s.must("", append(args, "--json")...)), &who); err != nil {
			t.Fatal(err)
		}
		return who
	}
	s.environ = nil
	if got := author(nil, "send", "lounge", "1", "--user", "u9"); got.UserID != "u9" || got.OperatorID != "" {
		t.Errorf("over the socket as a user: %+v", got)
	}
	if got := author(nil, "send", "c_1", "1", "--as-operator", "ann"); got.OperatorID != "ann" || got.UserID != "u7" {
		t.Errorf("over the socket as an operator: %+v", got)
	}
	at := "PARLEY_URL=" + server.url
	if got := author([]string{at, "PARLEY_TOKEN=" + user}, "send", "c_1", "1"); got.UserID != "u7" {
		t.Errorf("with a user's token: %+v", got)
	}
	if got := author([]string{at, "PARLEY_TOKEN_FILE=" + configFile(t, key)}, "send", "lounge", "1", "--as-operator", "bob"); got.OperatorID != "bob" {
		t.Errorf("with a program's key: %+v", got)
	}
	if got := author([]string{at, "PARLEY_TOKEN=" + key}, "send", "lounge", "1"); got.OperatorID != "bot" {
		t.Errorf("as a program: %+v", got)
	}
}

// A context has a server with its token, in a file that only its owner can read. Its token goes nowhere else.
func TestContexts(t *testing.T) {
	s := filled(t)
	server := s.serve()
	s.must("correct horse battery", "operator", "add", "ann", "--password-stdin")
	key := s.must("", "keys", "add", "bot")
	config := t.TempDir()
	other := filled(t) // an own data directory, without a server
	other.environ = []string{"XDG_CONFIG_HOME=" + config}
	other.must("", "context", "add", "shop", "--url", server.url, "--token-file", configFile(t, key))
	info, err := os.Stat(filepath.Join(config, "parley", "contexts.toml"))
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	other.must("", "history", "lounge", "--context", "shop")
	if code, _, _ := other.run("", "history", "lounge", "--timeout", "5s", "--url", server.url); code != 1 {
		t.Errorf("the token of a context goes with another --url: exit code %d", code)
	}
	other.must("", "context", "use", "shop")
	other.must("", "history", "lounge")
	if code, _, stderr := other.run("", "history", "lounge", "--url", server.url); code != 1 || !strings.Contains(stderr, "bad_token") {
		t.Errorf("the token of the context in use goes with a --url: exit code %d, %q", code, stderr)
	}
	other.environ = append(other.environ, "PARLEY_URL="+server.url)
	if code, _, _ := other.run("", "history", "lounge"); code != 1 {
		t.Errorf("the token of the context in use goes with PARLEY_URL: exit code %d", code)
	}
	other.environ = append(other.environ, "PARLEY_CONTEXT=shop")
	other.must("", "history", "lounge")
	other.environ = other.environ[:1]
	if list := other.must("", "context", "list"); !strings.Contains(list, "shop") || !strings.Contains(list, "yes") {
		t.Errorf("the contexts: %s", list)
	}
	if code, _, _ := other.run("", "context", "use", "shp"); code != 2 {
		t.Errorf("an unknown context: exit code %d", code)
	}
	other.must("", "context", "remove", "shop")
	if list := other.must("", "context", "list", "--json"); list != "" {
		t.Errorf("the contexts: %s", list)
	}
}

// What strangers write is one line for people, without control characters, and one line of JSON, whatever it
// is.
func TestPrintedMessages(t *testing.T) {
	s := filled(t)
	i := s.serveOpen()
	p := i.dial(t)
	join(t, p, object{"roomId": "odd\u202e", "userId": "\u202eu"})
	huge := strings.Repeat("x", 60_000)
	sent := []json.RawMessage{
		json.RawMessage(`"\u001b[2J\u0007 two\nlines"`), json.RawMessage(`"half \ud83d"`), json.RawMessage(`{"text":"with\u202e text","files":[{"name":"a.png"}]}`),
		json.RawMessage(`"` + huge + `"`), json.RawMessage(`[1,{"a":null}]`), json.RawMessage(`null`), json.RawMessage(`"\u2028 \u0000"`),
		json.RawMessage(`{"text":7}`), json.RawMessage(`"😀"`),
	}
	for _, m := range sent {
		send(t, p, object{"roomId": "odd\u202e", "message": m})
	}
	binary, err := client.Dial(t.Context(), i.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, request := range []struct {
		event string
		arg   object
	}{{"joinRoom", object{"roomId": "odd\u202e"}}, {"sendMessage", object{"roomId": "odd\u202e", "message": []byte{0, 1, 0xff}}}} {
		if reply, err := binary.EmitWithAck(t.Context(), request.event, request.arg); err != nil || reply.Err() != nil {
			t.Fatal(err, reply.Err())
		}
	}
	waitForMessages := len(sent) + 1
	for _, command := range [][]string{{"tail", "--count", fmt.Sprint(waitForMessages), "--limit", "100"}, {"history"}} {
		args := append(command, "odd\u202e")
		text := s.must("", append(args, "--json")...)
		strict(t, command[0], []byte(text))
		n := 0
		for line := range strings.Lines(text) {
			n++
			var m message
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Seq != int64(n) || m.RoomID != "odd\u202e" {
				t.Errorf("%s: line %d is %.100q: %v", command[0], n, line, err)
			}
		}
		people := s.must("", args...)
		if n != waitForMessages || strings.Count(people, "\n") != n {
			t.Errorf("%s: %d lines of JSON, %d for people", command[0], n, strings.Count(people, "\n"))
		}
		for _, out := range []string{text, people} {
			if strings.ContainsAny(out, "\x1b\a\x00\u202e\u2028") {
				t.Errorf("%s prints control characters: %.300q", command[0], out)
			}
		}
		for _, want := range []string{`\x1b[2J\a two\nlines`, `with\u202e text [a.png]`, huge, "\\u202eu: ", `[1,{"a":null}]`, "😀"} {
			if !strings.Contains(people, want) {
				t.Errorf("%s lacks %.50q: %.300q", command[0], want, people)
			}
		}
	}
}

// Tail --all has each message of all conversations once, through restarts of itself and of its connection,
// and more conversations than a client may join.
func TestTailAll(t *testing.T) {
	s := filled(t)
	i := s.serveOpen()
	state := filepath.Join(t.TempDir(), "state")
	out, stop := s.begin("tail", "--all", "--json", "--state", state)
	const users = 150
	visitors, rooms := make([]*apptest.Peer, users), make([]string, users)
	waitFor(t, "the state", func() bool { // only then is it certain that it has begun
		operator := i.dial(t)
		join(t, operator, object{"roomId": "c_1", "operatorId": "ann"})
		send(t, operator, object{"roomId": "c_1", "message": "are you there?"})
		operator.Close()
		return strings.Contains(out.String(), "are you there?")
	})
	said := func(printed ...fmt.Stringer) (n int) { // by visitors
		for _, p := range printed {
			text := p.String()
			n += strings.Count(text, "\n") - strings.Count(text, `"operatorId"`)
		}
		return n
	}
	before := said(out)
	for n := range users {
		c, err := apptest.ConnectAs(t.Context(), i.url, fmt.Sprintf(`{"userId":"v%d"}`, n))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		var started struct{ RoomID string }
		if err := c.Call(t.Context(), "startConversation", object{"message": "0"}, &started); err != nil || started.RoomID == "" {
			t.Fatalf("%+v, %v", started, err)
		}
		visitors[n], rooms[n] = &apptest.Peer{Client: c}, started.RoomID
		if err := c.Call(t.Context(), "joinRoom", object{"roomId": started.RoomID}, new(answer)); err != nil {
			t.Fatal(err)
		}
	}
	say := func(text string) {
		for n, v := range visitors {
			if err := v.Call(t.Context(), "sendMessage", object{"roomId": rooms[n], "message": text}, new(message)); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("1")
	waitFor(t, "two messages of each conversation", func() bool { return said(out) >= before+2*users })
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	say("2") // while nobody looks
	again, stop := s.begin("tail", "--all", "--json", "--state", state)
	say("3")
	waitFor(t, "what was missed, and what came", func() bool { return said(out, again) >= before+4*users })
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	have := map[string][]any{}
	for _, m := range append(out.messages(t), again.messages(t)...) {
		if m.OperatorID == "" {
			have[m.RoomID] = append(have[m.RoomID], m.Message)
		}
	}
	for _, room := range rooms {
		if fmt.Sprint(have[room]) != "[0 1 2 3]" {
			t.Errorf("%s: %v", room, have[room])
		}
	}
	seen := map[string]bool{}
	for _, m := range append(out.messages(t), again.messages(t)...) {
		if seen[m.ID] {
			t.Errorf("%s#%d comes twice", m.RoomID, m.Seq)
		}
		seen[m.ID] = true
	}
}

// Notes come without a gap, too, for operators who ask for them.
func TestTailNotes(t *testing.T) {
	s := filled(t)
	s.serveOpen()
	state := filepath.Join(t.TempDir(), "state")
	out, stop := s.begin("tail", "c_1", "--notes", "--json", "--state", state)
	waitFor(t, "the messages", func() bool { return strings.Count(out.String(), "\n") == 2 })
	s.must("", "note", "c_1", "first")
	waitFor(t, "the first note", func() bool { return strings.Contains(out.String(), `"note":true`) })
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.must("", "note", "c_1", "second")
	s.must("", "send", "c_1", "third")
	text := s.must("", "tail", "c_1", "--notes", "--json", "--state", state, "--count", "2")
	if strings.Count(text, "\n") != 2 || strings.Contains(text, "first") || !strings.Contains(text, "second") || !strings.Contains(text, "third") {
		t.Errorf("the second run: %s", text)
	}
	if text := s.must("", "history", "c_1", "--notes"); !strings.Contains(text, "(note): first") {
		t.Errorf("the notes: %s", text)
	}
}

// Tail begins where it is told, and goes on there with the next run.
func TestTailBegins(t *testing.T) {
	s := filled(t)
	i := s.serveOpen()
	p := i.dial(t)
	join(t, p, object{"roomId": "r", "userId": "u"})
	for n := range 30 {
		send(t, p, object{"roomId": "r", "message": n})
	}
	var edited message
	p.Ask("editMessage", object{"roomId": "r", "seq": 3, "message": "edited"}, &edited)
	var page answer
	p.Ask("history", object{"roomId": "r", "limit": 1, "around": 20}, &page)
	since := page.Messages[0].Timestamp
	seqs := func(args ...string) (all []int64) {
		t.Helper()
		out := new(lines)
		out.text.WriteString(s.must("", append([]string{"tail", "r", "--json"}, args...)...))
		for _, m := range out.messages(t) {
			all = append(all, m.Seq)
		}
		return all
	}
	state := filepath.Join(t.TempDir(), "state")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--limit", "3", "--count", "3"}, "[29 30 3]"},
		{[]string{"--since", "2000-01-01", "--count", "2"}, "[1 2]"},
		{[]string{"--limit", "5", "--state", state, "--count", "2"}, "[27 28]"},
		{[]string{"--limit", "5", "--state", state, "--count", "3"}, "[29 30 3]"},
	} {
		if got := seqs(test.args...); fmt.Sprint(got) != test.want {
			t.Errorf("%v: %v, want %s", test.args, got, test.want)
		}
	}
	if got := seqs("--since", since, "--count", "1"); len(got) != 1 || got[0] > 20 {
		t.Errorf("since message 20: %v", got)
	}
	var all answer
	p.Ask("history", object{"roomId": "r", "limit": 100}, &all)
	for _, m := range all.Messages {
		if got := seqs("--since", since, "--count", "1"); m.Seq == got[0] && m.Timestamp < since {
			t.Errorf("since %s: message %d of %s", since, m.Seq, m.Timestamp)
		}
	}
	if got := s.must("", "history", "r", "--json", "--limit", "5", "--before", "21"); strings.Count(got, "\n") != 5 || !strings.HasPrefix(strings.Split(got, `"seq":`)[1], "16,") {
		t.Errorf("history before 21: %s", got)
	}
	if got := s.must("", "history", "r", "--json", "--after", "27"); strings.Count(got, "\n") != 3 {
		t.Errorf("history after 27: %s", got)
	}
	if got := s.must("", "history", "r", "--json", "--limit", "1000"); strings.Count(got, "\n") != 30 {
		t.Errorf("history: %s", got)
	}
	s.must("", "send", "r", "once", "--client-id", "x")
	if first, second := s.must("a\nb\n", "send", "r", "-", "--client-id", "y"), s.must("a\nb\n", "send", "r", "-", "--client-id", "y"); first != second {
		t.Errorf("the same lines: %q, then %q", first, second)
	}
}
