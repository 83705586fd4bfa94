package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/tokentest"
)

// secret signs tokens for closed servers.
const secret = "a secret of 32 bytes for attacks " + marker

// token returns a token for somebody with a role.
func token(subject, role string) string {
	return tokenWith(`{"alg":"HS256"}`, "HS256", secret, fmt.Sprintf(`"sub":%q,"parley":{"role":%q}`, subject, role), 0)
}

// tokenWith returns a token that is signed so many seconds from now, and lasts for an hour.
func tokenWith(header, alg, secret, claims string, from int64) string {
	now := time.Now().Unix() + from
	return tokentest.Sign(header, fmt.Sprintf(`{"iat":%d,"exp":%d,%s}`, now, now+3600, claims), alg, []byte(secret))
}

// as adds to a header the proof that a client is somebody, if the server asks for one.
func (t target) as(subject, role string, header http.Header) http.Header {
	if t.Closed {
		header.Set("Authorization", "Bearer "+token(subject, role))
	}
	return header
}

// proofs are worthless, each in its own way.
func proofs() map[string]string {
	user := `"sub":"mallory"`
	good := token("mallory", "admin")
	return map[string]string{
		"nothing":        "",
		"no token":       marker,
		"no algorithm":   tokenWith(`{"alg":"none"}`, "none", "", user, 0),
		"another secret": tokenWith(`{"alg":"HS256"}`, "HS256", strings.Repeat("x", 32), user, 0),
		"empty secret":   tokenWith(`{"alg":"HS256"}`, "HS256", "", user, 0),
		"expired":        tokenWith(`{"alg":"HS256"}`, "HS256", secret, user, -7200),
		"of tomorrow":    tokenWith(`{"alg":"HS256"}`, "HS256", secret, user, 86400),
		"other audience": tokenWith(`{"alg":"HS256"}`, "HS256", secret, user+`,"aud":"another"`, 0),
		"other role":     tokenWith(`{"alg":"HS256"}`, "HS256", secret, user+`,"parley":{"role":"root"}`, 0),
		"nobody":         tokenWith(`{"alg":"HS256"}`, "HS256", secret, `"sub":""`, 0),
		"changed":        good[:len(good)-4] + "AAAA",
		"without end":    good[:strings.LastIndexByte(good, '.')+1],
		"a made-up key":  "pk_" + marker + strings.Repeat("a", 32),
	}
}

// strangers try every door with proofs that are worth nothing, or with a good one.
func strangers(proofs func() map[string]string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		accepted := func(how string) {
			a.count("accepted", 1)
			a.count("accepted: "+how, 1)
		}
		for name, proof := range proofs() {
			header := from(attackerAddress)
			if proof != "" {
				header.Set("Authorization", "Bearer "+proof)
			}
			auth, _ := json.Marshal(map[string]string{"token": proof, "userId": "mallory", "operatorId": "mallory"})
			for _, transport := range []string{"websocket", "websocket of version 3", "polling", "webtransport"} {
				for _, auth := range []string{"", string(auth)} {
					of := header
					if auth != "" {
						of = from(attackerAddress)
					}
					a.count("attempts", 1)
					c, err := connectWith(ctx, a.target, transport, of, auth)
					if err == nil {
						accepted(name + " over " + transport)
						c.close()
					} else if !strings.Contains(err.Error(), "bad_token") && !strings.Contains(err.Error(), "token_expired") {
						a.failed(ctx, err)
					}
				}
			}
			for _, path := range []string{
				"/rooms/probe-0/events", "/rooms/~notes%2Fprobe-0/events", "/metrics", "/openapi.json", "/api/me", "/api/sessions",
				"/api/me/", "/api/../metrics", "//metrics", "/api//me", "/API/me", "/api/me;x", "/metrics/", "/rooms/../metrics",
				"/api/me?token=" + proof, "/rooms/probe-0/events?access_token=" + proof,
				"/rooms/probe-0/events?ticket=AAAAAAAAAAAAAAAAAAAAAAAAAAA", "/rooms/probe-0/events?ticket=" + proof,
			} {
				for _, h := range []http.Header{header, {"Cookie": {"__Host-parley=" + proof + "; parley=" + proof}}} {
					a.count("attempts", 1)
					if status, err := a.ask(ctx, "GET", path, h); err != nil {
						a.failed(ctx, err)
					} else if status/100 == 2 { // a redirection leads to a plain path
						accepted(name + " at " + path)
					}
				}
			}
		}
		return nil
	}
}

