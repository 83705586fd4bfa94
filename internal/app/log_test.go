package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/ws"
)

// hostile texts contain "EVIL". A log must not show them as lines of their own, or let them act on a
// terminal.
var hostile = []string{
	"EVIL\ntime=2026-01-01T00:00:00Z level=ERROR msg=forged", "EVIL\r\n{\"level\":\"ERROR\"}", "EVIL\x1b[2J\x1b]0;title\x07", "EVIL\u009b2J", "EVIL\x00\x7f\b", "EVIL\xff\xfe",
	"EVIL\u2028\u2029\u202e\u2066", `EVIL" level=ERROR x="`, "EVIL{reason=\"forged\"} 1\n", "EVIL" + strings.Repeat("x", 900_000),
}

// Whatever clients send, a log line stays one short line, and metrics get no new labels.
func TestNothingIsInjected(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		c := testConfig()
		c.LogFormat, c.LogLevel = format, slog.LevelDebug
		log := new(lockedBuffer)
		s, err := app.Open(c, app.Logger(c, log))
		if err != nil {
			t.Fatal(err)
		}
		i := run(t, s)
		_, before := request(t, "GET", i.url+"/metrics")
		address := strings.TrimPrefix(i.url, "http://")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for _, text := range hostile {
			escaped := strings.Builder{}
			for _, b := range []byte(text[:min(len(text), 4000)]) {
				fmt.Fprintf(&escaped, "%%%02x", b)
			}
			short := text[:min(len(text), 20_000)]
			for _, lines := range [][]string{
				{"GET / HTTP/1.1", "Host: " + short},
				{"GET /socket.io/?EIO=4&transport=polling HTTP/1.1", "Host: localhost", "Origin: " + short, "User-Agent: " + short},
				{"GET /socket.io/?EIO=4&transport=" + escaped.String() + " HTTP/1.1", "Host: localhost"},
				{"GET /socket.io/?EIO=4&transport=polling&sid=" + escaped.String() + " HTTP/1.1", "Host: localhost"},
				{"GET /rooms/" + escaped.String() + "/events?lastEventId=" + escaped.String() + " HTTP/1.1", "Host: localhost", "X-Forwarded-For: " + short},
				{short + " / HTTP/1.1", "Host: localhost"},
				append([]string{"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", "Host: localhost", "Sec-WebSocket-Extensions: " + short, "Sec-WebSocket-Protocol: " + short}, upgrade...),
			} {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(2 * time.Minute))
				go io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n")
				conn.Read(make([]byte, 1))
				conn.Close()
			}
			quoted, _ := json.Marshal(text)
			for _, packet := range []string{
				"40" + strings.ReplaceAll("/"+text, ",", "") + ",", "42[" + string(quoted) + ",1]", `420["joinRoom",{"roomId":` + string(quoted) + `}]`,
				`420["joinRoom",{"roomId":"r","userId":` + string(quoted) + `}]`, `420["sendMessage",{"roomId":` + string(quoted) + `,"message":1}]`, "42[\"" + text,
			} {
				conn, _, err := ws.Dial(ctx, i.url+"/socket.io/?EIO=4&transport=websocket", nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range []string{"40", packet, `429["joinRoom",{"roomId":"r"}]`} {
					conn.WriteMessage(ctx, ws.OpText, []byte(p))
				}
				for { // until the last packet has been answered, or the connection is closed
					if _, answer, err := conn.ReadMessage(ctx); err != nil || strings.HasPrefix(string(answer), "439") {
						break
					}
				}
				conn.CloseNow()
			}
		}
		_, after := request(t, "GET", i.url+"/metrics")
		if a, b := strings.Count(before, "\n"), strings.Count(after, "\n"); a != b || strings.Contains(after, "EVIL") {
			t.Errorf("%d lines of metrics have become %d", a, b)
		}
		if err := i.stop(); err != nil {
			t.Error(err)
		}
		lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
		for _, line := range lines {
			var fields map[string]any
			whole := strings.HasPrefix(line, "time=") && strings.Contains(line, " level=")
			if format == "json" {
				whole = json.Unmarshal([]byte(line), &fields) == nil && fields["level"] != nil
			}
			if !whole || len(line) > 8<<10 || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(line, " msg=forged") && !strings.Contains(line, `\n`) {
				t.Errorf("%s, %d bytes: %.300q", format, len(line), line)
			}
		}
		if !strings.Contains(log.String(), "EVIL") {
			t.Errorf("nothing is logged:\n%.1000s", log)
		}
	}
}
