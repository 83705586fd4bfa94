package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/parley-go/parley/history"
)

// listenInternal opens the port at which the other servers of the cluster reach this one. It returns the
// address that they are told, too.
func (c *Config) listenInternal() (l net.Listener, announced string, err error) {
	addr := c.ClusterAddr
	if addr == "" {
		host, _, err := net.SplitHostPort(c.Addr)
		if err != nil { // a Unix socket: a proxy on this machine
			host = "127.0.0.1"
		}
		addr = net.JoinHostPort(host, "0")
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		return nil, "", fmt.Errorf("cluster-addr: %w", err)
	}
	host, _, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = c.ownAddress()
	}
	return l, net.JoinHostPort(host, port(l)), nil
}

// ownAddress returns the address of this machine on the network of the engine.
func (c *Config) ownAddress() string {
	if u, err := url.Parse(c.Cluster); err == nil && u.Hostname() != "" {
		conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "1"))) // sends nothing
		if err == nil {
			defer conn.Close()
			return conn.LocalAddr().(*net.UDPAddr).IP.String()
		}
	}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// secretKind and secretID name the record with the secret of the cluster.
const secretKind, secretID = "cluster", "secret"

// clusterSecret returns the secret with which the servers of the cluster prove to each other who they
// are. If the settings have none, the first server makes one, and the store keeps it for all.
func (c *Config) clusterSecret(store history.Store) (string, error) {
	if c.ClusterSecretFile != "" {
		text, err := os.ReadFile(c.ClusterSecretFile)
		if err != nil {
			return "", fmt.Errorf("cluster-secret-file: %w", err)
		}
		secret := strings.TrimSpace(string(text))
		if len(secret) < leastSecret {
			return "", fmt.Errorf("cluster-secret-file: the secret needs at least %d bytes; openssl rand -hex 32 makes one", leastSecret)
		}
		return secret, nil
	}
	if c.ClusterSecret != "" {
		return c.ClusterSecret, nil
	}
	records, ok := store.(history.Records)
	if !ok {
		return "", errors.New("this store cannot keep the secret of a cluster: set cluster-secret")
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	kept, err := records.Record(ctx, secretKind, secretID)
	if errors.Is(err, history.ErrNotFound) {
		made, _ := json.Marshal(rand.Text() + rand.Text())
		_, err = records.PutRecords(ctx, history.Record{Kind: secretKind, ID: secretID, Value: made})
		if err == nil || errors.Is(err, history.ErrConflict) { // another server may have been first
			kept, err = records.Record(ctx, secretKind, secretID)
		}
	}
	var secret string
	if err == nil {
		err = json.Unmarshal(kept.Value, &secret)
	}
	if err != nil {
		return "", fmt.Errorf("the secret of the cluster: %w", err)
	}
	return secret, nil
}
