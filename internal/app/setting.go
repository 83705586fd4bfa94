package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/target"
)

// setting is a row of the table that flags, environment, file and reference share.
type setting struct {
	section string // in the reference; set on the first setting of a section
	name    string
	def     string
	doc     string
	value
}

// value stores a setting's value.
type value struct {
	set func(string) error // the error says what is allowed: "a duration such as 25s"
	yes bool               // the flag may stand without a value

	show func(string) string // what lists of settings show of a secret value, which errors do not repeat; nil: all of it
}

// settings returns the table, bound to c.
func (c *Config) settings() []setting {
	return []setting{
		{"Server", "addr", "", "Address to listen on, over TCP and, for WebTransport, UDP. If left out: `127.0.0.1:8080`; with TLS `:443`; with a self-signed certificate `127.0.0.1:8443`. An address without a host, such as `:8080`, means all addresses of the machine. `unix:/run/parley.sock` is a Unix socket for a proxy on this machine. The server's user and group may connect to it, and such connections count as coming from 127.0.0.1, for example for `trusted-proxies`.", addressOr(&c.Addr, "unix:/run/parley.sock", isSocket)},
		{"", "allowed-hosts", "", "Names under which clients reach the server, separated by commas: `chat.example.com,*.example.net`. `*` means all names. Requests for another host get 421. Addresses, `localhost` and the names of `acme-domains` are always allowed. If left out, the server allows no other names if it listens on loopback or has `acme-domains`, and otherwise all. A Unix socket allows all names. A proxy forwards the names that clients use, so name them here if it connects to loopback.", hostNames(&c.AllowedHosts)},
		{"", "metrics-addr", "", "Address of a port of its own for `/metrics`, such as `127.0.0.1:9100`, or `unix:/run/parley/metrics.sock`. It serves `/healthz` and `/readyz` too. If left out, `addr` serves the metrics too.", addressOr(&c.MetricsAddr, "unix:/run/parley/metrics.sock", isSocket)},
		{"", "data", "parley-data", "Directory for the messages. The server creates it if it does not exist. `memory` keeps messages only in memory. `postgres://user:password@host/database` is a PostgreSQL database, which the servers of a cluster share.", place(&c.Data)},
		{"", "state-dir", "", "Directory for what is this server's own: the socket for commands, and certificates. If left out, it is the directory of `data`; if `data` is a database, `parley-data`.", optional(&c.StateDir)},
		{"", "min-free-disk", "", "How much of the disk stays free. With less, the server refuses messages (`unavailable`) before the disk is full, and `/readyz` answers 503. It accepts them again when a quarter more is free. If left out: 64 MiB, but at most 5 % of the file system. 0 means that the server stores messages until nothing is free.", minFree(&c.MinFreeDisk)},
		{"", "shutdown-timeout", "20s", "How long a shutdown may take. The server tells its clients, and sends and stores what is queued.", duration(&c.ShutdownTimeout, 5*time.Minute)},
		{"", "log-level", "info", "`debug`, `info`, `warn` or `error`.", level(&c.LogLevel)},
		{"", "log-format", "text", "`text` or `json`. The log goes to standard error.", oneOf(&c.LogFormat, "text", "json")},

		{"TLS", "tls-cert", "", "PEM file with a certificate and its chain. It turns on TLS. The server reads it again when it changes.", optional(&c.TLSCert)},
		{"", "tls-key", "", "PEM file with the certificate's key.", optional(&c.TLSKey)},
		{"", "acme-domains", "", "Names, separated by commas, for which the server gets certificates from an ACME authority. By setting this you agree to the authority's terms of service. Under each name, the authority must be able to reach port 443 or 80 of this server.", domains(&c.ACMEDomains)},
		{"", "acme-email", "", "Email address at which the authority may contact you.", optional(&c.ACMEEmail)},
		{"", "acme-directory", "", "URL of the authority; Let's Encrypt if left out.", httpsURL(&c.ACMEDirectory)},
		{"", "acme-root", "", "PEM file with the root certificates to trust for the authority; the system's if left out.", optional(&c.ACMERoot)},
		{"", "tls-self-signed", "false", "For development: TLS with a certificate for `localhost`. The server makes it at the first start and keeps it with the data.", boolean(&c.TLSSelfSigned)},
		{"", "http-redirect", "", "TCP address at which the server redirects requests to TLS and answers the ACME authority; `off` means none. If left out: `:80` if `addr` is left out too and TLS is not self-signed.", addressOr(&c.HTTPRedirect, redirectOff, func(s string) bool { return s == redirectOff })},

		{"Socket.IO", "path", "/socket.io/", "Path of Socket.IO, for clients and for the server's own page.", urlPath(&c.Path)},
		{"", "transports", "polling,websocket,sse,webtransport", "Transports that clients may use. WebTransport requires TLS and uses the UDP port with the same number.", listOf(&c.Transports, "polling", "websocket", "sse", "webtransport")},
		{"", "allow-eio3", "true", "Also let clients of Socket.IO 2 connect, over Engine.IO 3.", boolean(&c.AllowEIO3)},
		{"", "jsonp", "true", "Let pages poll with scripts and forms (JSONP), which very old browsers and some networks need. `cors-origins` applies to pages of other sites there too.", boolean(&c.JSONP)},
		{"", "ping-interval", "25s", "Time from a client's pong to the next ping. Feeds get a keep-alive comment at the same interval, but at least every 20 s.", duration(&c.PingInterval, time.Hour)},
		{"", "ping-timeout", "20s", "Time for the pong. A client that is silent for longer counts as gone.", duration(&c.PingTimeout, time.Hour)},
		{"", "connect-timeout", "10s", "Time from a client's handshake to its first packet that joins a namespace, which clients send at once.", duration(&c.ConnectTimeout, time.Hour)},
		{"", "compression", "false", "Compress messages of 1 KiB and more on WebSockets. It costs memory and CPU.", boolean(&c.Compression)},
		{"", "cors-origins", "", "Other sites whose pages may connect, such as `https://example.com`, separated by commas; `*` means all sites.", origins(&c.CORSOrigins)},
		{"", "cors-credentials", "false", "Let pages of those sites send cookies.", boolean(&c.CORSCredentials)},
		{"", "feed-lifetime", "1h", "Maximum duration of a feed of Server-Sent Events. Each ends after 80 to 100 % of it, and its client continues with a new feed.", duration(&c.FeedLifetime, 24*time.Hour)},
		{"", "trusted-proxies", "", "Networks or addresses of proxies, separated by commas: `127.0.0.1,10.0.0.0/8`. The server takes clients' addresses from their `X-Forwarded-For` and ignores this header from others.", networks(&c.TrustedProxies)},

		{"Limits", "max-connections", "100000", "Maximum number of connections. Feeds have a separate limit of the same size. 0 means no limit.", integer(&c.MaxConnections, 0, 1<<31-1)},
		{"", "max-connections-per-address", "5000", "Maximum number of connections from one IPv4 address or one /64 network of IPv6. Feeds have a separate limit of the same size, and so has WebTransport. 0 means no limit. This machine is exempt, and so are `trusted-proxies` themselves. TCP connections may be four times as many. Limits of how many connections may begin, of what they may read together, of their HTTP requests, and of the rooms that they may be in, follow from this setting; `docs/reliability.md` lists them. Behind any other proxy, all clients have the proxy's address.", integer(&c.MaxConnectionsPerAddress, 0, 1<<31-1)},
		{"", "max-pending-connections", "20000", "Maximum number of connections that wait for the client to join. At the limit, the oldest of them makes room for a newer one: that of an address with more of them than others, if there is one. 0 means no limit.", integer(&c.MaxPendingConnections, 0, 1<<31-1)},
		{"", "max-pending-per-address", "0", "The same for one address, with the same exemptions as above.", integer(&c.MaxPendingPerAddress, 0, 1<<31-1)},
		{"", "events-per-second", "50", "Events per second that one client may send, with bursts of two seconds' worth. The server reads more slowly from a client that sends more; nothing is lost. The limits of messages, joins, pages, typing and presence follow from this setting; `docs/reliability.md` lists them. 0 turns all of these limits off.", number(&c.EventsPerSecond)},
		{"", "bytes-per-second", "256KiB", "Bytes per second that one client may send, and that all clients together may send into one room, with the same rules. At most `max-outbox`. Decompression may add four times as much to them. 0 turns all limits of bytes per second off.", size(&c.BytesPerSecond, 0, 1<<40)},
		{"", "rooms-per-hour", "1000", "New rooms per hour from one address, with bursts of an hour's worth, and the exemptions of `max-connections-per-address`. A room begins with its first message; beyond the limit that message is refused (`rate_limited`). 0 means no limit.", integer(&c.RoomsPerHour, 0, 1<<31-1)},
		{"", "stored-per-hour", "64MiB", "Bytes of messages per hour that the server stores for one address, with all that the database needs for them, with the same rules. 0 means no limit.", size(&c.StoredPerHour, 0, 1<<50)},
		{"", "max-payload", "1MB", "Maximum size of one packet after decompression, or of one HTTP request's body. A client that sends more is disconnected or gets 413.", size(&c.MaxPayload, 1<<10, 1<<30)},
		{"", "max-outbox", "1MiB", "How much may be queued for one client or feed. Once a quarter of it is queued, a room's messages wait in the store until the client has received that. A client for which more is queued, and that receives nothing, is disconnected.", size(&c.MaxOutbox, 64<<10, 1<<30)},
		{"", "max-memory", "256MiB", "How much may be held for all clients together: queued for them, waiting to be handled, and in incomplete messages. For one address, a quarter of it, with the exemptions of `max-connections-per-address`. Over the limit, the clients are disconnected for which the most is held.", size(&c.MaxMemory, 16<<20, 1<<50)},
		{"", "max-rooms", "128", "Maximum number of rooms that one client may be in at the same time.", integer(&c.MaxRooms, 1, 1<<20)},

		{"Conversations", "max-message", "64KiB", "Maximum size of one message, as compact JSON.", size(&c.MaxMessage, 1, history.MaxMessage)},
		{"", "page-size", "50", "Number of messages in a page of history if the client gives no limit.", integer(&c.PageSize, 1, history.MaxLimit)},
		{"", "max-page-size", strconv.Itoa(history.MaxLimit), "Maximum number of messages in a page.", integer(&c.MaxPage, 1, history.MaxLimit)},
		{"", "edit-window", "24h", "How long users may change and delete their messages. 0 means never. Operators may always.", durationOrZero(&c.EditWindow, 100*365*24*time.Hour)},
		{"", "max-open-conversations", "1", "How many open conversations a user may have. Who starts another one gets the newest open one instead.", integer(&c.MaxOpenConversations, 1, 1000)},
		{"", "preview", "false", "Show operators what visitors are typing before they send it. Tell your visitors if you turn this on.", boolean(&c.Preview)},
		{"", "search", "false", "Keep an index of the words of all messages, so that operators can search in all rooms. It takes about as much disk space as the messages. Searching in one room needs no index.", boolean(&c.Search)},

		{"", "retention", "0", "After how long messages are deleted, with the notes of that time: `90d`, or `36h`. 0 means never. It is done every hour. Backups keep what they have.", age(&c.Retention)},
		{"", "retention-messages", "0", "How many of the newest messages of a room stay. 0 means all.", integer(&c.RetentionMessages, 0, 1<<31-1)},
		{"", "retention-closed-only", "false", "Delete old messages only in conversations that are closed, and in rooms that belong to nobody.", boolean(&c.RetentionClosedOnly)},

		{"Cluster", "cluster", "", "What connects this server with others, so that they act as one, as a URL: Redis (`redis://10.0.0.5:6379`, `rediss://` with TLS, `?master_set=NAME` with Sentinels), NATS (`nats://10.0.0.5:4222`, several with commas between them), PostgreSQL (`postgres://parley@10.0.0.6/parley`, which may be that of `data`), or nothing but the servers themselves (`peers:10.0.0.5:6222,10.0.0.6:6222`; each listens at the first of these addresses that is its own and free). All servers use the same `data`, which then is a PostgreSQL database. `docs/cluster.md` helps to choose.", clusterURL(&c.Cluster)},
		{"", "cluster-name", "", "Name of this server in its cluster, different from those of the others. If left out, it is the name of the machine and a suffix, which the server keeps in `state-dir`.", nodeName(&c.ClusterName)},
		{"", "cluster-addr", "", "Address for the other servers of the cluster, over TCP, such as `10.0.0.7:8081`. They pass on what clients of this one send to them, so that a proxy in front may send each request to any server. Clients need not reach it. If left out, it is the host of `addr` and a free port. Of an address without a host, the others are told the one at which `cluster` sees this machine.", internalAddress(&c.ClusterAddr)},
		{"", "cluster-secret", "", "Secret of at least 32 bytes with which the servers prove to each other who they are. If left out, the first one makes it, and `data` keeps it for all. Better give this in `cluster-secret-file` than on a command line.", secretText(&c.ClusterSecret)},
		{"", "cluster-secret-file", "", "File with that secret.", optional(&c.ClusterSecretFile)},
		{"", "cluster-wire", wireNative, "What the servers speak about sockets: `native`, or with Socket.IO servers on Node.js among them what those speak: `redis-adapter` (`createAdapter` of `@socket.io/redis-adapter`) or `redis-adapter-sharded` (`createShardedAdapter`).", oneOf(&c.ClusterWire, wireNative, wireRedis, wireSharded)},
		{"", "cluster-receive", "", "A second wire on which this server receives, while the servers of a running cluster change from one `cluster-wire` to another, one after the other: `native`, `redis-adapter` or `redis-adapter-sharded`. The proxy in front needs sticky sessions until all servers have left this out.", anotherWire(&c.ClusterReceive)},
		{"", "cluster-interest", interestAll, "With `redis-adapter`, which broadcasts the server receives: `all`, or those to `rooms` that its clients are in.", oneOf(&c.ClusterInterest, interestAll, interestRooms)},

		{"Access", "visitors", "false", "Let people chat who have no account: the server makes up a user for each browser, and signs its token. Nothing is stored before the first message.", boolean(&c.Visitors)},
		{"", "widget-origins", "", "Sites whose pages may ask for visitors' tokens, such as `https://shop.example`, separated by commas; `*` means all sites. The server's own page always may.", origins(&c.WidgetOrigins)},
		{"", "open-rooms", "", "Rooms that everybody with an identity may use, and the rights there, separated by commas: `news=r,lounge-*=rwp`. A room may be a prefix that ends with `*`, and contain `{sub}` for the user's id, but not directly before the `*`. The rights are `r` (read), `w` (write), `p` (see who is there) and `m` (manage).", grants(&c.OpenRooms)},
		{"", "token-secret", "", "Secrets that sign the tokens of your users with HS256, separated by commas; each at least 32 bytes. The first one is for `parley token create`; all of them verify, so you can change a secret without signing anybody out. Better give this in `token-secret-file` than on a command line.", secrets(&c.TokenSecrets)},
		{"", "token-secret-file", "", "File with such secrets, one per line.", optional(&c.TokenSecretFile)},
		{"", "token-keys", "", "Files with public keys, separated by commas, whose owners sign tokens with RS256, PS256, ES256 or EdDSA: PEM or JWK. Write `NAME=FILE` to give a key the `kid` NAME.", listOfAny(&c.TokenKeys)},
		{"", "token-issuer", "", "The issuer (`iss`) that tokens of `token-secret` and `token-keys` must have. If left out, it does not matter.", optional(&c.TokenIssuer)},
		{"", "jwks", "", "Identity providers whose tokens count, as `ISSUER=URL` of their key set, separated by commas: `https://id.example=https://id.example/jwks.json`. The server reads the keys again every hour, and keeps them while a provider is down.", keySets(&c.JWKS)},
		{"", "token-audience", "parley", "The audience (`aud`) that tokens must have. Tokens signed with a `token-secret` may have none.", text(&c.TokenAudience, "a name")},
		{"", "token-max-age", "24h", "How far away the expiry (`exp`) of a token may be.", duration(&c.TokenMaxAge, 365*24*time.Hour)},
		{"", "token-type", "", "The type (`typ`) that tokens must have, such as `at+jwt`. If left out, it does not matter.", optional(&c.TokenType)},
		{"", "insecure-open", "false", "Without any of `visitors`, `token-secret`, `token-secret-file`, `token-keys`, `jwks`, and an operator (`parley operator add`), the server is open: it believes who clients say they are. Then it refuses to listen where others reach it, unless you insist with this setting.", boolean(&c.InsecureOpen)},
	}
}

