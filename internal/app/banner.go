package app

import (
	"fmt"
	"net"
	"strings"
)

// banner says what the server is and where to open it.
func (s *Server) banner(listening net.Addr) string {
	return fmt.Sprintf("Parley %s\n  open     %s\n  clients  Socket.IO at %s over %s\n  history  %s\n",
		version(), strings.Join(addresses(listening), "  "),
		s.config.Path, strings.Join(s.config.Transports, ", "), s.storedIn)
}

// addresses returns the URLs under which the server can be reached.
func addresses(listening net.Addr) []string {
	tcp, ok := listening.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return []string{"http://" + listening.String() + "/"}
	}
	urls := []string{fmt.Sprintf("http://localhost:%d/", tcp.Port)}
	all, _ := net.InterfaceAddrs() // without them localhost is enough
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			urls = append(urls, fmt.Sprintf("http://%s:%d/", n.IP, tcp.Port))
		}
	}
	return urls
}
