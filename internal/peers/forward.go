package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
)

// Serve passes a request of the session sid on to its server. It implements engine.Foreign. It passes
// nothing on that another server has passed on already, or claims to.
func (p *Peers) Serve(w http.ResponseWriter, r *http.Request, sid string, upgrade bool) (served bool, why string) {
	tag := adapter.TagIn(sid)
	if tag == "" || tag == p.self.Tag || r.Header[sealHeader] != nil {
		return false, ""
	}
	o, node := p.owner(tag)
	switch {
	case o == nil:
		why = "no server of this cluster has it: its server is gone, or it is of another cluster"
	case node.Address == "":
		p.opts.Notices.Post(slog.LevelWarn, "address\n"+node.Name, "parley: a server of the cluster has no address for others, so its sessions need sticky sessions",
			"node", node.Name, "hint", "set Address in the Options of package adapter (the setting cluster-addr)")
		why = "its server cannot be reached from here"
	case upgrade && node.Draining:
		why = "its server is about to leave"
	case !p.begin():
		p.opts.Notices.Post(slog.LevelWarn, "forwards", "parley: too many requests are passed on to other servers", "limit", p.opts.MaxForwards, "hint", routeByTag)
		why = "too many requests of other servers are here"
	case upgrade:
		served, why = p.tunnel(w, r, o, node)
	default:
		served, why = p.forward(w, r, o, node, sid)
		p.end()
	}
	if why != "" {
		p.stats.Failed.Add(1)
	}
	return served, why
}

// routeByTag says what to do about many requests at wrong servers.
const routeByTag = "let the proxy in front choose the server by the end of the parameter sid (docs/proxies.md), or let clients begin with WebSocket"

// forward passes an ordinary request on, and its answer back.
func (p *Peers) forward(w http.ResponseWriter, r *http.Request, o *owner, node adapter.Node, sid string) (served bool, why string) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.closing, cancel)()
	body := &clientBody{r: r.Body}
	answered := p.wait(r, await{node.ID, sid})
	resp, err := p.ask(ctx, r, o, node, false, body, p.transport.RoundTrip)
	answered()
	switch {
	case err != nil && body.failed.Load(): // the client has sent only a part of it
		w.WriteHeader(http.StatusBadRequest)
		return true, ""
	case err != nil:
		return p.failed(r, node, err)
	}
	defer resp.Body.Close()
	p.stats.Forwarded.Add(1)
	p.relay(w, resp, cancel)
	return true, ""
}

// clientBody is the body of a client's request. It notes whether reading it has failed.
type clientBody struct {
	r      io.Reader
	failed atomic.Bool
}

func (b *clientBody) Read(buf []byte) (int, error) {
	n, err := b.r.Read(buf)
	if err != nil && err != io.EOF {
		b.failed.Store(true)
	}
	return n, err
}

// ask sends a request to its server with send, and returns the answer. It returns a refusalError if
// the seal is refused.
func (p *Peers) ask(ctx context.Context, r *http.Request, o *owner, node adapter.Node, upgrade bool, body io.Reader, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	posts := r.Method == http.MethodPost
	if c := o.clock.Load(); c != nil && posts && time.Since(p.began)-c.at > clockLife {
		o.clock.CompareAndSwap(c, nil)
	}
	if posts && o.clock.Load() == nil { // a body can be sent only once, so ask for the time before
		if resp, err := p.send(r, o, node, p.outgoing(ctx, node, r, false, nil), p.transport.RoundTrip); !errors.Is(err, errLearned) {
			return resp, err
		}
	}
	out := p.outgoing(ctx, node, r, upgrade, body)
	resp, err := p.send(r, o, node, out, send)
	if errors.Is(err, errLearned) && !posts {
		resp, err = p.send(r, o, node, out, send)
	}
	return resp, err
}

var (
	// errLearned means that the request has a time that is too old, and that the time is known now.
	errLearned = errors.New("peers: the seal has expired")
	// errStranger means that something else than a server of the cluster has answered.
	errStranger = errors.New("peers: what answers there is no server of a cluster")
)

// refusalError is why another server refuses a seal.
type refusalError string

func (e refusalError) Error() string {
	return "peers: the other server refuses the seal: it is " + string(e)
}

// send signs and sends a request.
func (p *Peers) send(r *http.Request, o *owner, node adapter.Node, out *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	s := seal{to: node.ID.String(), time: never, nonce: p.lastNonce.Add(1), client: p.opts.ClientAddress(r), secure: p.opts.ClientSecure(r)}
	if c := o.clock.Load(); c != nil {
		s.time = time.Since(p.began) + c.offset
	}
	p.sign(&s, out)
	resp, err := send(out)
	if err != nil {
		return nil, err
	}
	if resp.Header[sealHeader] != nil {
		delete(resp.Header, sealHeader)
		return resp, nil
	}
	resp.Body.Close()
	switch refusal := resp.Header.Get(refusedHeader); {
	case refusal == "":
		return nil, errStranger
	case refusal == expired && p.learn(o, resp.Header, s.nonce):
		return nil, errLearned
	default:
		return nil, refusalError(refusal)
	}
}