// parsed stores the result of parse. want describes the allowed values.
func parsed[T any](to *T, want string, parse func(string) (T, error)) value {
	return value{set: func(s string) error {
		v, err := parse(s)
		if err != nil {
			return errors.New(want)
		}
		*to = v
		return nil
	}}
}

var errNotAllowed = errors.New("not allowed")

// allowed returns v, or an error if ok is false.
func allowed[T any](v T, ok bool) (T, error) {
	if !ok {
		return v, errNotAllowed
	}
	return v, nil
}

func text(to *string, want string) value {
	return parsed(to, want, func(s string) (string, error) { return allowed(s, s != "") })
}

func optional(to *string) value {
	return parsed(to, "", func(s string) (string, error) { return s, nil })
}

func httpsURL(to *string) value {
	return parsed(to, "a URL that begins with https://", func(s string) (string, error) {
		u, err := url.Parse(s)
		return allowed(s, s == "" || err == nil && u.Scheme == "https" && u.Host != "")
	})
}

// addressOr accepts an address or another kind of value, which want describes. An empty string
// means that the setting was left out.
func addressOr(to *string, want string, other func(string) bool) value {
	return parsed(to, "host:port, such as 127.0.0.1:8080 or :8080, or "+want, func(s string) (string, error) {
		if s == "" || other(s) {
			return s, nil
		}
		_, port, err := net.SplitHostPort(s)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		return s, err
	})
}

