package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
)

// The banner says that nobody can answer only if that is so, and the endpoints say the same.
func TestNobodyCanAnswer(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*app.Config)
		add    func(*access.Access) error
		nobody bool
	}{
		{"visitors alone", func(*app.Config) {}, nil, true},
		{"a secret", func(c *app.Config) { c.TokenSecrets = []string{secret} }, nil, false},
		{"an identity provider", func(c *app.Config) { c.JWKS = map[string]string{"https://id.example": "http://127.0.0.1:1/jwks"} }, nil, false},
		{"a program", func(*app.Config) {}, func(a *access.Access) error {
			_, _, err := a.AddKey(t.Context(), access.APIKey{Name: "bot"})
			return err
		}, false},
		{"an operator", func(*app.Config) {}, func(a *access.Access) error {
			_, err := a.AddOperator(t.Context(), access.Operator{ID: "ann"}, password)
			return err
		}, false},
	} {
		c := testConfig()
		c.Data, c.Visitors, c.Addr = filepath.Join(shortDir(t), "data"), true, "127.0.0.1:0"
		test.change(&c)
		d := openClosed(t, c, func(s *app.Server) {
			if test.add != nil {
				if err := test.add(app.Access(s)); err != nil {
					t.Fatal(err)
				}
			}
			ports, err := app.Listen(c)
			if err != nil {
				t.Fatal(err)
			}
			defer ports.Close()
			if banner := app.Banner(s, ports); strings.Contains(banner, "Nobody can answer yet") != test.nobody || !strings.Contains(banner, "access   closed") {
				t.Errorf("%s: the banner says\n%s", test.name, banner)
			}
		})
		status, answer, _ := d.request("POST", "/api/visitors", nil, "{}")
		if nobody := strings.Contains(string(answer), "not_ready"); nobody != test.nobody || nobody != (status == 503) {
			t.Errorf("%s: a visitor gets %d %s", test.name, status, answer)
		}
		status, answer, _ = d.request("POST", "/api/session", nil, `{"login":"ann","password":"not the right one"}`)
		if nobody := strings.Contains(string(answer), "not_ready"); nobody != (test.name != "an operator") || nobody != (status == 503) {
			t.Errorf("%s: a sign-in gets %d %s", test.name, status, answer)
		}
	}
}
