package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// Config holds all settings. settings describes each field. The zero value is not usable; Defaults
// returns a usable one.
type Config struct {
	Addr            string
	Data            string
	StateDir        string
	Cluster         string
	ClusterName     string
	ClusterAddr     string
	ClusterWire     string
	ClusterReceive  string
	ClusterInterest string

	ClusterSecret     string
	ClusterSecretFile string

	MinFreeDisk     int64
	ShutdownTimeout time.Duration
	LogLevel        slog.Level
	LogFormat       string

	TLSCert       string
	TLSKey        string
	TLSSelfSigned bool
	ACMEDomains   []string
	ACMEEmail     string
	ACMEDirectory string
	ACMERoot      string
	HTTPRedirect  string
	AllowedHosts  []string
	MetricsAddr   string

	Path            string
	Transports      []string
	AllowEIO3       bool
	JSONP           bool
	PingInterval    time.Duration
	PingTimeout     time.Duration
	ConnectTimeout  time.Duration
	Compression     bool
	CORSOrigins     []string
	CORSCredentials bool
	TrustedProxies  []netip.Prefix
	FeedLifetime    time.Duration

	MaxConnections           int
	MaxConnectionsPerAddress int
	MaxMemory                int64
	MaxPendingConnections    int
	MaxPendingPerAddress     int
	EventsPerSecond          float64
	BytesPerSecond           int64
	RoomsPerHour             int
	StoredPerHour            int64
	MaxPayload               int64
	MaxOutbox                int64
	MaxRooms                 int

	MaxMessage           int64
	PageSize             int
	MaxPage              int
	EditWindow           time.Duration
	Retention            time.Duration
	RetentionMessages    int
	RetentionClosedOnly  bool
	MaxOpenConversations int
	Preview              bool
	Search               bool

	InsecureOpen    bool
	Visitors        bool
	WidgetOrigins   []string
	OpenRooms       auth.Grants
	TokenSecrets    []string
	TokenSecretFile string
	TokenKeys       []string
	TokenIssuer     string
	JWKS            map[string]string // addresses of key sets, by issuer
	TokenAudience   string
	TokenMaxAge     time.Duration
	TokenType       string
}

// Defaults returns the configuration with all defaults.
func Defaults() Config {
	var c Config
	for _, s := range c.settings() {
		if err := s.set(s.def); err != nil {
			panic("default of " + s.name + ": " + err.Error())
		}
	}
	return c
}

// LoadConfig starts with the defaults. The configuration file overrides them, then the environment
// ("NAME=value", as os.Environ returns it), then the flags (by name of setting). The setting
// "config" names the file, which is optional.
func LoadConfig(environ []string, flags map[string]string) (Config, error) {
	c, _, err := loadConfig(environ, flags)
	return c, err
}

// A provenance says where a setting's value comes from.
type provenance struct {
	kind  string // default, file, variable or flag
	place string // "parley.toml", "PARLEY_ADDR" or "--addr"
	value string // as it stands there
}

// loadConfig also returns the origins of the settings that are not at their defaults.
func loadConfig(environ []string, flags map[string]string) (Config, map[string]provenance, error) {
	c, origins := Defaults(), make(map[string]provenance)
	settings := make(map[string]setting)
	for _, s := range c.settings() {
		settings[s.name] = s
	}
	env, err := environment(environ, settings)
	if err != nil {
		return c, nil, err
	}
	path := env[configFlag]
	if p, ok := flags[configFlag]; ok {
		path = p
	}
	var file map[string]string
	if path != "" {
		if file, err = readFile(path); err != nil {
			return c, nil, err
		}
	}
	for _, source := range []struct {
		kind   string
		values map[string]string
		title  func(name string) string
	}{
		{"file", file, func(name string) string { return path + ": " + name }},
		{"variable", env, variable},
		{"flag", flags, func(name string) string { return "--" + name }},
	} {
		for _, name := range slices.Sorted(maps.Keys(source.values)) {
			if name == configFlag {
				continue
			}
			s, ok := settings[name]
			if !ok {
				return c, nil, fmt.Errorf("%s: there is no such setting; see parley help config", source.title(name))
			}
			if err := s.set(source.values[name]); err != nil {
				if s.show != nil {
					return c, nil, fmt.Errorf("%s: want %w", source.title(name), err)
				}
				return c, nil, fmt.Errorf("%s: %q is not allowed: want %w", source.title(name), source.values[name], err)
			}
			place := source.title(name)
			if source.kind == "file" {
				place = path
			}
			origins[name] = provenance{source.kind, place, source.values[name]}
		}
	}
	if err := c.check(); err != nil {
		return c, nil, err
	}
	c.completeAddresses()
	return c, origins, nil
}

