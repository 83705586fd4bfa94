// Command googollee uses the Engine.IO 3 client github.com/googollee/go-socket.io/engineio. This program
// itself writes and reads the packets of Socket.IO. ../../../languages.test.mjs describes the steps.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/session"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
)

const (
	timeout = 2 * time.Minute
	alive   = 6800 * time.Millisecond // a session without heartbeats would not live so long
)

func main() {
	log.SetFlags(log.Lshortfile)
	time.AfterFunc(3*timeout, func() { log.Fatal("it takes too long") })
	url, way := os.Args[2], os.Args[3]
	text := "é€😀𝒳\u2028\n\"\\"
	if way == "polling" {
		text = "\n\"\\" // it treats the packets' lengths in a payload as bytes, not characters
	}
	transports := map[string]transport.Transport{"websocket": websocket.Default, "polling": polling.Default}
	dialer := engineio.Dialer{Transports: []transport.Transport{transports[way]}}

	c, err := dialer.Dial(url+"/socket.io/?transport="+way, nil)
	check(err)
	same(receive(c, session.TEXT), "0") // the server joins the main namespace without a CONNECT
	same(receive(c, session.TEXT), `2["auth",{}]`)
	send(c, session.TEXT, `21["whoami"]`)
	var me []struct{ ID, Transport string }
	check(json.Unmarshal([]byte(strings.TrimPrefix(receive(c, session.TEXT), "31")), &me))
	same(me[0].ID, c.ID())
	same(me[0].Transport, way)
	ok("connect")

	for _, args := range []string{"", "," + quoted(text), `,1,null,{"key":[]},` + quoted(strings.Repeat(text, 2000))} {
		send(c, session.TEXT, `2["message"`+args+"]")
		same(compact(receive(c, session.TEXT)), compact(`2["message-back"`+args+"]"))
	}
	ok("events")

	large := make([]byte, 70_000)
	for i := range large {
		large[i] = byte(i % 251)
	}
	send(c, session.TEXT, `52-["message",{"_placeholder":true,"num":0},"x",{"deep":{"_placeholder":true,"num":1}}]`)
	send(c, session.BINARY, "\x00\x01\x04\x1e\xff")
	send(c, session.BINARY, string(large))
	same(receive(c, session.TEXT), `52-["message-back",{"_placeholder":true,"num":0},"x",{"deep":{"_placeholder":true,"num":1}}]`)
	same(receive(c, session.BINARY), "\x00\x01\x04\x1e\xff")
	same(receive(c, session.BINARY), string(large))
	ok("binary")

	time.Sleep(alive)
	send(c, session.TEXT, `22["message-with-ack",1]`)
	same(receive(c, session.TEXT), "32[1]")
	ok("heartbeat")

	watcher, err := dialer.Dial(url+"/socket.io/?transport="+way, nil)
	check(err)
	receive(watcher, session.TEXT)
	receive(watcher, session.TEXT)
	send(watcher, session.TEXT, `21["join","watchers"]`)
	receive(watcher, session.TEXT)
	send(c, session.TEXT, "1")
	same(receive(watcher, session.TEXT), `2["left",`+quoted(c.ID())+`,"client namespace disconnect"]`)
	ok("the client disconnects")
}

func send(c engineio.Conn, kind session.FrameType, message string) {
	w, err := c.NextWriter(kind)
	check(err)
	_, err = io.WriteString(w, message)
	check(err)
	check(w.Close())
}

func receive(c engineio.Conn, wanted session.FrameType) string {
	kind, r, err := c.NextReader()
	check(err)
	b, err := io.ReadAll(r)
	check(err)
	check(r.Close())
	same(kind, wanted)
	return string(b)
}

// compact returns the packet with its JSON in a canonical form.
func compact(packet string) string {
	var v any
	check(json.Unmarshal([]byte(packet[1:]), &v))
	var b bytes.Buffer
	check(json.NewEncoder(&b).Encode(v))
	return b.String()
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	check(err)
	return string(b)
}

func ok(step string) { fmt.Println("ok", step) }

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func same[T comparable](got, wanted T) {
	if got != wanted {
		log.Output(2, fmt.Sprintf("%.500s is not %.500s", fmt.Sprint(got), fmt.Sprint(wanted)))
		os.Exit(1)
	}
}
