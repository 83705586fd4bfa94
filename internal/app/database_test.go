package app_test

import (
	"log/slog"
	"testing"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/postgrestest"
)

// While PostgreSQL refuses changes, or cannot be reached, /readyz and the metrics say so. The server goes on by
// itself.
func TestDatabaseFaults(t *testing.T) {
	database := postgrestest.Start(t, nil)
	c := testConfig()
	c.Data, c.StateDir = database.URL("postgres"), t.TempDir()
	var logged lockedBuffer
	s, err := app.Open(c, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	a, b := i.dial(t), i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "a"})
	join(t, b, object{"roomId": "r", "userId": "b"})
	want := func(text string, usable float64) {
		t.Helper()
		waitFor(t, text, func() bool { return readiness(t, i.url) == text })
		if n := metrics(t, i.url)["parley_store_usable"].value(t, ""); n != usable {
			t.Errorf("%s, and parley_store_usable is %v", text, n)
		}
	}
	exec := func(statement string) { database.Exec(t, "postgres", statement) }
	want("ok", 1)
	if n := metrics(t, i.url)["parley_store_bytes"].value(t, `{file="database"}`); n < 8192 {
		t.Errorf("the database has %v bytes", n)
	}
	for condition, text := range map[string]string{
		"disk_full":              "the disk of the database is full: nothing is stored",
		"insufficient_privilege": "the database refuses changes: nothing is stored",
	} {
		exec("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE " + condition + "; END'")
		exec("CREATE TRIGGER refuse BEFORE INSERT ON parley.messages FOR EACH ROW EXECUTE FUNCTION refuse()")
		var refused answer
		a.Ask("sendMessage", object{"roomId": "r", "message": 1}, &refused)
		if refused.Error.Code != "unavailable" {
			t.Errorf("%s: %+v", condition, refused)
		}
		want(text, 0)
		b.Ask("history", object{"roomId": "r"}, new(answer))
		exec("DROP FUNCTION refuse CASCADE")
		want("ok", 1)
	}
	database.Crash()
	want("the database cannot be reached: nothing is stored or read", 0)
	typeIn(a, "r")
	b.Expect("typing", new(object))
	database.Restart(t)
	want("ok", 1)
	if m := send(t, a, object{"roomId": "r", "message": 2}); m.Seq != 1 {
		t.Errorf("stored %+v", m)
	}
}
