package ws

import (
	"net/http"
	"strings"
)

// SameOrigin reports whether the request comes from a page of the host it is
// sent to, or from no page at all: browsers always send Origin, and only they
// lend a user's cookies to other people's pages.
//
// Host and port must be equal. The scheme is not compared, because behind a
// proxy the server cannot know the one its pages were loaded with; it decides
// what a missing port stands for.
func SameOrigin(r *http.Request) bool {
	if len(r.Header["Origin"]) == 0 {
		return true
	}
	value, ok := single(r.Header, "Origin")
	if !ok {
		return false
	}
	scheme, hostport, ok := strings.Cut(value, "://")
	if !ok { // among them "null", which any page can have
		return false
	}
	var port string
	switch strings.ToLower(scheme) {
	case "http":
		port = "80"
	case "https":
		port = "443"
	default:
		return false
	}
	originHost, originPort, ok := splitHostPort(hostport, port)
	if !ok {
		return false
	}
	host, hostPort, ok := splitHostPort(r.Host, port)
	return ok && strings.EqualFold(originHost, host) && originPort == hostPort
}

// splitHostPort splits what an origin has after its scheme. It refuses
// everything else: users, paths, queries, escapes.
func splitHostPort(s, defaultPort string) (host, port string, ok bool) {
	host, port = s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
	}
	name := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") { // IPv6
		name = strings.ReplaceAll(host[1:len(host)-1], ":", "")
	}
	return host, port, isEach(name, isHostByte) && isEach(port, isDigit)
}

func isHostByte(c byte) bool { return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' }
