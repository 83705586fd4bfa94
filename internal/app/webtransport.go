package app

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"

	"github.com/parley-go/parley/internal/certs"
	"github.com/parley-go/parley/webtransport"
)

// hashPath is where pages in development find the certificate hash to trust for WebTransport.
const hashPath = "/certificate-hash"

func (s *Server) newWebTransport(p *Ports) *webtransport.Server {
	// The QUIC library would log this warning itself; docs/tls.md says what to do.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	o := &webtransport.Options{
		MaxConnections:  orUnlimited(s.config.MaxConnections),
		MaxPerAddress:   s.config.MaxConnectionsPerAddress,
		ExemptAddresses: s.config.exemptAddresses(),
		Middleware: func(h http.Handler) http.Handler {
			return s.requests.guard(s.hostsOn(p.Main.Addr()).guard(h))
		},
	}
	return webtransport.NewServer(s.sockets, certs.Config(s.certs), o)
}

// certificateHash answers with the hash of the self-signed certificate: an element of the
// WebTransport option serverCertificateHashes, with its value in base64. The hash is not secret.
func (s *Server) certificateHash(w http.ResponseWriter, r *http.Request) {
	source, ok := s.certs.(*certs.SelfSigned)
	if !ok {
		notFound(w, r)
		return
	}
	hash := source.Hash()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Allow-Origin", "*")
	json.NewEncoder(w).Encode(struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	}{"sha-256", base64.StdEncoding.EncodeToString(hash[:])})
}