func urlPath(to *string) value {
	return parsed(to, "a path that begins and ends with a slash, such as /socket.io/", func(s string) (string, error) {
		return allowed(s, len(s) > 2 && s == path.Clean("/"+s)+"/" && !strings.ContainsAny(s, " ?#%{}"))
	})
}

func duration(to *time.Duration, most time.Duration) value {
	want := fmt.Sprintf("a duration such as 25s or 1m30s, from 1ms to %gm", most.Minutes())
	return parsed(to, want, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, err
		}
		return allowed(d, d >= time.Millisecond && d <= most)
	})
}

// durationOrZero accepts 0 as well.
func durationOrZero(to *time.Duration, most time.Duration) value {
	return value{set: func(s string) error {
		if s == "0" {
			*to = 0
			return nil
		}
		return duration(to, most).set(s)
	}}
}

// age accepts 0, and days as well.
func age(to *time.Duration) value {
	return parsed(to, "an age such as 90d or 36h, from 1h to 36500d, or 0", func(s string) (time.Duration, error) {
		if days, ok := strings.CutSuffix(s, "d"); ok {
			n, err := strconv.Atoi(days)
			return allowed(time.Duration(n)*24*time.Hour, err == nil && 1 <= n && n <= 36500)
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, err
		}
		return allowed(d, d == 0 || d >= time.Hour && d <= 36500*24*time.Hour)
	})
}

