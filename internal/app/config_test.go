package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parley.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := configFile(t, `
		ping-interval = "1s"
		ping-timeout = "1s"
		max-rooms = 1
		compression = true
		events-per-second = 2.5
		cors-origins = ["https://a.example", "https://b.example:8443"]
	`)
	environ := []string{"HOME=/", "PARLEY_CONFIG=" + file, "PARLEY_PING_INTERVAL=2s", "PARLEY_PING_TIMEOUT=2s", "PARLEY_PORT=tcp://10.0.0.1:80"}
	c, err := app.LoadConfig(environ, map[string]string{"ping-interval": "3s", "max-payload": "2MiB"})
	if err != nil {
		t.Fatal(err)
	}
	if c.PingInterval != 3*time.Second || c.PingTimeout != 2*time.Second || c.MaxRooms != 1 || c.Addr != "127.0.0.1:8080" {
		t.Errorf("flag %v, environment %v, file %v, default %v", c.PingInterval, c.PingTimeout, c.MaxRooms, c.Addr)
	}
	if !c.Compression || c.EventsPerSecond != 2.5 || c.MaxPayload != 2<<20 || !slices.Equal(c.CORSOrigins, []string{"https://a.example", "https://b.example:8443"}) {
		t.Errorf("types: %+v", c)
	}
	c, err = app.LoadConfig(environ, map[string]string{"config": configFile(t, `max-rooms = 7`)})
	if err != nil || c.MaxRooms != 7 {
		t.Errorf("--config over PARLEY_CONFIG: %d, %v", c.MaxRooms, err)
	}
}

