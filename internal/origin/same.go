package origin

import (
	"net/http"
	"strings"
)

// Same reports whether a page of the host that the request is sent to made it, or no page at all.
// Browsers send Origin if a page of another host could read the answer, or sends something. Only
// browsers send a user's cookies on behalf of other people's pages.
//
// Host and port must be equal. Same does not compare the scheme, because behind a proxy the server
// cannot know the scheme that its pages were loaded with. The origin's scheme decides the default
// port.
func Same(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	scheme, hostport, ok := strings.Cut(origins[0], "://")
	if !ok { // this includes "null", which any page can have
		return false
	}
	port := defaultPort(scheme)
	if port == "" {
		return false
	}
	originHost, originPort, ok := splitHostPort(hostport, port)
	if !ok {
		return false
	}
	host, hostPort, ok := splitHostPort(r.Host, port)
	return ok && strings.EqualFold(originHost, host) && originPort == hostPort
}

// defaultPort returns the default port of the scheme, or "".
func defaultPort(scheme string) string {
	switch strings.ToLower(scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// splitHostPort splits the part of an origin after its scheme. It refuses everything else: users,
// paths, queries, escapes.
func splitHostPort(s, defaultPort string) (host, port string, ok bool) {
	host, port = s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
	}
	name := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") { // IPv6
		name = strings.ReplaceAll(host[1:len(host)-1], ":", "")
	}
	return host, port, consistsOf(name, hostCharacters) && consistsOf(port, digits)
}

const (
	digits         = "0123456789"
	letters        = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	hostCharacters = letters + digits + "-._"
)

// consistsOf reports whether s is not empty and contains only the characters.
func consistsOf(s, characters string) bool { return s != "" && strings.Trim(s, characters) == "" }
