package engine_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

// overTLS serves HTTP/1.1 and HTTP/2 over TLS, on connections that are polled.
func overTLS(t testing.TB, o engine.Options) *server {
	s := overTCP(t, o)
	web := httptest.NewUnstartedServer(s.Server)
	web.Listener, web.EnableHTTP2 = reactor.Listen(web.Listener, nil), true
	web.StartTLS()
	t.Cleanup(web.Close)
	s.client, s.scheme, s.host = web.Client(), "https", web.Listener.Addr().String()
	config := web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	s.dial = (&tls.Dialer{Config: config}).DialContext
	return s
}

func TestPollingOverHTTP2(t *testing.T) {
	s := overTLS(t, engine.Options{Open: echo})
	sid, o := s.open()
	for i := range 20 {
		got := make(chan answer)
		go func() { got <- s.poll(sid) }()
		m := "4" + strconv.Itoa(i)
		wantAnswer(t, s.post(sid, m), 200, "ok")
		wantAnswer(t, <-got, 200, m)
	}
	if !o.session.Handshake().Secure {
		t.Error("the session is not said to be secure")
	}
	// One of two polls ends the session. HTTP/2 does not say which one.
	statuses := make(chan int)
	for range 2 {
		go func() { statuses <- s.poll(sid).status }()
	}
	got := []int{<-statuses, <-statuses}
	if slices.Sort(got); !slices.Equal(got, []int{200, 400}) {
		t.Errorf("overlapping polls: %d", got)
	}
	o.wantEnded(engine.TransportError)
}

// Many sessions whose two sides send, pause and close at random. What arrives is always a prefix of
// what was sent.
func TestChaos(t *testing.T) {
	for name, start := range map[string]func(testing.TB, engine.Options) *server{"TCP": overTCP, "TLS": overTLS} {
		t.Run(name, func(t *testing.T) {
			s := start(t, engine.Options{OutboxLimit: 256 << 10})
			for round := range uint64(3) {
				var all sync.WaitGroup
				for i := range uint64(12) {
					p, o := s.openWebSocket()
					rng := rand.New(rand.NewPCG(round, i))
					all.Go(func() { chaosClient(p, rand.New(rand.NewPCG(round, i+100))) })
					all.Go(func() { chaosServer(o, rng) })
					all.Go(func() {
						<-o.ended
						checkPrefix(t, o.received())
					})
				}
				all.Wait()
				s.wantSessions(0)
			}
		})
	}
}

func chaosServer(o *owner, rng *rand.Rand) {
	for i := 0; o.isOpen() && i < 300; i++ {
		o.send(fmt.Sprintf("%d:%s", i, long(rng.IntN(1+rng.IntN(20_000)))))
		switch rng.IntN(20) {
		case 0:
			o.session.Pause()
			pause(rng)
			o.session.Resume()
		case 1:
			pause(rng)
		}
	}
	o.session.Close()
}

func chaosClient(p *peer, rng *rand.Rand) {
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		var got []string
		defer func() { checkPrefix(p.t, got) }()
		for {
			op, payload, err := p.tryRead()
			if err != nil {
				return
			}
			switch {
			case op == ws.OpClose:
				p.tryFrame(ws.OpClose, "")
			case op == ws.OpText && payload[0] == '4':
				got = append(got, payload[1:])
			}
		}
	}()
	end := rng.IntN(400)
	for i := range end {
		if p.tryFrame(ws.OpText, fmt.Sprintf("4%d:%s", i, long(rng.IntN(1+rng.IntN(5000))))) != nil {
			break
		}
		if rng.IntN(10) == 0 {
			p.tryFrame(ws.OpPing, "p")
		}
	}
	switch rng.IntN(4) {
	case 0:
		p.tryFrame(ws.OpClose, "")
	case 1:
		p.tryFrame(ws.OpText, "1")
	case 2:
		p.tryFrame(ws.OpText, "garbage")
	default:
		p.Close()
	}
	<-reading
	p.Close()
}

// checkPrefix checks that the messages are whole and numbered from 0.
func checkPrefix(t testing.TB, messages []string) {
	for i, m := range messages {
		number, rest, _ := strings.Cut(m, ":")
		if number != strconv.Itoa(i) || strings.Trim(rest, "x") != "" {
			t.Errorf("message %.20q as number %d", m, i)
			return
		}
	}
}