// check checks what a single setting cannot check on its own.
func (c *Config) check() error {
	switch {
	case c.CORSCredentials && slices.Contains(c.CORSOrigins, "*"):
		return errors.New("cors-credentials: not together with cors-origins *: any site could act for its visitors")
	case strings.HasPrefix(c.Path, "/rooms/"):
		return errors.New("path: the feeds are below /rooms/")
	case strings.HasPrefix(c.Path, "/api/"):
		return errors.New("path: the endpoints for programs are below /api/")
	case c.MaxMessage > c.MaxPayload:
		return fmt.Errorf("max-message: %d is more than max-payload, %d", c.MaxMessage, c.MaxPayload)
	case c.PageSize > c.MaxPage:
		return fmt.Errorf("page-size: %d is more than max-page-size, %d", c.PageSize, c.MaxPage)
	case c.BytesPerSecond > c.MaxOutbox:
		return fmt.Errorf("bytes-per-second: %d is more than max-outbox, %d, so one client could send more than may be queued for another: raise max-outbox, or turn all limits of bytes per second off with 0", c.BytesPerSecond, c.MaxOutbox)
	case len(c.transports()) == 0:
		return errors.New("transports: there is no webtransport without TLS, or over a Unix socket")
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	return c.checkTLS()
}

const (
	configFlag = "config"
	envPrefix  = "PARLEY_"
)

// variable returns the name of a setting's environment variable.
func variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// environment returns the values of the environment variables that are meant for us, by name of
// setting.
func environment(environ []string, settings map[string]setting) (map[string]string, error) {
	values := make(map[string]string)
	for _, pair := range environ {
		rest, ours := strings.CutPrefix(pair, envPrefix)
		if !ours || kubernetes.MatchString(rest) {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if key == urlVariable || key == tokenVariable || key == tokenFileVariable || key == contextVariable {
			continue // for remote commands
		}
		name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(key, envPrefix), "_", "-"))
		if _, ok := settings[name]; !ok && name != configFlag || key != variable(name) {
			return nil, fmt.Errorf("%s: there is no such setting; see parley help config", key)
		}
		values[name] = value
	}
	return values, nil
}

// kubernetes matches the variables that Kubernetes sets in every container of a namespace for a
// service named parley or parley-…, with the shape of their values. After "PARLEY_" these are
// SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_HTTP, PORT=tcp://…, PORT_80_TCP_ADDR and so on, or
// ADMIN_SERVICE_HOST and so on.
var kubernetes = regexp.MustCompile(`^([A-Z0-9_]+_)?(` +
	`SERVICE_HOST=[0-9a-fA-F.:]+` +
	`|SERVICE_PORT(_[A-Z0-9_]+)?=[0-9]+` +
	`|PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://\S+` +
	`|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO=(tcp|udp|sctp)|PORT=[0-9]+|ADDR=[0-9a-fA-F.:]+)` +
	`)$`)

