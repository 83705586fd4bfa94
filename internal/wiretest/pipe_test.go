package wiretest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/wiretest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHTTPTakesNoRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := wiretest.Listen()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Hour)
			io.WriteString(w, "late")
		})}
		go srv.Serve(l)
		defer srv.Close()
		transport := &http.Transport{DialContext: l.Dial}
		defer transport.CloseIdleConnections()

		start := time.Now()
		resp, err := (&http.Client{Transport: transport}).Get("http://parley.test/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != "late" {
			t.Errorf("body %q", body)
		}
		if d := time.Since(start); d != time.Hour {
			t.Errorf("took %v of the bubble's time, want 1h", d)
		}
	})
}

func TestDialEndsWithTheListenerAndTheContext(t *testing.T) {
	l := wiretest.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(ctx, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with an ended context: %v", err)
	}
	l.Close()
	l.Close()
	if _, err := l.Dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial of a closed listener: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed listener: %v", err)
	}
}