func boolean(to *bool) value {
	v := parsed(to, "true or false", func(s string) (bool, error) { return allowed(s == "true", s == "true" || s == "false") })
	v.yes = true
	return v
}

func integer(to *int, least, most int) value {
	return parsed(to, fmt.Sprintf("a whole number from %d to %d", least, most), func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, err
		}
		return allowed(n, least <= n && n <= most)
	})
}

func number(to *float64) value {
	return parsed(to, "a number such as 1000, or 0", func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, err
		}
		return allowed(f, f >= 0 && f <= 1e12)
	})
}

// units are the units of sizes. Longer names come first because they end with shorter ones.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

func size(to *int64, least, most int64) value {
	return parsed(to, fmt.Sprintf("a size such as 512KiB, 1MB or 65536, from %d to %d bytes", least, most), func(s string) (int64, error) {
		for _, u := range units {
			digits, ok := strings.CutSuffix(s, u.name)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil {
				return 0, err
			}
			return allowed(n*u.bytes, n >= 0 && n <= most/u.bytes && n*u.bytes >= least)
		}
		return 0, errNotAllowed
	})
}

// minFree sets sqlite.Options.MinFree. There, 0 is the default, and a negative number means nothing.
func minFree(to *int64) value {
	bytes := size(to, 0, 1<<50)
	return value{set: func(s string) error {
		*to = 0
		if s == "" {
			return nil
		}
		err := bytes.set(s)
		if *to == 0 {
			*to = -1
		}
		return err
	}}
}

