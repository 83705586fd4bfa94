package engine_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
)

// elsewhere records what it is asked to serve.
type elsewhere struct {
	asked []string
	why   string // answers nothing, if set
}

func (e *elsewhere) Serve(w http.ResponseWriter, r *http.Request, sid string, upgrade bool) (served bool, why string) {
	e.asked = append(e.asked, fmt.Sprint(r.Method, " ", sid, " ", upgrade))
	if e.why != "" {
		return false, e.why
	}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "from there")
	return true, ""
}

// Others are asked about sessions that are not here, over each transport, and about nothing else.
func TestForeign(t *testing.T) {
	bubble(t, "foreign", func(t *testing.T) {
		there := &elsewhere{}
		s := inMemory(t, engine.Options{Foreign: there, AllowEIO3: true, JSONP: true, CORS: origin.Policy{Origins: []string{"https://friend.example"}}})
		for _, tt := range []struct {
			method, query, origin, want string
		}{
			{"GET", "EIO=4&transport=polling&sid=far", "", "GET far false"},
			{"POST", "EIO=4&transport=polling&sid=far", "https://friend.example", "POST far false"},
			{"GET", "EIO=4&transport=sse&sid=far&lastEventId=3", "", "GET far false"},
			{"POST", "EIO=4&transport=sse&sid=far", "", "POST far false"},
			{"GET", "EIO=3&transport=polling&sid=far&j=0", "", "GET far false"},
			{"POST", "EIO=3&transport=polling&sid=far&j=0", "", "POST far false"},
			{"PUT", "EIO=4&transport=polling&sid=far", "", "PUT far false"},
			{"GET", "EIO=4&transport=polling&sid=f%61r", "", "GET far false"},
			{"GET", "EIO=4&transport=polling&sid=far", "https://evil.example", ""},
			{"GET", "EIO=4&transport=unknown&sid=far", "", ""},
			{"OPTIONS", "EIO=4&transport=polling&sid=far", "", ""},
			{"GET", "EIO=4&transport=polling", "", ""},
			{"GET", "EIO=4&transport=polling&sid=", "", ""},
		} {
			there.asked = nil
			header := []string{"Origin", tt.origin}
			if tt.origin == "" {
				header = nil
			}
			a := s.do(tt.method, tt.query, "", header...)
			want := "[" + tt.want + "]"
			if got := fmt.Sprint(there.asked); got != want {
				t.Errorf("%s %s: asked %s, want %s", tt.method, tt.query, got, want)
			}
			if (a.status == http.StatusAccepted && a.body == "from there") != (tt.want != "") {
				t.Errorf("%s %s: %d %s", tt.method, tt.query, a.status, a.body)
			}
		}
		there.asked = nil
		if p := s.send(s.handshake("EIO=4&transport=websocket&sid=far")); p.resp.StatusCode != http.StatusAccepted || fmt.Sprint(there.asked) != "[GET far true]" {
			t.Errorf("WebSocket: %d, asked %s", p.resp.StatusCode, there.asked)
		}
	})
}

func TestForeignCannot(t *testing.T) {
	bubble(t, "foreign", func(t *testing.T) {
		there := &elsewhere{why: "its server is gone"}
		s := inMemory(t, engine.Options{Foreign: there})
		wantRefusal(t, s.do("GET", "EIO=4&transport=polling&sid=far", ""), 400, `{"code":1,"message":"Session ID unknown: its server is gone"}`)
		wantRefusal(t, s.refused("EIO=4&transport=websocket&sid=far"), 400, "Session ID unknown: its server is gone")
		there.asked = nil
		sid, own := s.open()
		own.send("hello")
		s.poll(sid)
		if len(there.asked) > 0 {
			t.Errorf("asked %s about a session that is here", there.asked)
		}
		s.Drain()
		wantRefusal(t, s.do("GET", "EIO=4&transport=polling&sid=far", ""), 503, `{"code":4,"message":"Server is shutting down"}`)
	})
}
