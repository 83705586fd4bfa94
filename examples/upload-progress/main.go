// Command upload-progress takes files in pieces over the connection, and shows everybody how far each one is: http://127.0.0.1:3000.
package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"hash"
	"log"
	"net/http"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/js"
)

//go:embed index.html
var page embed.FS

// maxFile is the size of the largest file, in bytes.
const maxFile = 64 << 20

// File describes a file, before its data come.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // in bytes
}

// Piece is a part of a file. Its data travel as binary, outside the JSON.
type Piece struct {
	At   int64         `json:"at"` // where it begins
	Data parley.Binary `json:"data"`
}

// Progress says how far a file is.
type Progress struct {
	Name   string `json:"name"`
	Done   int64  `json:"done"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // of a file that is complete, in hexadecimal digits
}

const (
	// Begin begins a file, Send brings the next piece, and both answer with how far the file is.
	Begin = parley.RPC[File, Progress]("begin")
	Send  = parley.RPC[Piece, Progress]("send")
	// Progressed tells everybody.
	Progressed = parley.Event[Progress]("progressed")
)

// upload is a file that is under way.
type upload struct {
	file File
	done int64
	sum  hash.Hash // in place of a file on the disk
}

// current is the file that a socket sends. The handlers of a socket run one after the other, so it needs no lock.
var current = parley.NewKey[*upload]()

func newUploads() (*parley.Server, error) {
	srv, err := parley.New(&parley.Options{
		MaxPayload: 512 << 10, // bytes of a message: a piece and some more; who sends more is disconnected
	})
	if err != nil {
		return nil, err
	}
	parley.Handle(srv, Begin, func(ctx context.Context, s *parley.Socket, f File) (Progress, error) {
		if f.Size < 0 || f.Size > maxFile {
			return Progress{}, &parley.Error{Code: "too_large", Message: "The file is too large", Data: maxFile}
		}
		u := &upload{file: f, sum: sha256.New()}
		current.Set(s, u)
		return u.progress(), Progressed.Emit(srv, u.progress())
	})
	// The client sends the next piece when it has the answer. So nothing piles up, and a lost connection is noticed.
	parley.Handle(srv, Send, func(ctx context.Context, s *parley.Socket, p Piece) (Progress, error) {
		u := current.Get(s)
		switch {
		case u == nil:
			return Progress{}, &parley.Error{Code: "no_file", Message: "Begin a file first"}
		case p.At != u.done:
			return Progress{}, &parley.Error{Code: "out_of_order", Message: "Another piece is next", Data: u.progress()}
		case p.At+int64(len(p.Data)) > u.file.Size:
			return Progress{}, &parley.Error{Code: "too_large", Message: "The file is larger than you said"}
		}
		u.sum.Write(p.Data)
		u.done += int64(len(p.Data))
		return u.progress(), Progressed.Emit(srv.Volatile(), u.progress())
	})
	return srv, nil
}

func (u *upload) progress() Progress {
	p := Progress{Name: u.file.Name, Done: u.done, Size: u.file.Size}
	if u.done == u.file.Size {
		p.SHA256 = hex.EncodeToString(u.sum.Sum(nil))
	}
	return p
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
	srv, err := newUploads()
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://127.0.0.1:3000")
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", routes(srv)))
}
