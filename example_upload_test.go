package parley_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

// Upload is a file. Its data travels as binary, outside the JSON.
type Upload struct {
	Name string        `json:"name"`
	Data parley.Binary `json:"data"`
}

// Stored is the answer to Upload.
type Stored struct {
	Size   int           `json:"size"`
	SHA256 parley.Binary `json:"sha256"`
}

// Store sends a file to the server.
const Store = parley.RPC[Upload, Stored]("store")

// A client uploads a file as binary data.
func Example_binaryUpload() {
	srv, err := parley.New(&parley.Options{
		MaxPayload: 8 << 20, // bytes of one message; a client that sends more is disconnected
		Logger:     quiet,
	})
	if err != nil {
		log.Fatal(err)
	}
	parley.Handle(srv, Store, func(ctx context.Context, s *parley.Socket, u Upload) (Stored, error) {
		if len(u.Data) == 0 {
			return Stored{}, &parley.Error{Code: "empty", Message: u.Name + " is empty"}
		}
		sum := sha256.Sum256(u.Data)
		return Stored{len(u.Data), sum[:4]}, nil
	})
	s := parleytest.NewServer(nil, srv) // in memory; a program calls srv.ListenAndServe
	defer s.Close()

	// In JavaScript, with a file that the user has selected:
	//	const {size, sha256} = await socket.emitWithAck("store", {name: file.name, data: await file.arrayBuffer()})
	client := s.MustDial()
	stored, err := Store.Call(context.Background(), client, Upload{"hello.txt", []byte("Hello, server!")})
	fmt.Printf("%d bytes, %x…, %v\n", stored.Size, stored.SHA256, err)

	// Output:
	// 14 bytes, 28e2f197…, <nil>
}