// outgoing returns the request that is sent for r. It has no seal yet.
func (p *Peers) outgoing(ctx context.Context, node adapter.Node, r *http.Request, upgrade bool, body io.Reader) *http.Request {
	out := (&http.Request{
		Method: r.Method, Host: r.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Scheme: "http", Host: node.Address, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
	}).WithContext(ctx)
	for name, values := range r.Header {
		if !hopByHop[name] && !strings.HasPrefix(name, ":") {
			out.Header[name] = values
		}
	}
	for _, list := range r.Header["Connection"] { // names more of them (RFC 9110, 7.6.1)
		for name := range strings.SplitSeq(list, ",") {
			delete(out.Header, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // or else Go adds its own
	}
	switch {
	case upgrade:
		beginTunnel(out, r)
	case r.Method == http.MethodPost && body != nil && r.ContentLength != 0:
		// Its server reads one byte more than it accepts, or nothing if it is told a larger number.
		out.ContentLength = r.ContentLength
		out.Body = io.NopCloser(body)
		if r.ContentLength < 0 {
			out.Body = io.NopCloser(io.LimitReader(body, p.opts.MaxPayload+1))
		} else if r.ContentLength > p.opts.MaxPayload {
			out.Header.Set("Expect", "100-continue") // the refusal comes before the body
		}
	case r.Method == http.MethodPost && body == nil:
		out.Method = http.MethodGet
	}
	return out
}

// hopByHop are headers that concern only one connection (RFC 9110, 7.6.1), and those that are written
// anew.
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Content-Length": true,
}

const (
	streamBuffer = 4 << 10  // for an answer that goes on and on
	answerBuffer = 32 << 10 // for one whose size is known
)

// relay passes an answer on to the client. It flushes an answer of unknown length as it comes. cancel ends
// the answer, if the other server is silent for too long: it would send a ping.
func (p *Peers) relay(w http.ResponseWriter, resp *http.Response, cancel func()) {
	copyHeader(w.Header(), resp.Header)
	c := &stream{w: w, control: http.NewResponseController(w), flush: resp.ContentLength < 0}
	w.WriteHeader(resp.StatusCode)
	if c.flush {
		c.control.Flush()
	}
	buf := make([]byte, min(max(resp.ContentLength, streamBuffer), answerBuffer))
	silent := time.AfterFunc(p.opts.Silence, cancel)
	defer silent.Stop()
	for {
		n, err := resp.Body.Read(buf)
		silent.Stop()
		if n > 0 {
			p.limitWrite(c)
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
		silent.Reset(p.opts.Silence)
	}
}

// copyHeader puts the header of an answer of another server into that of the client's. It replaces what
// this server has set, such as headers for CORS, except for Vary, which lists what each has looked at.
func copyHeader(to, from http.Header) {
	for name, values := range from {
		switch {
		case hopByHop[name] && name != "Content-Length" || name == "Date":
		case name == "Vary":
			for _, v := range values {
				if !slices.Contains(to[name], v) {
					to.Add(name, v)
				}
			}
		default:
			to[name] = values
		}
	}
}

// limitWrite gives the client its time to take the next bytes.
func (p *Peers) limitWrite(c interface{ SetWriteDeadline(time.Time) error }) {
	if d := p.opts.WriteTimeout; d > 0 {
		_ = c.SetWriteDeadline(time.Now().Add(d)) // as in the engine, some have no deadlines
	}
}

// failed says why a request could not be passed on, to the client and in the log.
func (p *Peers) failed(r *http.Request, node adapter.Node, err error) (served bool, why string) {
	var refusal refusalError
	switch {
	case r.Context().Err() != nil: // nobody waits for the answer
		return true, ""
	case p.closing.Err() != nil:
		return false, "this server is about to leave"
	case errors.As(err, &refusal) && refusal == misguided:
		return false, "its server is gone" // another one has its address
	case errors.As(err, &refusal):
		p.opts.Notices.Post(slog.LevelWarn, "refused\n"+node.Name, "parley: a server of the cluster refuses requests that are passed on to it",
			"node", node.Name, "address", node.Address, "cause", refusal.Error(),
			"hint", "all servers need the same ClusterSecret (the setting cluster-secret), and there must be no proxy between them that changes requests")
		return false, "its server does not accept requests from here"
	}
	p.opts.Notices.Post(slog.LevelWarn, "unreachable\n"+node.Name, "parley: a server of the cluster does not answer at its address for others",
		"node", node.Name, "address", notice.Quote(node.Address), "cause", fmt.Sprint(err))
	return false, "its server does not answer"
}
