package app

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
)

var tokenCommands = []command{
	{name: "token create", does: "sign a token, and print it and nothing else", settings: []string{"token-"},
		doc: `The first token-secret of the server signs it; if no server runs, that of the settings. --key-file
signs with a key of your own instead: then nobody checks whether the server accepts the token.`,
		prints: admin.Token{}, setup: createToken},
	{name: "token check", args: "[TOKEN]", does: "say who a token is for and until when, or which rule refuses it", settings: []string{"token-", "jwks"},
		doc: `It reads the token from standard input if TOKEN is left out or "-", which keeps it out of the
list of processes. The running server checks it; if none runs, the settings do. It exits with 1 if the
token is refused. Keys of programs are checked too.`,
		prints: admin.CheckedToken{}, setup: checkToken},
}

func createToken(c *call) func(context.Context) error {
	var t admin.NewToken
	user := c.flags.String("user", "", "it is for the user with this `ID`")
	operator := c.flags.String("operator", "", "it is for the operator with this `ID`")
	service := c.flags.String("service", "", "it is for the program of this `NAME`, which acts for anybody")
	isAdmin := c.flags.Bool("admin", false, "the operator is an admin")
	c.flags.StringVar(&t.Name, "name", "", "the `NAME` that others see")
	c.flags.StringVar(&t.Email, "email", "", "the e-mail `ADDRESS`")
	rooms := c.roomsFlag()
	ttl := time.Hour
	c.flags.Func("ttl", "how long it lives, a `DURATION`; 1h if left out", func(s string) (err error) {
		ttl, err = parseDuration(s)
		return err
	})
	keyFile := c.flags.String("key-file", "", "sign with the key in this `FILE`: a private key in PEM or as JWK, or a secret")
	kid := c.flags.String("kid", "", "the `ID` of that key, so that the server finds the public one")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		var all []string
		for _, of := range []struct {
			id   string
			role auth.Role
		}{{*user, auth.User}, {*operator, auth.Operator}, {*service, auth.Service}} {
			if of.id != "" {
				all, t.Subject, t.Role = append(all, of.id), of.id, of.role
			}
		}
		switch {
		case len(all) != 1:
			return wrongUsage("want one of --user, --operator and --service")
		case *isAdmin && t.Role != auth.Operator:
			return wrongUsage("--admin is for an --operator")
		case *kid != "" && *keyFile == "":
			return wrongUsage("--kid is for a --key-file")
		case *isAdmin:
			t.Role = auth.Admin
		}
		t.Rooms, t.TTL = *rooms, int64((ttl+time.Second-1)/time.Second)
		made, err := c.makeToken(ctx, t, *keyFile, *kid)
		if err != nil {
			return err
		}
		if isTerminal(c.stderr) {
			if parts := strings.Split(made.Token, "."); len(parts) == 3 {
				claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
				c.say("%s", printable(string(claims)))
			}
		}
		if *asJSON {
			return c.printJSON(made)
		}
		_, err = fmt.Fprintln(c.stdout, made.Token)
		return err
	}
}

func (c *call) makeToken(ctx context.Context, t admin.NewToken, keyFile, kid string) (made admin.Token, err error) {
	if keyFile == "" {
		err = c.ask(ctx, false, func(a *admin.Client) error { return a.Call(ctx, http.MethodPost, "/api/tokens", t, &made) })
		return made, err
	}
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return made, err
	}
	signer, err := jwtauth.ParseSigner(text)
	if err != nil {
		return made, fmt.Errorf("%s: %w", keyFile, err)
	}
	signer.Issuer, signer.Audience = c.config.TokenIssuer, c.config.TokenAudience
	if kid != "" {
		signer.ID = kid
	}
	who, err := t.Identity()
	if err != nil {
		return made, err
	}
	made.ExpiresAt = who.Expires
	made.Token, err = signer.Sign(who)
	return made, err
}

// settingOf names the settings that decide what a rule accepts.
var settingOf = map[jwtauth.Rule]string{
	jwtauth.Audience: "token-audience", jwtauth.Type: "token-type", jwtauth.Expiry: "token-max-age",
	jwtauth.Issuer: "token-issuer, jwks", jwtauth.KeyID: "token-keys, jwks", jwtauth.Algorithm: "token-keys, jwks",
	jwtauth.Signature: "token-secret, token-keys, jwks",
}

func checkToken(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(ctx context.Context) (err error) {
		token := ""
		if len(c.args) > 0 && c.args[0] != "-" {
			token = c.args[0]
		} else if token, err = c.readLine(ctx); err != nil {
			return err
		}
		if token = strings.TrimSpace(token); token == "" {
			return wrongUsage("there is no token on standard input")
		}
		var checked admin.CheckedToken
		err = c.ask(ctx, false, func(a *admin.Client) error {
			return a.Call(ctx, http.MethodPost, "/api/tokens/check", admin.TokenToCheck{Token: access.Secret(token)}, &checked)
		})
		if err != nil {
			return err
		}
		if *asJSON {
			err = c.printJSON(checked)
		} else {
			err = c.printChecked(checked)
		}
		if err == nil && !checked.Valid {
			err = errFindings
		}
		return err
	}
}

func (c *call) printChecked(t admin.CheckedToken) error {
	if !t.Valid {
		line := fmt.Sprintf("✗ %s: %s", t.Rule, t.Reason)
		if setting := settingOf[jwtauth.Rule(t.Rule)]; setting != "" && t.Code != conversation.TokenExpired {
			line += " (" + setting + ")"
		}
		if t.Code == conversation.Banned { // the client is not told
			line += " (banned: parley ban list)"
		}
		fmt.Fprintln(c.stdout, printable(line))
		if t.Subject == "" {
			return nil
		}
	} else {
		fmt.Fprintln(c.stdout, "✓ accepted")
	}
	role := string(t.Role)
	if t.Visitor {
		role += ", a visitor"
	}
	rows := [][]string{{"who", t.Subject}, {"role", role}}
	for _, row := range [][]string{
		{"name", t.Name}, {"email", t.Email}, {"attributes", string(t.Attributes)}, {"issuer", t.Issuer}, {"jti", t.TokenID},
		{"issued", local(t.IssuedAt)}, {"until", local(t.ExpiresAt)},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	for pattern, rights := range t.Rooms {
		rows = append(rows, []string{"room", pattern + "=" + rights})
	}
	slices.SortStableFunc(rows[len(rows)-len(t.Rooms):], func(a, b []string) int { return strings.Compare(a[1], b[1]) })
	return c.table(rows...)
}