func level(to *slog.Level) value {
	return parsed(to, "debug, info, warn or error", func(s string) (l slog.Level, err error) {
		if err = l.UnmarshalText([]byte(s)); err == nil && strings.ContainsAny(s, "+-") {
			err = errNotAllowed // "info+2" is only for programs
		}
		return l, err
	})
}

func oneOf(to *string, choices ...string) value {
	return parsed(to, strings.Join(choices, " or "), func(s string) (string, error) { return allowed(s, slices.Contains(choices, s)) })
}

// splitList splits a string at commas. An empty string is an empty list.
func splitList(s string) []string {
	var parts []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func listOf(to *[]string, choices ...string) value {
	want := "one or more of " + strings.Join(choices, ", ")
	return parsed(to, want, func(s string) ([]string, error) {
		l := splitList(s)
		unknown := slices.ContainsFunc(l, func(part string) bool { return !slices.Contains(choices, part) })
		return allowed(l, len(l) > 0 && !unknown)
	})
}

func listOfAny(to *[]string) value {
	return parsed(to, "", func(s string) ([]string, error) { return splitList(s), nil })
}

// secrets does not repeat a value that it refuses.
func secrets(to *[]string) value {
	v := parsed(to, "secrets of at least 32 bytes, separated by commas", func(s string) ([]string, error) {
		l := splitList(s)
		short := slices.ContainsFunc(l, func(secret string) bool { return len(secret) < leastSecret })
		return allowed(l, !short)
	})
	v.show = hidden
	return v
}

// secretText is secrets for only one.
func secretText(to *string) value {
	v := parsed(to, "a secret of at least 32 bytes", func(s string) (string, error) { return allowed(s, s == "" || len(s) >= leastSecret) })
	v.show = hidden
	return v
}

// hidden shows that there is a secret.
func hidden(string) string { return "…" }

// leastSecret is the least length of a secret in bytes: that of the hash of HS256 (RFC 7518, 3.2).
const leastSecret = 32

func keySets(to *map[string]string) value {
	return parsed(to, "pairs such as https://id.example=https://id.example/jwks.json, separated by commas", func(s string) (map[string]string, error) {
		sets := make(map[string]string)
		for _, part := range splitList(s) {
			issuer, address, ok := strings.Cut(part, "=")
			u, err := url.Parse(address)
			if !ok || issuer == "" || err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && target.IsLoopback(u.Hostname())) {
				return nil, errNotAllowed
			}
			sets[issuer] = address
		}
		return sets, nil
	})
}

