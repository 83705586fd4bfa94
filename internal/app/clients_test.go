package app_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"

	"github.com/parley-go/parley/internal/ws"
)

// asClients has the test binary hold as many idle connections, until its standard input
// ends: within the server's process theirs would count as the server's memory.
const asClients = "BE_CLIENTS"

func holdClients(url string, n int) error {
	ctx := context.Background()
	for range n {
		conn, _, err := ws.Dial(ctx, url+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{TLS: &tls.Config{InsecureSkipVerify: true}})
		if err != nil {
			return err
		}
		defer conn.CloseNow()
		if _, _, err = conn.ReadMessage(ctx); err == nil {
			err = conn.WriteMessage(ctx, ws.OpText, []byte("40"))
		}
		if err == nil {
			_, _, err = conn.ReadMessage(ctx)
		}
		if err != nil {
			return err
		}
	}
	fmt.Println("connected")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
