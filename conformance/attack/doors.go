package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// doorPaths are paths of every door.
var doorPaths = []string{
	"/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=sse", "/socket.io/?EIO=3&transport=polling",
	"/socket.io/?EIO=3&transport=polling&j=0", "/rooms/lobby/events", "/", "/room.js", "/metrics", "/certificate-hash",
}

// ask makes a request with one connection for it, and counts the status.
func (a *attacker) ask(ctx context.Context, method, target string, header http.Header) (status int, err error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	if header.Get("Host") == "" {
		fmt.Fprintf(&b, "Host: %s\r\n", a.Host)
	}
	for name, values := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, values[0])
	}
	if _, err := io.WriteString(conn, b.String()+"\r\n"); err != nil {
		return 0, err
	}
	conn.SetReadDeadline(time.Now().Add(2 * time.Second)) // some requests are polls, which wait
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, err
	}
	a.count(fmt.Sprint("status ", resp.StatusCode), 1)
	if resp.StatusCode >= 500 {
		a.count("5xx", 1)
		a.count(fmt.Sprintf("%d for %s %.60s", resp.StatusCode, method, target), 1)
	}
	return resp.StatusCode, nil
}

// webSocketHeader asks for a WebSocket.
func webSocketHeader() http.Header {
	return http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
}

// rebind asks at every door with the name of another site, as a page does whose name leads here.
func rebind(ctx context.Context, a *attacker) error {
	_, port, _ := strings.Cut(a.Host, ":")
	hosts := []string{"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example", "LOCALHOST.evil.example.", "evil.example:80", "[::1].evil.example"}
	for _, host := range hosts {
		for _, path := range append(doorPaths, "/socket.io/?EIO=4&transport=websocket") {
			header := http.Header{}
			if strings.HasSuffix(path, "websocket") {
				header = webSocketHeader()
			}
			header.Set("Host", host)
			header.Set("Origin", a.origin(host))
			a.count("attempts", 1)
			status, err := a.ask(ctx, "GET", path, header)
			if err != nil {
				a.failed(ctx, err)
			} else if status < 400 {
				a.count("accepted", 1)
			}
		}
	}
	return nil
}

func (a *attacker) origin(host string) string {
	return strings.TrimSuffix(target{Host: host, TLS: a.TLS}.url(""), "/")
}

// crossSite asks at every door as pages of other sites make browsers ask, without Origin.
func crossSite(ctx context.Context, a *attacker) error {
	for _, mode := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}},
		{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"script"}},
		{"Sec-Fetch-Site": {"same-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}},
		{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}},
		{"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
	} {
		for _, path := range []string{
			"/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=3&transport=polling", "/socket.io/?EIO=4&transport=sse",
			"/socket.io/?EIO=4&transport=polling&j=0", "/socket.io/?EIO=3&transport=polling&j=0", "/rooms/lobby/events",
			"/socket.io/?EIO=4&transport=websocket",
		} {
			header := mode.Clone()
			if strings.HasSuffix(path, "websocket") {
				for name, value := range webSocketHeader() {
					header[name] = value
				}
			}
			a.count("attempts", 1)
			status, err := a.ask(ctx, "GET", path, header)
			if err != nil {
				a.failed(ctx, err)
			} else if status < 400 {
				a.count("accepted", 1)
				a.count("accepted: "+path+" "+mode.Get("Sec-Fetch-Site")+mode.Get("Origin"), 1)
			}
		}
	}
	return nil
}

