package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

// rights are those that docs/cluster.md says a user of Redis needs.
const rights = "resetchannels &parley:* -@all +@connection +publish +subscribe +unsubscribe " +
	"+spublish +ssubscribe +sunsubscribe +cluster|slots +cluster|shards +role"

// run runs the suite of drivers on a Redis.
func run(t *testing.T, options rueidis.ClientOption) {
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		return adaptertest.Network{Connect: func() adapter.Bus { return connectTo(t, options) }}
	})
}

// Some proxies speak RESP2 only.
func TestRESP2(t *testing.T) {
	run(t, rueidis.ClientOption{InitAddress: []string{redistest.Start(t).Addr}, AlwaysRESP2: true})
}

func TestRESP2Sharded(t *testing.T) {
	run(t, rueidis.ClientOption{InitAddress: redistest.StartCluster(t, 3, false).Addrs(), AlwaysRESP2: true})
}

// A user with the documented rights can use everything, and another one is refused.
func TestAccess(t *testing.T) {
	single, c := redistest.Start(t), redistest.StartCluster(t, 3, false)
	for _, s := range append([]*redistest.Server{single}, c.Masters...) {
		if got := s.Do("ACL SETUSER parley on >secret " + rights); got != "+OK" {
			t.Fatal(got)
		}
		if got := s.Do("ACL SETUSER default off"); got != "+OK" {
			t.Fatal(got)
		}
	}
	for name, addrs := range map[string][]string{"Single": {single.Addr}, "Sharded": c.Addrs()} {
		t.Run(name, func(t *testing.T) {
			run(t, rueidis.ClientOption{InitAddress: addrs, Username: "parley", Password: "secret"})
		})
		for _, wrong := range []rueidis.ClientOption{{}, {Username: "parley", Password: "wrong one"}} {
			wrong.InitAddress = addrs
			if b, err := redis.New(wrong, &redis.Options{Logger: quiet}); err == nil {
				b.Close()
				t.Errorf("%s: %q was let in", name, wrong.Username)
			} else if strings.Contains(err.Error(), "wrong one") {
				t.Errorf("the error tells the password: %v", err)
			}
		}
	}
}

// Over TLS, the client checks the server's certificate and shows its own.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	config := certificates(t, dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	s := redistest.Start(t, redistest.TLS, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "yes")
	options := rueidis.ClientOption{InitAddress: []string{s.Addr}, TLSConfig: config}
	run(t, options)
	for _, wrong := range []*tls.Config{{}, {RootCAs: config.RootCAs}, nil} {
		options.TLSConfig = wrong
		if b, err := redis.New(options, &redis.Options{Logger: quiet}); err == nil {
			b.Close()
			t.Errorf("it connected with %+v", wrong)
		}
	}
}

// certificates writes a certificate and its key, for the server and the client.
func certificates(t *testing.T, dir string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
}
