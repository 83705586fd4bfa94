package app

import (
	"fmt"
	"net"
	"strings"
)

// banner says what the server is and which URL to open.
func (s *Server) banner(p *Ports) string {
	scheme := "http"
	if s.certs != nil {
		scheme = "https"
	}
	urls := addresses(scheme, p.Main.Addr())
	if names := s.config.ACMEDomains; len(names) > 0 {
		urls = nil
		for _, name := range names {
			if port := port(p.Main); port != "443" {
				name += ":" + port
			}
			urls = append(urls, "https://"+name+"/")
		}
	}
	text := fmt.Sprintf("Parley %s\n  open     %s\n  clients  Socket.IO at %s over %s\n  history  %s\n",
		version(), strings.Join(urls, "  "),
		s.config.Path, strings.Join(s.config.transports(), ", "), s.storedIn)
	text += s.whoMay()
	if s.node != nil {
		text += fmt.Sprintf("  cluster  %s over %s; other servers: %d\n", s.node.name, withoutPassword(s.config.Cluster), len(s.node.native.Nodes())-1)
	}
	if s.certs != nil {
		text += fmt.Sprintf("  TLS      %s\n", s.tlsFor())
	}
	if p.Plain != nil {
		text += fmt.Sprintf("  redirect %s\n", strings.Join(addresses("http", p.Plain.Addr()), "  "))
	}
	if p.Metrics != nil {
		text += fmt.Sprintf("  metrics  %s\n", strings.Join(addresses("http", p.Metrics.Addr()), "  "))
	}
	return text
}

// whoMay says whether clients have to prove who they are, and what to do first.
func (s *Server) whoMay() string {
	const first = "parley operator add NAME --admin"
	switch a := s.gate.access; {
	case !a.Closed():
		return "  access   open: everybody who reaches this address is who they say. To close it: " + first + "\n"
	case !a.Answers():
		return "  access   closed. Nobody can answer yet: " + first + "\n"
	default:
		return "  access   closed\n"
	}
}

// addresses returns the URLs of the server.
func addresses(scheme string, listening net.Addr) []string {
	if listening.Network() == "unix" {
		return []string{socketPrefix + listening.String()}
	}
	tcp, ok := listening.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return []string{scheme + "://" + listening.String() + "/"}
	}
	urls := []string{fmt.Sprintf("%s://localhost:%d/", scheme, tcp.Port)}
	all, _ := net.InterfaceAddrs() // if this fails, localhost is enough
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			urls = append(urls, fmt.Sprintf("%s://%s:%d/", scheme, n.IP, tcp.Port))
		}
	}
	return urls
}

// port returns the server's port number. For a Unix socket behind a proxy, that is the port of
// https.
func port(l net.Listener) string {
	if _, port, err := net.SplitHostPort(l.Addr().String()); err == nil {
		return port
	}
	return "443"
}