// poster posts to the API, each time as a client with an address.
func (a *attacker) poster() func(ctx context.Context, path, address, bearer, body string) (status int, err error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(), ForceAttemptHTTP2: true}}
	return func(ctx context.Context, path, address, bearer, body string) (int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url(path), strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		r.Header = from(address)
		r.Header.Set("Content-Type", "application/json")
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		a.count(fmt.Sprint("status ", resp.StatusCode), 1)
		return resp.StatusCode, nil
	}
}

// post posts to the API without end, 20 requests at a time. What is posted depends on the number of the
// request.
func post(path string, what func(n int) (address, bearer, body string)) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		ask := a.poster()
		var n atomic.Int64
		a.each(20, func(int) {
			for ctx.Err() == nil {
				address, bearer, body := what(int(n.Add(1)))
				if _, err := ask(ctx, path, address, bearer, body); err != nil {
					a.failed(ctx, err)
					return
				}
				a.count("asked", 1)
			}
		})
		return nil
	}
}

// guess posts sign-ins of somebody. If others is true, each attempt has another name.
func guess(others bool) func(context.Context, *attacker) error {
	return post("/api/session", func(n int) (string, string, string) {
		login := "ann"
		if others {
			login = fmt.Sprint("ann", n)
		}
		return fmt.Sprintf("203.0.%d.%d", n/250%250, n%250), "", fmt.Sprintf(`{"login":%q,"password":"guess %d %s"}`, login, n, marker)
	})
}