// oddRequests asks with odd methods, paths, parameters and headers, and with bytes that could hide
// another request.
func oddRequests(ctx context.Context, a *attacker) error {
	p := newPolling(a.target, from(attackerAddress))
	defer p.close()
	if _, err := p.next(); err != nil {
		return err
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "BREW"}
	paths := append([]string{
		"/socket.io/?EIO=4&transport=polling&sid=" + p.sid, "/socket.io/?EIO=4&transport=websocket&sid=" + p.sid,
		"/socket.io/?EIO=4&transport=sse&sid=" + p.sid, "/socket.io/?EIO=3&transport=polling&sid=" + p.sid,
		"/socket.io/?EIO=4&transport=webtransport&sid=" + p.sid, "/socket.io/?EIO=9&transport=none", "/socket.io/?EIO=4&transport=polling&sid=%00",
		"/socket.io/?EIO=4&EIO=3&transport=polling&transport=websocket", "/socket.io/?%zz", "/socket.io/?EIO=4&transport=polling&j=1)alert(1",
		"/socket.io//..//metrics", "/socket.io/%2e%2e/metrics", "/%6detrics", "//metrics", "/rooms//events", "/rooms/%00/events", "/rooms/" + strings.Repeat("r", 5000) + "/events",
		"/rooms/x/events?lastEventId=" + strings.Repeat("9", 100), "/rooms/x/events?lastEventId=earliest&limit=-1", "/healthz/", "/readyz?x", "*",
		"http://evil.example/", "/socket.io", "/socket.io/x",
	}, doorPaths...)
	type request struct {
		method, path string
		header       http.Header
	}
	var all []request
	for _, path := range paths {
		for _, method := range methods {
			all = append(all, request{method, path, nil})
		}
	}
	for _, header := range []http.Header{
		{"Upgrade": {"websocket"}}, {"Connection": {"Upgrade"}}, {"Upgrade": {"h2c"}, "Connection": {"Upgrade, HTTP2-Settings"}, "Http2-Settings": {"AAMAAABkAAQAAP__"}},
		{"Sec-WebSocket-Key": {"x"}, "Sec-WebSocket-Version": {"99"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
		{"Expect": {"100-continue"}, "Content-Length": {"10"}}, {"Last-Event-ID": {"9999999999999999999999"}},
		{"Accept-Encoding": {"gzip;q=0, *"}}, {"Range": {"bytes=0-0,1-1,2-2"}}, {"X-Forwarded-For": {strings.Repeat("1.1.1.1,", 500)}},
		{"Cookie": {strings.Repeat("a=b;", 2000)}}, {"Content-Type": {"multipart/form-data"}, "Content-Length": {"0"}},
		{"If-None-Match": {`"` + strings.Repeat("x", 5000)}}, {"Content-Encoding": {"gzip"}, "Content-Length": {"0"}},
	} {
		for _, path := range doorPaths {
			all = append(all, request{"GET", path, header})
		}
	}
	a.each(len(all), func(i int) {
		if _, err := a.ask(ctx, all[i].method, all[i].path, all[i].header); err != nil && ctx.Err() == nil {
			a.count("no answer", 1)
		}
	})
	return nil
}

// smuggle sends bytes after requests, where a careless server finds another request.
//
// RFC 9112, 6.1 and 6.3: a body is as long as Transfer-Encoding says, and a request with unclear
// length is refused.
func smuggle(ctx context.Context, a *attacker) error {
	inner := "GET /metrics HTTP/1.1\r\nHost: " + a.Host + "\r\n\r\n"
	head := func(method, path string, lines ...string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: " + a.Host + "\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	}
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	polling, socket := "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=websocket"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)
	for _, request := range []string{
		head("POST", polling, "Content-Length: 4", "Transfer-Encoding: chunked") + chunked,
		head("POST", polling, "Transfer-Encoding: chunked, identity") + "0\r\n\r\n" + inner,
		head("POST", polling, "Transfer-Encoding : chunked") + "0\r\n\r\n" + inner,
		head("POST", polling, "Content-Length: 0", "Content-Length: 5") + inner,
		head("GET", polling, "Content-Length: +0") + inner,
		head("GET", socket, upgrade...) + inner,
		head("GET", socket, append(upgrade, fmt.Sprint("Content-Length: ", len(inner)))...) + inner,
		head("GET", socket, append(upgrade, "Transfer-Encoding: chunked")...) + chunked,
	} {
		a.count("attempts", 1)
		conn, err := a.dial(ctx)
		if err != nil {
			return err
		}
		io.WriteString(conn, request)
		conn.SetReadDeadline(time.Now().Add(time.Second)) // a server that waits for more answers nothing more
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if strings.Contains(string(answer), "go_goroutines") {
			a.count("smuggled", 1)
		}
	}
	return nil
}

// injectIntoLog puts lines, control characters and secrets wherever a client can put text.
func injectIntoLog(ctx context.Context, a *attacker) error {
	evil := "x\r\ntime=2026-01-01T00:00:00Z level=ERROR msg=evil \x1b[31m\u202e\u2028\x00"
	name, _ := json.Marshal(evil)
	quoted, _ := json.Marshal(evil + marker)
	escaped := url.QueryEscape(evil)
	a.each(1, func(int) {
		for _, transport := range []string{"websocket", "polling"} {
			c, err := connect(ctx, a.target, transport, from(attackerAddress))
			if err != nil {
				a.failed(ctx, err)
				continue
			}
			for _, event := range []string{"joinRoom", "sendMessage", "history", "typing", "leaveRoom", string(name[1 : len(name)-1])} {
				for _, argument := range []string{
					fmt.Sprintf(`{"roomId":%s,"userId":%s,"name":%s,"message":%s}`, quoted, quoted, quoted, quoted), string(quoted), "7",
				} {
					c.mu.Lock()
					c.lastID++
					id := c.lastID
					answered := make(chan struct{})
					c.owed[id] = func(string) { close(answered) }
					c.mu.Unlock()
					if c.send(fmt.Sprintf(`42%d["%s",%s]`, id, event, argument)) != nil {
						break
					}
					select {
					case <-answered:
						a.count("answered", 1)
					case <-c.over:
					case <-ctx.Done():
						return
					}
				}
			}
			c.send(`40/` + evil + `,{"token":"` + marker + `"}`) // a namespace
			c.send(`42["` + evil)                                // malformed
			select {
			case <-c.over:
			case <-time.After(100 * time.Millisecond):
			}
			c.close()
		}
		for _, path := range []string{
			"/" + escaped, "/socket.io/?EIO=4&transport=" + escaped, "/socket.io/?EIO=4&transport=polling&sid=" + escaped, "/socket.io/?EIO=4&transport=polling&token=" + marker,
			"/rooms/" + url.PathEscape(evil) + "/events?token=" + marker, "/socket.io/" + url.PathEscape(evil) + "/?EIO=" + escaped,
		} {
			a.ask(ctx, "GET", path, http.Header{"Origin": {"https://" + marker + "\x1b[31m.example"}, "Authorization": {"Bearer " + marker}})
			a.ask(ctx, "GET", path, http.Header{"X-Forwarded-For": {"1.1.1.1 \x1b[31m" + marker}, "Host": {marker + ".example"}})
			a.ask(ctx, "GET", path, http.Header{"Upgrade": {"\x1b[31m" + marker}, "Connection": {"upgrade"}, "Sec-WebSocket-Protocol": {marker}})
		}
	})
	return nil
}

// imitateGuests joins and writes as guests, whose ids only the server gives.
func imitateGuests(ctx context.Context, a *attacker) error {
	c, err := join(ctx, a.target, "websocket", from(attackerAddress), `{"roomId":"guests"}`)
	if err != nil {
		return err
	}
	defer c.close()
	for _, id := range []string{"guest-12345678", "guest-", "Guest-12345678", "guest-\u200b12345678", " guest-12345678"} {
		for event, argument := range map[string]string{
			"joinRoom":    fmt.Sprintf(`{"roomId":"guests-2","userId":"%s"}`, id),
			"sendMessage": fmt.Sprintf(`{"roomId":"guests","userId":"%s","message":{"text":"x"}}`, id),
		} {
			a.count("attempts", 1)
			answer, err := c.ask(ctx, event, argument)
			if err != nil {
				return err
			}
			if !refusal(answer) {
				a.count("accepted", 1)
				a.count("accepted: "+event+" "+id, 1)
			}
		}
	}
	return nil
}

// pipelineRequests writes a request again and again over n connections, without waiting for answers.
func pipelineRequests(n int, path, header string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		const atOnce = 100
		request := "GET " + path + " HTTP/1.1\r\nHost: " + a.Host + "\r\nX-Forwarded-For: " + attackerAddress + "\r\n" + header + "\r\n"
		a.each(n, func(int) {
			conn, err := a.dial(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			go a.flood(ctx, conn, []byte(strings.Repeat(request, atOnce)), atOnce, 1<<40)
			for in := bufio.NewReader(conn); ; {
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					a.ended(ctx)
					return
				}
				io.Copy(io.Discard, resp.Body)
				a.count("answered", 1)
			}
		})
		return nil
	}
}

