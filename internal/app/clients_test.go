package app_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// asClients makes the test binary hold this many idle connections until its standard input ends. In
// the server's process, their memory would count as the server's.
const asClients = "BE_CLIENTS"

// anybody trusts every server.
var anybody = &tls.Config{InsecureSkipVerify: true}

// holders make a client join the main namespace, and return what must be kept alive for it.
var holders = map[string]func(ctx context.Context, url string) (any, error){
	"websocket":    holdWebSocket,
	"sse":          holdSSE,
	"polling":      holdPolling,
	"webtransport": holdWebTransport,
}

func holdClients(url, transport string, n int) error {
	held := make([]any, n)
	for i := range held {
		var err error
		if held[i], err = holders[transport](context.Background(), url+"/socket.io/"); err != nil {
			return err
		}
	}
	fmt.Println("connected")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(held)
	return err
}

func holdWebSocket(ctx context.Context, url string) (any, error) {
	conn, _, err := ws.Dial(ctx, url+"?EIO=4&transport=websocket", &ws.DialOptions{TLS: anybody})
	if err != nil {
		return nil, err
	}
	if _, _, err = conn.ReadMessage(ctx); err == nil {
		err = conn.WriteMessage(ctx, ws.OpText, []byte("40"))
	}
	if err == nil {
		_, _, err = conn.ReadMessage(ctx)
	}
	return conn, err
}

// browser returns an HTTP client with its own connections, with HTTP/2 if there is TLS.
func browser() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: anybody, ForceAttemptHTTP2: true}}
}

func sidOf(open string) (sid string, err error) {
	var o struct{ SID string }
	err = json.Unmarshal([]byte(open[strings.IndexByte(open, '{'):]), &o)
	return o.SID, err
}

func joinMain(c *http.Client, url string) error {
	resp, err := c.Post(url, "text/plain", strings.NewReader("40"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
		return fmt.Errorf("CONNECT: %q, %v", body, err)
	}
	return nil
}

func holdSSE(ctx context.Context, url string) (any, error) {
	url += "?EIO=4&transport=sse"
	c := browser()
	resp, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	events := bufio.NewScanner(resp.Body)
	next := func() (data string) {
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				return data
			}
		}
		return "{"
	}
	sid, err := sidOf(next())
	if err == nil {
		err = joinMain(c, url+"&sid="+sid)
	}
	next()
	c.CloseIdleConnections() // the POST's connection
	return resp, err
}

func holdPolling(ctx context.Context, url string) (any, error) {
	url += "?EIO=4&transport=polling"
	c := browser()
	poll := func(url string) (string, error) {
		resp, err := c.Get(url)
		if err != nil {
			return "{", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	open, err := poll(url)
	if err != nil {
		return nil, err
	}
	sid, err := sidOf(open)
	if err != nil {
		return nil, err
	}
	url += "&sid=" + sid
	if err := joinMain(c, url); err != nil {
		return nil, err
	}
	if _, err := poll(url); err != nil {
		return nil, err
	}
	go poll(url)
	return c, nil
}

func holdWebTransport(ctx context.Context, url string) (any, error) {
	_, session, err := (&wt.Transport{
		TLSClientConfig: anybody,
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true},
	}).Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	stream, err := session.OpenStream()
	if err != nil {
		return nil, err
	}
	packets := eio.NewStreamReader(stream)
	for _, packet := range []string{"0", "40"} {
		if _, err := stream.Write(append(eio.AppendStreamHeader(nil, false, len(packet)), packet...)); err != nil {
			return nil, err
		}
		if _, _, err := packets.Next(1 << 20); err != nil {
			return nil, err
		}
	}
	return session, nil
}
