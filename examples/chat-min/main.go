// Command chat-min is a whole chat with its page: http://127.0.0.1:3000.
package main

import (
	"context"
	"embed"
	"log"
	"net/http"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/js"
)

//go:embed index.html
var page embed.FS

// Say sends a text to everybody. The answer is how many receive it.
const Say = parley.RPC[string, int]("say")

func chat() (*parley.Server, error) {
	srv, err := parley.New(nil)
	if err != nil {
		return nil, err
	}
	parley.Handle(srv, Say, func(ctx context.Context, s *parley.Socket, text string) (int, error) {
		if text == "" {
			return 0, &parley.Error{Code: "empty", Message: "Write something first"}
		}
		if err := srv.Emit("said", text); err != nil {
			return 0, err
		}
		return srv.Count(ctx)
	})
	return srv, nil
}

// routes adds the page and the JavaScript client to the server.
func routes(srv *parley.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	mux.Handle("GET /js/", http.StripPrefix("/js/", http.FileServerFS(js.Files)))
	mux.Handle("GET /{$}", http.FileServerFS(page))
	return mux
}

func main() {
	srv, err := chat()
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://127.0.0.1:3000")
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", routes(srv)))
}
