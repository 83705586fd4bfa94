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

// quiet keeps the log out of an example's output.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// listen serves clients for as long as an example runs.
func listen(srv *parley.Server) (url string, end func()) {
	web := httptest.NewServer(srv)
	return web.URL, func() {
		srv.Close()
		web.Close()
	}
}

// connect connects a client, which stands for one in a browser.
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