// anOperator lets ann sign in.
func anOperator(ctx context.Context, data string) error {
	store, err := sqlite.Open(filepath.Join(data, "parley.db"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	a, err := access.New(ctx, store, nil)
	if err == nil {
		_, err = a.AddOperator(ctx, access.Operator{ID: "ann"}, "correct horse battery")
	}
	return err
}

// badTokens sends bad tokens as fast as it can. Some of them are far too long.
func badTokens(ctx context.Context, a *attacker) error {
	kinds := []string{
		tokenWith(`{"alg":"HS256"}`, "HS256", strings.Repeat("x", 32), `"sub":"mallory"`, 0),
		strings.Repeat("e", 900_000),
		strings.Repeat("eyJ.", 200_000),
		tokenWith(`{"alg":"HS256","x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`, "HS256", secret, `"sub":"mallory"`, 0),
	}
	a.each(8, func(i int) {
		for ctx.Err() == nil {
			w, err := a.open(ctx, "websocket", from(attackerAddress))
			if err != nil {
				a.failed(ctx, err)
				return
			}
			go func() {
				for {
					packet, err := w.next()
					switch {
					case err != nil:
						return
					case strings.HasPrefix(packet, "44"):
						a.count("answered", 1)
					case strings.HasPrefix(packet, "40"):
						a.count("accepted", 1)
					}
				}
			}()
			for n := 0; ctx.Err() == nil; n++ {
				kind := kinds[0]
				if n%50 == 0 {
					kind = kinds[n/50%len(kinds)]
				}
				if w.send(`40{"token":"`+kind+`"}`) != nil {
					break
				}
				a.count("sent", 1)
			}
			w.close()
			a.ended(ctx)
		}
	})
	return nil
}

// eraseAndExport lets people write while commands erase and export what they write, again and again.
func eraseAndExport(ctx context.Context, a *attacker) error {
	const people, times = 4, 4
	writing, stop := context.WithCancel(ctx)
	defer stop()
	for i := range people {
		user := fmt.Sprint("victim-", i)
		header := a.as(fmt.Sprint("writer-", i), "service", from(fmt.Sprint("203.0.113.", i)))
		c, err := join(ctx, a.target, "websocket", header, fmt.Sprintf(`{"roomId":"of-%d","userId":%q}`, i, user))
		if err != nil {
			return err
		}
		defer c.close()
		go func() {
			for n := 0; writing.Err() == nil; n++ {
				_, err := c.ask(writing, "sendMessage", fmt.Sprintf(`{"roomId":"of-%d","userId":%q,"message":{"text":"%d"}}`, i, user, n))
				if err != nil && writing.Err() == nil { // refused or not, the connection stays
					a.count("lost writers", 1)
					return
				}
				a.count("written", 1)
				if n%10 == 9 {
					c.ask(writing, "joinRoom", fmt.Sprintf(`{"roomId":"of-%d","userId":%q,"limit":50}`, i, user))
				}
				time.Sleep(60 * time.Millisecond) // what a program may send
			}
		}()
	}
	run := func(args ...string) []byte {
		a.count("commands", 1)
		command := exec.CommandContext(ctx, a.Binary, append(args, "--data", a.Data)...)
		var out, problem bytes.Buffer
		command.Stdout, command.Stderr = &out, &problem
		if err := command.Run(); err != nil && ctx.Err() == nil && !strings.Contains(problem.String(), "not_found") {
			a.count("failed commands", 1)
			a.failed(ctx, fmt.Errorf("%v: %v: %s", args, err, problem.Bytes()))
		}
		return out.Bytes()
	}
	a.each(people, func(i int) {
		user := fmt.Sprint("victim-", i)
		for range times {
			for _, args := range [][]string{{"export", "--user", user}, {"export", "--room", fmt.Sprint("of-", i)}, {"export", "--all"}} {
				out := run(args...)
				if lines := bytes.Split(bytes.TrimSpace(out), []byte("\n")); len(out) > 0 &&
					string(lines[len(lines)-1]) != fmt.Sprintf(`{"end":true,"rows":%d}`, len(lines)-1) {
					a.count("cut exports", 1)
				}
			}
			run("erase", "--user", user, "--yes")
		}
	})
	stop()
	return nil
}

// overclaim asks an open server, as clients of several generations, for what nobody may have who does
// not say that it is an operator.
func overclaim(claim string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		owner, err := connectWith(ctx, a.target, "websocket", from("198.51.100.1"), `{"userId":"owner"}`)
		if err != nil {
			return err
		}
		defer owner.close()
		started, err := owner.ask(ctx, "startConversation", `{"message":{"text":"hello"}}`)
		if err != nil {
			return err
		}
		var conversation struct{ RoomID string }
		if err := json.Unmarshal([]byte(started), &conversation); err != nil || conversation.RoomID == "" {
			return fmt.Errorf("startConversation: %s", started)
		}
		room := conversation.RoomID
		for _, transport := range []string{"websocket", "polling", "webtransport", "websocket of version 3"} {
			c, err := connectWith(ctx, a.target, transport, from(attackerAddress), claim)
			if err != nil {
				return err
			}
			c.ask(ctx, "joinRoom", fmt.Sprintf(`{"roomId":%q}`, room))
			for _, call := range [][2]string{
				{"joinRoom", `{"roomId":"~notes/` + room + `"}`}, {"joinRoom", `{"roomId":"~x"}`}, {"joinRoom", `{"roomId":"` + room + `","notes":true}`},
				{"history", `{"roomId":"~notes/` + room + `"}`}, {"history", `{"roomId":"` + room + `","notes":true}`},
				{"sendMessage", `{"roomId":"~notes/` + room + `","message":1}`}, {"addNote", `{"roomId":"` + room + `","message":{"text":"x"}}`},
				{"editMessage", `{"roomId":"` + room + `","seq":1,"message":{"text":"x"}}`}, {"deleteMessage", `{"roomId":"` + room + `","seq":1}`},
				{"claimRoom", `{"roomId":"` + room + `"}`}, {"closeRoom", `{"roomId":"` + room + `"}`}, {"updateRoom", `{"roomId":"` + room + `","subject":"x"}`},
				{"watchRooms", `{}`}, {"search", `{"text":"hello"}`}, {"search", `{"text":"hello","roomId":"~notes/` + room + `"}`},
				{"getPerson", `{"userId":"owner"}`}, {"updatePerson", `{"userId":"owner","name":"x"}`}, {"setStatus", `{"status":"away"}`},
				{"identify", `{"token":"x"}`}, {"refresh", `{"token":"x"}`},
			} {
				a.count("attempts", 1)
				answer, err := c.ask(ctx, call[0], call[1])
				if err != nil {
					a.failed(ctx, err)
				} else if !refusal(answer) {
					a.count("accepted", 1)
					a.count(fmt.Sprintf("accepted: %s %.40s over %s", call[0], call[1], transport), 1)
				}
			}
			c.close()
		}
		for _, path := range []string{"/rooms/~notes%2F" + room + "/events", "/rooms/~x/events", "/api/me", "/api/sessions"} {
			a.count("attempts", 1)
			if status, err := a.ask(ctx, "GET", path, from(attackerAddress)); err != nil {
				a.failed(ctx, err)
			} else if status < 400 {
				a.count("accepted", 1)
				a.count("accepted: "+path, 1)
			}
		}
		return nil
	}
}

// none checks that nothing of a name was counted.
func none(names ...string) func(*result) {
	return func(r *result) {
		for _, name := range names {
			r.most(name, r.count(name), 0)
		}
	}
}

// limited checks how many answers have a status.
func limited(status string, most float64) func(*result) {
	return func(r *result) { r.most(status, r.count(status), most) }
}

var accesses = []*attack{
	{
		name: "strangers", closed: true, flags: []string{"--log-level", "debug"}, whole: true, memory: 64 << 20, metric: "parley_unauthorized_total",
		what: "proofs that are worth nothing, at every door and over every transport and generation",
		do:   strangers(proofs), check: none("accepted"),
		doWithout: strangers(func() map[string]string {
			return map[string]string{"an admin": token("mallory", "admin"), "a program": token("mallory", "service")}
		}), broken: "accepted",
	},
	{
		name: "bad-tokens", closed: true, memory: 96 << 20, metric: "parley_unauthorized_total",
		what: "8 connections send tokens that are bad, or far too long, as fast as they can",
		do:   badTokens, check: none("accepted"),
	},
	{
		name: "sign-ins", closed: true, prefill: anOperator, memory: 160 << 20, // two passwords at a time take 19 MiB each, until they are collected
		what: "guesses the password of an operator from ever new addresses",
		do:   guess(false), check: limited("status 401", 11),
		doWithout: guess(true), broken: "status 401",
	},
	{
		name: "visitors", closed: true, memory: 64 << 20,
		what: "makes visitors without end",
		do:   post("/api/visitors", func(int) (string, string, string) { return attackerAddress, "", "{}" }), check: limited("status 201", 62),
		doWithout: post("/api/visitors", func(n int) (string, string, string) { return fmt.Sprint("203.0.113.", n%200), "", "{}" }), broken: "status 201",
	},
	{
		name: "tickets", closed: true, memory: 64 << 20,
		what: "asks for tickets without end",
		do: post("/api/tickets", func(int) (string, string, string) {
			return attackerAddress, token("mallory", "user"), `{"path":"/rooms/probe-0/events"}`
		}),
		check: limited("status 201", 256),
		doWithout: post("/api/tickets", func(n int) (string, string, string) {
			return attackerAddress, token(fmt.Sprint("mallory", n), "user"), `{"path":"/rooms/probe-0/events"}`
		}),
		broken: "status 201",
	},
	{
		name: "erasures", closed: true, whole: true, memory: 96 << 20,
		what: "commands export and erase what people are writing and reading, again and again",
		do:   eraseAndExport, check: none("failed commands", "cut exports", "lost writers"),
	},
	{
		name: "claims", whole: true, memory: 64 << 20,
		what: "clients of an open server ask for notes, for others' conversations and for what only operators do, also as clients of Socket.IO 2",
		do:   overclaim(`{"userId":"mallory","role":"admin"}`), check: none("accepted"),
		doWithout: overclaim(`{"operatorId":"mallory"}`), broken: "accepted",
	},
}