// readFile reads settings from a TOML file without tables.
func readFile(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var file map[string]any
	if _, err := toml.Decode(string(text), &file); err != nil {
		return nil, fmt.Errorf("%s: want TOML, such as data = \"/var/lib/parley\": %w", path, err)
	}
	values := make(map[string]string, len(file))
	for name, v := range file {
		if values[name], err = plain(v); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	return values, nil
}

// plain returns a TOML value in the form in which you would write it in a flag.
func plain(v any) (string, error) {
	switch v := v.(type) {
	case string, int64, float64, bool:
		return fmt.Sprint(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			s, ok := element.(string)
			if !ok {
				return "", errors.New("want a list of strings")
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	case map[string]any:
		return "", errors.New("there is no such setting; see parley help config")
	}
	return "", errors.New("want a string, a number, a boolean or a list of strings")
}

// logger returns the configured logger.
func (c *Config) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel, ReplaceAttr: tame}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// maxInboxBytes is how much of one client's events may wait while it is over a budget.
const maxInboxBytes = 128 << 10

// budgets returns the limits of the conversations.
func (c *Config) budgets() budget.Limits {
	l := chat.Budgets(c.EventsPerSecond, float64(c.BytesPerSecond), int(c.MaxOutbox), c.MaxRooms)
	l[budget.Rooms] = perHour(float64(c.RoomsPerHour))
	l[budget.Stored] = perHour(float64(c.StoredPerHour))
	if n := float64(c.MaxConnectionsPerAddress); n > 0 {
		if own := l[budget.Reads]; c.BytesPerSecond > 0 {
			l[budget.AddressReads] = budget.Limit{PerSecond: max(own.PerSecond, n*(8<<10)), Burst: max(own.Burst, n*(256<<10))}
		}
		l[budget.Memberships] = budget.Limit{Burst: max(5*n, float64(c.MaxRooms))}
		if c.EventsPerSecond > 0 {
			l[budget.AddressEvents] = budget.Limit{PerSecond: max(c.EventsPerSecond, n), Burst: max(2*c.EventsPerSecond, 50*n)}
			l[budget.Openings] = budget.Limit{PerSecond: n / 20, Burst: 2 * n}
			l[budget.Requests] = budget.Limit{PerSecond: n * 4 / 5, Burst: 10 * n}
		}
	}
	return l
}

// perHour returns the limit that a client may use up at once and has again after an hour.
func perHour(n float64) budget.Limit { return budget.Limit{PerSecond: n / 3600, Burst: n} }

// options returns the options of the Socket.IO server.
func (c *Config) options(log *slog.Logger) *parley.Options {
	o := &parley.Options{
		Path:         c.Path,
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, ConnectTimeout: c.ConnectTimeout,
		Transports:               c.transports(),
		AllowEIO3:                c.AllowEIO3,
		JSONP:                    c.JSONP,
		CORS:                     parley.CORS{Origins: c.CORSOrigins, Credentials: c.CORSCredentials, MaxAge: 10 * time.Minute},
		MaxPayload:               c.MaxPayload,
		MaxDepth:                 -1, // a message that is too deep is refused, without a disconnect; see maxDepth
		MaxOutbox:                int(c.MaxOutbox),
		MaxInboxBytes:            maxInboxBytes,
		MaxRooms:                 c.MaxRooms,
		MaxMemory:                c.MaxMemory,
		MaxConnections:           c.MaxConnections,
		MaxConnectionsPerAddress: c.MaxConnectionsPerAddress,
		MaxPendingConnections:    orUnlimited(c.MaxPendingConnections),
		MaxPendingPerAddress:     c.MaxPendingPerAddress,
		ExemptAddresses:          c.exemptAddresses(),
		KeepHeaders:              []string{}, // nothing here reads them; Authorization is kept all the same
		MaxHandshake:             maxHandshake,
		EventsPerSecond:          c.EventsPerSecond,
		BytesPerSecond:           float64(c.BytesPerSecond),
		InflatedBytesPerSecond:   4 * float64(c.BytesPerSecond),
		ClientAddress:            c.clientAddress(),
		ClientSecure:             c.clientSecure(),
		Logger:                   log,
	}
	if c.EventsPerSecond == 0 {
		o.FramesPerSecond = -1
	}
	if c.BytesPerSecond == 0 {
		o.InflatedBytesPerSecond = -1
	}
	if c.Compression {
		o.Compression = &parley.Compression{}
	}
	return o
}

// maxHandshake limits the URL of a handshake and its header Authorization, if there is one. They stay in
// memory as long as the connection. A token has up to 8 KiB.
const maxHandshake = 12 << 10

// orUnlimited returns the option for a setting whose 0 means no limit.
func orUnlimited(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// exemptAddresses returns the networks to which no limit per address applies. A client that comes
// from a proxy's address is the proxy, or one whose address the proxy does not tell.
func (c *Config) exemptAddresses() []netip.Prefix {
	return slices.Concat(address.Loopback, c.TrustedProxies)
}

// clientAddress returns the function that finds a client's address.
func (c *Config) clientAddress() func(*http.Request) string {
	if len(c.TrustedProxies) == 0 {
		return func(r *http.Request) string { return r.RemoteAddr }
	}
	return parley.ForwardedFor(c.TrustedProxies...)
}

// clientSecure returns the function that reports whether a client uses TLS, or nil if the connection
// tells.
func (c *Config) clientSecure() func(*http.Request) bool {
	if len(c.TrustedProxies) == 0 {
		return nil
	}
	return parley.ForwardedProto(c.TrustedProxies...)
}