func grants(to *auth.Grants) value {
	return parsed(to, "rooms with rights such as news=r,lounge-*=rwp, with * at the end only and not after {sub}", func(s string) (auth.Grants, error) {
		var l auth.Grants
		for _, part := range splitList(s) {
			i := strings.LastIndexByte(part, '=')
			if i < 1 {
				return nil, errNotAllowed
			}
			rights, err := auth.ParseRights(part[i+1:])
			if err != nil {
				return nil, err
			}
			pattern := part[:i]
			if strings.Contains(strings.TrimSuffix(pattern, "*"), "*") || strings.HasSuffix(pattern, "{sub}*") { // the rooms of user u12 would be those of u1, too
				return nil, errNotAllowed
			}
			l = append(l, auth.Grant{Pattern: pattern, Rights: rights})
		}
		return l, nil
	})
}

func origins(to *[]string) value {
	return value{set: func(s string) error {
		l := splitList(s)
		for i, o := range l {
			l[i] = asciiOrigin(o)
			if err := origin.Check(l[i]); err != nil {
				return fmt.Errorf("origins such as https://example.com, separated by commas, or *: %w", err)
			}
		}
		*to = l
		return nil
	}}
}

// asciiOrigin returns an origin with its host in the form in which it is sent, if possible.
func asciiOrigin(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" {
		return origin
	}
	host, err := asciiHost(u.Hostname())
	if err != nil {
		return origin
	}
	return strings.Replace(origin, u.Hostname(), host, 1)
}