// Kubernetes sets these for a service parley, whose ports may have names, and for one named
// parley-admin. Variables that only resemble them are still mistakes.
func TestVariablesOfKubernetes(t *testing.T) {
	var theirs []string
	for _, prefix := range []string{"PARLEY_", "PARLEY_ADMIN_", "PARLEY_PAGE_SIZE_"} {
		for _, v := range []string{
			"SERVICE_HOST=10.0.0.11", "SERVICE_PORT=80", "SERVICE_PORT_HTTP_ALT=8080", "PORT=tcp://10.0.0.11:80",
			"PORT_80_TCP=tcp://10.0.0.11:80", "PORT_80_TCP_PROTO=tcp", "PORT_80_TCP_PORT=80", "PORT_80_TCP_ADDR=10.0.0.11",
			"SERVICE_HOST=fd00::1", "PORT=tcp://[fd00::1]:80", "PORT_443_UDP=udp://[fd00::1]:443", "PORT_443_UDP_ADDR=fd00::1",
		} {
			theirs = append(theirs, prefix+v)
		}
	}
	c, err := app.LoadConfig(append(theirs, "PARLEY_MAX_ROOMS=7"), nil)
	if err != nil || c.MaxRooms != 7 {
		t.Errorf("%d rooms, %v", c.MaxRooms, err)
	}
	for _, v := range []string{
		"PARLEY_ADMIN_PORT=80", "PARLEY_ADMIN_SERVICE_HOST=", "PARLEY_ADMIN_SERVICE_HOST=parley.example", "PARLEY_SERVICE_PORT=http",
		"PARLEY_PORT_80=tcp://10.0.0.11:80", "PARLEY_PORT_80_TCP_NAME=x", "PARLEY_ADMIN=tcp://10.0.0.11:80", "PARLEY_admin_SERVICE_PORT=80", "PARLEY_",
	} {
		name, _, _ := strings.Cut(v, "=")
		if _, err := app.LoadConfig([]string{v}, nil); err == nil || !strings.HasPrefix(err.Error(), name+": there is no such setting") {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// International names are converted to the form in which they are sent.
func TestInternationalNames(t *testing.T) {
	c, err := app.LoadConfig(nil, map[string]string{
		"cors-origins": "https://Müller.example:8443,http://straße.example,https://EXAMPLE.com,http://my_host:3000,http://[::1]:3000,*",
		"acme-domains": "chat.müller.example,CHAT.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"https://xn--mller-kva.example:8443", "http://xn--strae-oqa.example", "https://example.com", "http://my_host:3000", "http://[::1]:3000", "*"}
	if !slices.Equal(c.CORSOrigins, want) {
		t.Errorf("origins %q, want %q", c.CORSOrigins, want)
	}
	if want := []string{"chat.xn--mller-kva.example", "chat.example"}; !slices.Equal(c.ACMEDomains, want) {
		t.Errorf("domains %q, want %q", c.ACMEDomains, want)
	}
}

func TestConfigErrorsNameTheCulprit(t *testing.T) {
	for _, test := range []struct {
		name    string
		environ []string
		file    string
		flags   map[string]string
		want    string
	}{
		{name: "variable", environ: []string{"PARLEY_PING=1"}, want: "PARLEY_PING: there is no such setting"},
		{name: "port", environ: []string{"PARLEY_PORT=9000"}, want: "PARLEY_PORT: there is no such setting"},
		{name: "networks", flags: map[string]string{"trusted-proxies": "10.0.0.0/33"}, want: `--trusted-proxies: "10.0.0.0/33" is not allowed: want networks`},
		{name: "room of a user and others", flags: map[string]string{"open-rooms": "news=r,mine-{sub}*=rw"}, want: `--open-rooms: "news=r,mine-{sub}*=rw" is not allowed: want rooms with rights such as news=r`},
		{name: "star within a room", flags: map[string]string{"open-rooms": "a*b=r"}, want: `--open-rooms: "a*b=r" is not allowed: want rooms`},
		{name: "lower case variable", environ: []string{"PARLEY_addr=:1"}, want: "PARLEY_addr: there is no such setting"},
		{name: "value of a variable", environ: []string{"PARLEY_ADDR=8080"}, want: `PARLEY_ADDR: "8080" is not allowed: want host:port`},
		{name: "key", file: `pong-interval = "1s"`, want: "pong-interval: there is no such setting"},
		{name: "table", file: "[server]\naddr = ':1'", want: "server: there is no such setting"},
		{name: "value in the file", file: `max-rooms = "many"`, want: `max-rooms: "many" is not allowed: want a whole number from 1`},
		{name: "list of numbers", file: `transports = [1]`, want: "transports: want a list of strings"},
		{name: "date", file: `addr = 2020-01-01`, want: "addr: want a string"},
		{name: "not TOML", file: `addr`, want: `parley.toml: want TOML, such as data = "/var/lib/parley": toml: `},
		{name: "flag", flags: map[string]string{"shutdown-timeout": "1h"}, want: `--shutdown-timeout: "1h" is not allowed: want a duration such as 25s or 1m30s, from 1ms to 5m`},
		{name: "engine", flags: map[string]string{"cluster": "kafka://very-secret@host"}, want: "--cluster: want a URL such as redis://10.0.0.5:6379 or nats://10.0.0.5:4222 or postgres://parley@10.0.0.6/parley or peers:10.0.0.5:6222,10.0.0.6:6222"},
		{name: "bad URL", flags: map[string]string{"cluster": "redis://:very-secret@host:63 79"}, want: "--cluster: want redis://USER:PASSWORD@HOST:PORT/NUMBER"},
		{name: "option that Redis would ignore", flags: map[string]string{"cluster": "redis://:very-secret@host?master-set=x", "data": "postgres://h/d"}, want: "--cluster: want redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// with TLS; the options are addr, client_cache, client_name, db, dial_timeout, master_set, max_retries, protocol, skip_verify, write_timeout"},
		{name: "Redis nowhere", flags: map[string]string{"cluster": "redis://", "data": "postgres://h/d"}, want: "--cluster: want redis://USER:PASSWORD@HOST:PORT"},
		{name: "second URL of NATS", flags: map[string]string{"cluster": "nats://very-secret@h1,h2", "data": "postgres://h/d"}, want: "--cluster: want nats://USER:PASSWORD@HOST:PORT, or tls://; of several, all are whole URLs"},
		{name: "peers as a URL", flags: map[string]string{"cluster": "peers://10.0.0.5:6222,10.0.0.6:6222", "data": "postgres://h/d"}, want: "--cluster: want peers:HOST:PORT,HOST:PORT with all servers, and no slashes"},
		{name: "another database", flags: map[string]string{"data": "mysql://very-secret@host/d"}, want: "--data: want a directory, memory, or a URL such as postgres://"},
		{name: "another database of a cluster", flags: map[string]string{"cluster": "redis://h", "data": "mysql://very-secret@host/d"}, want: "--data: want a directory, memory, or a URL such as postgres://"},
		{name: "cluster with a directory", flags: map[string]string{"cluster": "redis://:very-secret@host"}, want: `cluster: the servers of a cluster need a store that all of them use, and the directory "parley-data" is this server's alone: set data to`},
		{name: "cluster in memory", flags: map[string]string{"cluster": "redis://:very-secret@host", "data": "memory"}, want: "would keep messages in its own memory: set data to"},
		{name: "secret without a cluster", flags: map[string]string{"cluster-secret": "very-secret-very-secret-very-secret"}, want: "cluster-secret: there is no cluster"},
		{name: "short secret", flags: map[string]string{"cluster-secret": "very-secret"}, want: "--cluster-secret: want a secret of at least 32 bytes"},
		{name: "address on a socket", flags: map[string]string{"cluster-addr": "unix:/run/x"}, want: `--cluster-addr: "unix:/run/x" is not allowed: want host:port`},
		{name: "secret with Node.js", flags: map[string]string{"cluster": "redis://h", "data": "postgres://h/d", "cluster-wire": "redis-adapter", "cluster-addr": ":1"}, want: "sticky sessions"},
		{name: "name of a server", flags: map[string]string{"cluster-name": "a b"}, want: `--cluster-name: "a b" is not allowed: want a name`},
		{name: "name without a cluster", flags: map[string]string{"cluster-name": "a"}, want: "cluster-name: there is no cluster"},
		{name: "Node.js over NATS", flags: map[string]string{"cluster": "nats://very-secret@h", "data": "postgres://h/d", "cluster-wire": "redis-adapter-sharded"}, want: "cluster-wire: servers on Node.js with this adapter are reached through Redis"},
		{name: "peers without a port", flags: map[string]string{"cluster": "peers:10.0.0.5", "data": "postgres://h/d"}, want: "--cluster: want peers:HOST:PORT"},
		{name: "interest", flags: map[string]string{"cluster": "redis://h", "data": "postgres://h/d", "cluster-interest": "rooms"}, want: "cluster-interest: only cluster-wire redis-adapter"},
		{name: "the same wire twice", flags: map[string]string{"cluster": "redis://h", "data": "postgres://h/d", "cluster-receive": "native"}, want: "cluster-receive: this server receives native anyway"},
		{name: "second wire over NATS", flags: map[string]string{"cluster": "nats://very-secret@h", "data": "postgres://h/d", "cluster-receive": "redis-adapter"}, want: "cluster-wire: servers on Node.js with this adapter are reached through Redis"},
		{name: "second wire with a secret", flags: map[string]string{"cluster": "redis://h", "data": "postgres://h/d", "cluster-receive": "redis-adapter", "cluster-addr": ":1"}, want: "sticky sessions"},
		{name: "second wire without a cluster", flags: map[string]string{"cluster-receive": "native"}, want: "cluster-receive: there is no cluster"},
		{name: "no second wire", flags: map[string]string{"cluster-receive": "both"}, want: `--cluster-receive: "both" is not allowed`},
		{name: "wire without a cluster", flags: map[string]string{"cluster-wire": "redis-adapter"}, want: "cluster-wire: there is no cluster"},
		{name: "no address", flags: map[string]string{"addr": "localhost"}, want: "--addr"},
		{name: "no socket", flags: map[string]string{"addr": "unix:"}, want: "or unix:/run/parley.sock"},
		{name: "redirect from a socket", flags: map[string]string{"http-redirect": "unix:/run/parley.sock"}, want: "--http-redirect"},
		{name: "WebTransport over a socket", flags: map[string]string{"addr": "unix:/run/parley.sock", "tls-self-signed": "true", "transports": "webtransport"}, want: "over a Unix socket"},
		{name: "name that is none", flags: map[string]string{"acme-domains": "a\u2028b.example"}, want: "want domain names"},
		{name: "host that is none", flags: map[string]string{"cors-origins": "https://a\u2028b.example"}, want: "--cors-origins"},
		{name: "no port", flags: map[string]string{"addr": "localhost:http"}, want: "--addr"},
		{name: "no data", flags: map[string]string{"data": ""}, want: "want a directory, memory, or a URL"},
		{name: "path", flags: map[string]string{"path": "socket.io"}, want: "begins and ends with a slash"},
		{name: "unclean path", flags: map[string]string{"path": "/a//b/"}, want: "--path"},
		{name: "transports", flags: map[string]string{"transports": "polling,smoke"}, want: "want one or more of polling, websocket, sse"},
		{name: "no transports", flags: map[string]string{"transports": " "}, want: "--transports"},
		{name: "boolean", flags: map[string]string{"compression": "yes"}, want: "want true or false"},
		{name: "level", flags: map[string]string{"log-level": "info+2"}, want: "want debug, info, warn or error"},
		{name: "format", flags: map[string]string{"log-format": "xml"}, want: "want text or json"},
		{name: "rate", flags: map[string]string{"events-per-second": "-1"}, want: "want a number"},
		{name: "not a rate", flags: map[string]string{"events-per-second": "NaN"}, want: "want a number"},
		{name: "unit", flags: map[string]string{"max-payload": "1TB"}, want: "want a size such as"},
		{name: "overflow", flags: map[string]string{"max-payload": "9223372036854775807KiB"}, want: "want a size such as"},
		{name: "too small", flags: map[string]string{"max-outbox": "1"}, want: "from 65536 to"},
		{name: "origin", flags: map[string]string{"cors-origins": "https://a.example/"}, want: "--cors-origins"},
		{name: "origin with wildcard", flags: map[string]string{"cors-origins": "https://*.a.example"}, want: "--cors-origins"},
		{name: "origin with its scheme's port", flags: map[string]string{"cors-origins": "https://b.example:8443,https://a.example:443"}, want: "--cors-origins"},
		{name: "credentials", flags: map[string]string{"cors-origins": "*", "cors-credentials": "true"}, want: "not together with cors-origins *"},
		{name: "message and payload", flags: map[string]string{"max-payload": "10KiB"}, want: "max-message: 65536 is more than max-payload, 10240"},
		{name: "pages", flags: map[string]string{"page-size": "10", "max-page-size": "9"}, want: "page-size: 10 is more than max-page-size, 9"},
		{name: "bytes and outbox", flags: map[string]string{"bytes-per-second": "8MiB"}, want: "bytes-per-second: 8388608 is more than max-outbox, 1048576"},
		{name: "key missing", flags: map[string]string{"tls-cert": "c"}, want: "set tls-key"},
		{name: "certificate missing", flags: map[string]string{"tls-key": "k"}, want: "set tls-cert"},
		{name: "two certificates", flags: map[string]string{"tls-self-signed": "true", "acme-domains": "a.example"}, want: "exclude each other"},
		{name: "wildcard", flags: map[string]string{"acme-domains": "*.example.com"}, want: "want domain names"},
		{name: "no domain", flags: map[string]string{"acme-domains": "localhost"}, want: "want domain names"},
		{name: "address for a domain", flags: map[string]string{"acme-domains": "10.0.0.1"}, want: "want domain names"},
		{name: "certificates in memory", flags: map[string]string{"acme-domains": "a.example", "data": "memory"}, want: "not with data in memory"},
		{name: "authority", flags: map[string]string{"acme-directory": "http://a.example"}, want: "want a URL that begins with https://"},
		{name: "redirect without TLS", flags: map[string]string{"http-redirect": ":80"}, want: "nothing to redirect to"},
		{name: "redirect", flags: map[string]string{"http-redirect": "on"}, want: "such as 127.0.0.1:8080 or :8080, or off"},
		{name: "path of feeds", flags: map[string]string{"path": "/rooms/x/"}, want: "the feeds are below /rooms/"},
		{name: "no file", flags: map[string]string{"config": "/nonexistent"}, want: "/nonexistent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			flags := map[string]string{}
			for k, v := range test.flags {
				flags[k] = v
			}
			if test.file != "" {
				flags["config"] = configFile(t, test.file)
			}
			_, err := app.LoadConfig(test.environ, flags)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "very-secret") {
				t.Errorf("error %v, want it to contain %q and no secret", err, test.want)
			}
		})
	}
}

// To update the file: go run ./cmd/parley help config > docs/configuration.md
func TestReferenceIsUpToDate(t *testing.T) {
	file, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != app.Reference() {
		t.Error("docs/configuration.md is not what parley help config prints")
	}
}

// An age can be given in days.
func TestAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "1d": 24 * time.Hour, "90d": 90 * 24 * time.Hour, "36h": 36 * time.Hour} {
		c, err := app.LoadConfig(nil, map[string]string{"retention": text})
		if err != nil || c.Retention != want {
			t.Errorf("%s: %v, %v", text, c.Retention, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "0d", "1.5d", "30m", "-5h", "40000d", "1000000h"} {
		if _, err := app.LoadConfig(nil, map[string]string{"retention": text}); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// Config check and serve decide alike, and say the same.
func TestConfigCheckDecidesAsServe(t *testing.T) {
	run := func(args ...string) (code int, stderr string) {
		var out, errors bytes.Buffer
		code = app.Main(t.Context(), args, nil, strings.NewReader(""), &out, &errors)
		return code, errors.String()
	}
	with := func(args ...string) []string {
		data := filepath.Join(shortDir(t), "data")
		if len(args) > 0 {
			if code, stderr := run(append(args, "--data", data)...); code != 0 {
				t.Fatalf("%v: exit code %d, %q", args, code, stderr)
			}
		}
		return []string{"--data", data}
	}
	removed := with("operator", "add", "ann", "--no-password")
	if code, stderr := run(append([]string{"operator", "remove", "ann"}, removed...)...); code != 0 {
		t.Fatal(stderr)
	}
	file := configFile(t, "this is no key")
	private := []string{"--addr", "127.0.0.1:0"}[:2:2]
	public := []string{"--addr", "0.0.0.0:0"}[:2:2]
	for _, test := range []struct {
		name string
		code int
		args []string
	}{
		{"private", 0, private},
		{"private, in memory", 0, append(private, "--data", "memory")},
		{"public", 2, public},
		{"public, in memory", 2, append(public, "--data", "memory")},
		{"insisting", 0, append(public, "--insecure-open")},
		{"visitors", 0, append(public, "--visitors")},
		{"a secret", 0, append(public, "--token-secret", aSecret)},
		{"an operator", 0, append(public, with("operator", "add", "ann", "--no-password")...)},
		{"a program", 0, append(public, with("keys", "add", "bot")...)},
		{"an operator who was removed", 2, append(public, removed...)},
		{"a store without anybody", 2, append(public, with("ban", "add", "--user", "u7")...)},
		{"a secret file that is missing", 2, append(private, "--token-secret-file", file+"x")},
		{"a secret file with a short one", 2, append(private, "--token-secret-file", file)},
		{"an empty secret file", 2, append(private, "--token-secret-file", configFile(t, "\n\n"))},
		{"a key file that is none", 2, append(private, "--token-keys", file)},
		{"a certificate that is none", 2, append(private, "--tls-cert", file, "--tls-key", file)},
		{"roots that are none", 2, append(private, "--acme-domains", "chat.example.com", "--acme-root", file)},
		{"a value", 2, append(private, "--page-size", "0")},
	} {
		args := test.args
		if !slices.Contains(args, "--data") {
			args = append(args[:len(args):len(args)], with()...)
		}
		code, said := run(append([]string{"config", "check"}, args...)...)
		if code != test.code || code == 0 && said != "the server would start with these settings\n" {
			t.Errorf("%s: config check: exit code %d, %q", test.name, code, said)
		}
		code, _, stderr := command(nil, append([]string{"serve"}, args...)...)
		if code != test.code || code != 0 && stderr != said {
			t.Errorf("%s: serve: exit code %d, %q; config check says %q", test.name, code, stderr, said)
		}
	}
}

// What lists of settings show of URLs has neither passwords nor tokens.
func TestURLsWithoutPasswords(t *testing.T) {
	for url, want := range map[string]string{
		"redis://10.0.0.5:6379/3":                          "redis://10.0.0.5:6379/3",
		"redis://parley:very-secret@h":                     "redis://parley:xxxxx@h",
		"redis://:very-secret@h":                           "redis://:xxxxx@h",
		"nats://very-secret@h:4222":                        "nats://xxxxx@h:4222",
		"nats://a:very-secret@h1,tls://very-secret@h2":     "nats://a:xxxxx@h1,tls://xxxxx@h2",
		"postgres://parley@h/d?password=very-secret":       "postgres://parley@h/d?password=xxxxx",
		"postgres://parley:very-secret@h1:5432,h2:5433/d":  "postgres://parley:xxxxx@h1:5432,h2:5433/d",
		"redis://:very-secret@h:63 79":                     "…",
		"postgres://parley:very-secret@h/d?sslmode=verify": "postgres://parley:xxxxx@h/d?sslmode=verify",
	} {
		if got := app.WithoutPassword(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