// idleConnections opens n connections that send the beginning of a TLS handshake. They come from an
// address that is not exempt.
func idleConnections(n int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		address, err := outsideAddress()
		if err != nil {
			return err
		}
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		a.each(n, func(int) {
			conn, err := from.DialContext(ctx, "tcp", a.Host)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			io.WriteString(conn, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")
			a.count("opened", 1)
			a.drop(ctx, conn)
		})
		return nil
	}
}

// heldToRequests checks that an address got no more answers than its budget allows.
func heldToRequests(r *result) {
	const perSecond, burst = 4000, 50_000
	r.most("answered", r.count("answered"), burst+perSecond*(r.Seconds+1))
}

var doors = []*attack{
	{
		name: "requests", what: "100 connections ask for a page as fast as they can, without waiting for answers",
		plain: true, do: pipelineRequests(100, "/healthz", ""), memory: 64 << 20,
		check: heldToRequests, without: noRates, broken: "answered",
	},
	{
		name: "idle-connections", what: "1,500 connections begin a TLS handshake and go no further",
		flags: []string{"--max-connections-per-address", "50"}, do: idleConnections(1500), until: counted("closed", 1300), memory: 24 << 20,
		check:   func(r *result) { r.least("closed", r.count("closed"), 1300) }, // 4 × 50 may stay
		without: []string{"--max-connections-per-address", "0"}, broken: "memory",
	},
	{
		name: "requests-dear", what: "the same with a thousand ranges and thousands of header fields", plain: true, memory: 64 << 20,
		do:    pipelineRequests(50, "/", "Range: bytes="+strings.Repeat("0-1,", 1000)+"2-3\r\n"+strings.Repeat("A:\r\n", 3000)),
		check: heldToRequests,
	},
	{
		name: "rebinding", metric: "parley_hosts_refused_total", what: "requests at every door for a host of another name", do: rebind, whole: true, memory: 32 << 20,
		check:   func(r *result) { r.most("accepted", r.count("accepted"), 0) },
		without: []string{"--allowed-hosts", "*"}, broken: "accepted",
	},
	{
		name: "cross-site", metric: `parley_connections_refused_total{reason="origin"}`, what: "requests at every door that pages of other sites cause, without Origin too", do: crossSite, whole: true, memory: 32 << 20,
		check:   func(r *result) { r.most("accepted", r.count("accepted"), 0) },
		without: []string{"--cors-origins", "*"}, broken: "accepted",
	},
	{
		name: "odd-requests", what: "odd methods, paths and headers at every door", do: oddRequests, whole: true, memory: 32 << 20,
		check: func(r *result) { r.most("5xx", r.count("5xx"), 0) },
	},
	{
		name: "smuggling", what: "bytes after a request and after an upgrade that look like a request", do: smuggle, whole: true, memory: 32 << 20,
		check: func(r *result) { r.most("smuggled", r.count("smuggled"), 0) },
	},
	{
		name: "guests", what: "a client claims the ids of guests", do: imitateGuests, whole: true, memory: 32 << 20,
		check: func(r *result) { r.most("accepted", r.count("accepted"), 0) },
	},
	{
		name: "log-injection", what: "lines, control characters and secrets in everything that could be logged",
		flags: []string{"--log-level", "debug"}, do: injectIntoLog, whole: true, memory: 32 << 20,
	},
}
