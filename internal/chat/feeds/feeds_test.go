package feeds_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/feeds"
	"github.com/parley-go/parley/sse"
)

// nowhere announces nothing.
type nowhere struct{}

func (nowhere) Announce(string, string, any, chat.Peer) {}

// A feed of a closed server needs an identity that may read the room, and ends when that does.
func TestFeedOfAClosedServer(t *testing.T) {
	store := history.NewMemory()
	log := history.NewLog(store, nil)
	t.Cleanup(func() { log.Close() })
	service := chat.New(store, log, chat.Options{
		PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, Timeout: time.Minute, Announcer: nowhere{}, Closed: func() bool { return true },
	})
	_, err := store.Append(t.Context(), []history.Draft{{
		RoomID: "c_1", UserID: "ann", Message: []byte(`"hello"`), Conversation: &history.Conversation{UserID: "ann"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	handler := feeds.New(service, func(r *http.Request) (*auth.Identity, error) {
		switch who := r.Header.Get("Authorization"); who {
		case "":
			return nil, chat.Refuse(chat.BadToken, "no token")
		case "anna":
			return &auth.Identity{Subject: who, Role: auth.Operator}, nil
		default:
			return &auth.Identity{Subject: who, Role: auth.User}, nil
		}
	}, &sse.Options{})
	mux := http.NewServeMux()
	mux.Handle("GET /rooms/{room}/events", handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close) // after the bodies of its answers
	get := func(who, room string) *http.Response {
		t.Helper()
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/rooms/"+room+"/events?limit=10", nil)
		if who != "" {
			r.Header.Set("Authorization", who)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
	for _, tt := range []struct {
		who, room string
		status    int
	}{
		{"", "c_1", 401}, {"ben", "c_1", 403}, {"ann", "c_2", 403}, {"anna", "free", 403}, {"anna", "~notes%2Fc_1", 400}, {"ann", "c_1", 200},
	} {
		if answer := get(tt.who, tt.room); answer.StatusCode != tt.status {
			t.Errorf("%q gets %s of %s, want %d", tt.who, answer.Status, tt.room, tt.status)
		}
	}
	lines := bufio.NewScanner(get("anna", "c_1").Body)
	heard := func(part string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), part) {
				return
			}
		}
		t.Fatalf("the feed has ended before %q: %v", part, lines.Err())
	}
	heard(`"hello"`)
	heard("event: live")
	if n := service.Cut(auth.Match{Subject: "anna"}, chat.BadToken, "revoked"); n != 1 {
		t.Errorf("%d were cut", n)
	}
	heard("event: error")
	heard(`"code":"bad_token"`)
	for lines.Scan() { // it ends
	}
}
