package peers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// sealHeader of a request has version, receiver, time, nonce, scheme, client and code; of an answer,
	// only the version.
	sealHeader    = "Parley-Forward"
	refusedHeader = "Parley-Refused" // why the seal is refused
	clockHeader   = "Parley-Clock"   // of the refusal of a seal that is too old: time and code

	sealVersion  = "1"
	sealContext  = "parley forward 1" // keeps codes of different kinds apart
	clockContext = "parley clock 1"

	maxAge   = 30 * time.Second
	maxAhead = 5 * time.Second // the sender's idea of the receiver's clock is not ahead, but clocks drift
	never    = -time.Hour      // is too old on every clock
	// clockLife is how long the clock of another server is believed. Clocks drift by less than maxAhead in it.
	clockLife = time.Hour
)

// Why a seal is refused.
const (
	forged    = "forged"    // there is none, it is malformed, or its code is wrong
	misguided = "misguided" // it is meant for another server
	expired   = "expired"   // it is too old
	replayed  = "replayed"  // it was used before
)

// seal says who the client of a request is that a server passes on.
type seal struct {
	to     string        // the receiver's NodeID
	time   time.Duration // on the receiver's clock
	nonce  uint64
	client string // address
	secure bool   // the client uses TLS
}

func (s *seal) String() string {
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s %s %d %x %s %s", sealVersion, s.to, s.time.Milliseconds(), s.nonce, scheme, url.QueryEscape(s.client))
}

// parseSeal parses a seal whose code is right.
func parseSeal(text string) (s seal, ok bool) {
	f := strings.Split(text, " ")
	if len(f) != 6 || f[0] != sealVersion {
		return seal{}, false
	}
	ms, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return seal{}, false
	}
	if s.nonce, err = strconv.ParseUint(f[3], 16, 64); err != nil {
		return seal{}, false
	}
	if s.client, err = url.QueryUnescape(f[5]); err != nil {
		return seal{}, false
	}
	s.to, s.time, s.secure = f[1], time.Duration(ms)*time.Millisecond, f[4] == "https"
	return s, true
}

// sign puts the seal on a request to another server.
func (p *Peers) sign(s *seal, out *http.Request) {
	text := s.String()
	out.Header.Set(sealHeader, text+" "+p.sealCode(text, out, out.URL.RequestURI()))
}

// verify returns the seal of a request of another server, or why it is refused. If the seal has only
// expired, it returns that too.
func (p *Peers) verify(r *http.Request) (s seal, refusal string) {
	values := r.Header[sealHeader]
	if len(values) != 1 {
		return seal{}, forged
	}
	i := strings.LastIndexByte(values[0], ' ')
	if i < 0 {
		return seal{}, forged
	}
	text := values[0][:i]
	if !hmac.Equal([]byte(values[0][i+1:]), []byte(p.sealCode(text, r, r.RequestURI))) {
		return seal{}, forged
	}
	s, ok := parseSeal(text)
	now := time.Since(p.began)
	switch age := now - s.time; {
	case !ok:
		return seal{}, forged
	case s.to != p.self.ID.String():
		return seal{}, misguided
	case age > maxAge || age < -maxAhead:
		return s, expired
	case !p.seen.add(s.nonce, now):
		return seal{}, replayed
	}
	return s, ""
}

// sealCode returns the code of a seal: it covers the head of the request, except for what Transports
// and Servers write and read on their own.
func (p *Peers) sealCode(text string, r *http.Request, uri string) string {
	fields := []string{sealContext, text, r.Method, uri, r.Host, strconv.FormatInt(r.ContentLength, 10)}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name == sealHeader || name == "Content-Length" {
			continue
		}
		for _, value := range r.Header[name] {
			if value != "" || name != "User-Agent" { // an empty one keeps Go from sending its own
				fields = append(fields, name, value)
			}
		}
	}
	return p.code(fields...)
}

// code returns the code that proves that whoever made it knows the secret.
func (p *Peers) code(fields ...string) string {
	h := hmac.New(sha256.New, []byte(p.opts.Secret))
	var size [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(size[:], uint64(len(f)))
		h.Write(size[:])
		io.WriteString(h, f)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// tell puts the time into the refusal of a seal that is too old.
func (p *Peers) tell(h http.Header, s seal) {
	now := strconv.FormatInt(time.Since(p.began).Milliseconds(), 10)
	h.Set(clockHeader, now+" "+p.clockCode(now, s.nonce))
}

// learn takes the time from a refusal. It returns false if that does not say it.
func (p *Peers) learn(o *owner, h http.Header, nonce uint64) bool {
	text, code, _ := strings.Cut(h.Get(clockHeader), " ")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !hmac.Equal([]byte(code), []byte(p.clockCode(text, nonce))) {
		return false
	}
	now := time.Since(p.began)
	o.clock.Store(&clock{offset: time.Duration(ms)*time.Millisecond - now, at: now})
	return true
}

func (p *Peers) clockCode(now string, nonce uint64) string {
	return p.code(clockContext, now, strconv.FormatUint(nonce, 16))
}

// randomNonce returns the first nonce of a server. It counts on from there, so servers do not meet.
func randomNonce() uint64 { return rand.Uint64() }

// nonces remembers which nonces were used, for as long as their seals are valid.
type nonces struct {
	mu         sync.Mutex
	young, old map[uint64]struct{}
	turned     time.Duration // when young began
}

// add returns false if the nonce was used before.
func (n *nonces) add(nonce uint64, now time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.young == nil || now-n.turned > maxAge+maxAhead {
		n.young, n.old = map[uint64]struct{}{}, n.young
		n.turned = now
	}
	_, isYoung := n.young[nonce]
	_, isOld := n.old[nonce]
	n.young[nonce] = struct{}{}
	return !isYoung && !isOld
}
