package app

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/nats/embedded"
)

// peersOf returns the addresses of peers:host:port,host:port.
func peersOf(setting string) []string { return splitList(strings.TrimPrefix(setting, "peers:")) }

func checkPeers(setting string) error {
	for _, peer := range peersOf(setting) {
		host, port, err := net.SplitHostPort(peer)
		if err != nil {
			return err
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.Contains(host, "/") {
			return errNotAllowed
		}
	}
	_, err := allowed(0, len(peersOf(setting)) > 0)
	return err
}

// openPeers connects the servers with each other, without another program. The server listens at the
// first of the addresses that is its own and free.
func openPeers(setting, secret string, log *slog.Logger) (adapter.Bus, error) {
	peers := peersOf(setting)
	for _, peer := range peers {
		if !isOwn(peer) {
			continue
		}
		l, err := net.Listen("tcp", peer)
		if err != nil {
			log.Debug("this server does not listen at an address of its machine", "error", err)
			continue
		}
		l.Close()
		bus, err := embedded.New(&embedded.Options{Addr: peer, Peers: peers, Secret: secret, Logger: log})
		if errors.Is(err, embedded.ErrAddr) {
			continue // another server of this machine was faster
		}
		if err != nil {
			return nil, err
		}
		return bus, nil
	}
	return nil, errors.New("none of the addresses is this server's own and free: name this server's, too")
}

// isOwn reports whether an address is one of this machine.
func isOwn(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ips, err := net.LookupIP(host)
	if err != nil {
		return false
	}
	own, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(ips, func(ip net.IP) bool {
		return ip.IsLoopback() || slices.ContainsFunc(own, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(ip)
		})
	})
}