// asciiHost returns a name in the form in which it is sent: in lower case, and xn--mller-kva for
// müller.
func asciiHost(name string) (string, error) {
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return idna.Lookup.ToASCII(name)
	}
	return strings.ToLower(name), nil
}

func networks(to *[]netip.Prefix) value {
	return parsed(to, "networks such as 10.0.0.0/8 or addresses, separated by commas", func(s string) ([]netip.Prefix, error) {
		var l []netip.Prefix
		for _, part := range splitList(s) {
			p, err := netip.ParsePrefix(part)
			if err != nil {
				var a netip.Addr
				if a, err = netip.ParseAddr(part); err != nil {
					return nil, err
				}
				p = netip.PrefixFrom(a, a.BitLen())
			}
			l = append(l, p)
		}
		return l, nil
	})
}

func domains(to *[]string) value {
	return parsed(to, "domain names such as chat.example.com, separated by commas", func(s string) ([]string, error) {
		l := splitList(s)
		for i, part := range l {
			name, err := asciiHost(part)
			if err != nil || !strings.Contains(strings.Trim(name, "."), ".") || strings.ContainsFunc(name, notOfHost) || strings.Contains(name, ":") || net.ParseIP(name) != nil {
				return nil, errNotAllowed
			}
			l[i] = name
		}
		return l, nil
	})
}

// hostNames accepts names without ports, "*." before a name, and "*".
func hostNames(to *[]string) value {
	return parsed(to, "names such as chat.example.com or *.example.com, without ports and separated by commas, or *", func(s string) ([]string, error) {
		l := splitList(s)
		for i, part := range l {
			if part == "*" {
				continue
			}
			name, below := strings.CutPrefix(part, "*.")
			name, err := asciiHost(strings.TrimSuffix(name, "."))
			if err != nil || name == "" || strings.ContainsFunc(name, notOfHost) || strings.Contains(name, ":") {
				return nil, errNotAllowed
			}
			if l[i] = name; below {
				l[i] = "*." + name
			}
		}
		return l, nil
	})
}
