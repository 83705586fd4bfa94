package parley_test

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"strings"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/eventtest"
)

// quiet discards the log, so that it does not appear in an example's output.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// listen serves clients until end is called.
func listen(srv *parley.Server) (url string, end func()) {
	web := httptest.NewServer(srv)
	return web.URL, func() {
		srv.Close()
		web.Close()
	}
}

// connect connects a Go client in place of one in a browser.
func connect(url string, setup func(*eventtest.Client)) *eventtest.Client {
	c, err := tryToConnect(url, setup)
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func tryToConnect(url string, setup func(*eventtest.Client)) (*eventtest.Client, error) {
	return eventtest.Dial(context.Background(), strings.Replace(url, "http", "ws", 1), setup)
}
