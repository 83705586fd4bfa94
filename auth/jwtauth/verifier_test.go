package jwtauth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/tokentest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newVerifier(t testing.TB, o jwtauth.Options) *jwtauth.Verifier {
	t.Helper()
	v, err := jwtauth.New(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestGoodTokens(t *testing.T) {
	tokens := tokentest.New()
	v := newVerifier(t, tokens.Options)
	for _, c := range tokens.Good {
		id, err := v.Verify(t.Context(), c.Token)
		if err != nil || id.Subject != "u7" || id.Role != auth.User || id.Visitor || !id.Expires.After(time.Now()) {
			t.Errorf("%s: %+v, %v", c.Name, id, err)
		}
		if c.Name == "all claims" {
			want := auth.Grants{{Pattern: "mine-{sub}"}, {Pattern: "news", Rights: auth.Read}, {Pattern: "order-*", Rights: auth.Read | auth.Write}}
			if !slices.Equal(id.Grants, want) || id.Name != "Ann" || id.Email != "ann@example.com" || id.TokenID != "1" ||
				string(id.Attributes) != `{"plan":"pro"}` || id.IssuedAt.IsZero() {
				t.Errorf("%s: %+v", c.Name, id)
			}
		}
	}
}

// Each token of the corpus is refused by the rule that it breaks, and the client learns the code.
func TestBadTokens(t *testing.T) {
	tokens := tokentest.New()
	v := newVerifier(t, tokens.Options)
	if len(tokens.Bad) < 60 {
		t.Errorf("only %d tokens", len(tokens.Bad))
	}
	for _, c := range tokens.Bad {
		id, err := v.Verify(t.Context(), c.Token)
		var refusal *jwtauth.Error
		var seen *event.Error
		switch {
		case !errors.As(err, &refusal) || id != nil:
			t.Errorf("%s: %+v, %v", c.Name, id, err)
		case refusal.Code != c.Code || refusal.Rule != c.Rule:
			t.Errorf("%s: %v, want %s by %s", c.Name, err, c.Code, c.Rule)
		case !errors.As(err, &seen) || seen.Code != c.Code || !strings.Contains(seen.Message, refusal.Reason):
			t.Errorf("%s: the client sees %v", c.Name, seen)
		}
	}
}

// A refusal says how far the clocks are apart, and what to look for if there is no key.
func TestReasons(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	v := newVerifier(t, jwtauth.Options{Keys: []jwtauth.Key{{ID: "k1", Secret: secret}}})
	at := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	for _, c := range []struct{ header, claims, want string }{
		{`"kid":"k1"`, `"exp":` + at(-5*time.Minute), "exp: it was 5m"},
		{`"kid":"k1"`, `"iat":` + at(5*time.Minute+time.Second) + `,"exp":` + at(time.Hour), "compare the clocks"},
		{`"kid":"k1"`, `"nbf":` + at(5*time.Minute+time.Second) + `,"exp":` + at(time.Hour), "compare the clocks"},
		{`"kid":"k1"`, `"iat":9999999999999,"exp":` + at(time.Hour), "iat: it is"},
		{`"kid":"k2"`, `"exp":` + at(time.Hour), "kid: there is no such key for this issuer"},
	} {
		_, err := v.Verify(t.Context(), tokentest.Sign(`{"alg":"HS256",`+c.header+`}`, `{"sub":"u7",`+c.claims+`}`, "HS256", secret))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.claims, err, c.want)
		}
	}
}

func TestType(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	v := newVerifier(t, jwtauth.Options{Keys: []jwtauth.Key{{Secret: secret}}, Type: "at+jwt"})
	exp, _ := json.Marshal(time.Now().Add(time.Hour).Unix())
	for typ, ok := range map[string]bool{
		`,"typ":"at+jwt"`: true, `,"typ":"AT+JWT"`: true, `,"typ":"application/at+jwt"`: true,
		`,"typ":"JWT"`: false, ``: false, `,"typ":1`: false,
	} {
		_, err := v.Verify(t.Context(), tokentest.Sign(`{"alg":"HS256"`+typ+`}`, `{"sub":"u7","exp":`+string(exp)+`}`, "HS256", secret))
		var refusal *jwtauth.Error
		if (err == nil) != ok || err != nil && (!errors.As(err, &refusal) || refusal.Rule != jwtauth.Type) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// What Sign makes, Verify understands.
func TestSign(t *testing.T) {
	v := newVerifier(t, jwtauth.Options{Keys: []jwtauth.Key{{Secret: []byte(strings.Repeat("a", 32))}, {Secret: []byte(strings.Repeat("b", 32))}}})
	now := time.Now().Truncate(time.Second)
	issued := now.Add(-time.Minute + 123456*time.Microsecond)
	want := &auth.Identity{
		Subject: "u7", Role: auth.Operator, Name: "Ann <&> \u2028", Email: "ann@example.com", Attributes: json.RawMessage(`{"a":[1]}`),
		Grants: auth.Grants{{Pattern: "news", Rights: auth.Read}, {Pattern: "order-*", Rights: auth.Read | auth.Write}},
		Issuer: "https://shop.example", TokenID: "t1", IssuedAt: issued, Expires: now.Add(time.Hour),
	}
	token, err := v.Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Verify(t.Context(), token)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, id := range map[string]*auth.Identity{
		"no subject": {Expires: now.Add(time.Hour)},
		"no end":     {Subject: "u7"},
		"too long":   {Subject: "u7", Expires: now.Add(48 * time.Hour)},
		"no pattern": {Subject: "u7", Expires: now.Add(time.Hour), Grants: auth.Grants{{Pattern: "a*b", Rights: auth.Read}}},
	} {
		if token, err := v.Sign(id); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
	if _, err := newVerifier(t, jwtauth.Options{}).Sign(want); err == nil {
		t.Error("signed without a secret")
	}
}

// After a rotation, tokens of the old key are good until it is dropped.
func TestVisitors(t *testing.T) {
	first := (*jwtauth.Keyring)(nil).Rotate(time.Hour)
	visitor := &auth.Identity{Subject: "v_1", IssuedAt: time.Now(), Expires: time.Now().Add(180 * 24 * time.Hour)}
	token, err := first.Sign(visitor)
	if err != nil {
		t.Fatal(err)
	}
	second := first.Rotate(time.Hour)
	stored, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	second = new(jwtauth.Keyring)
	if err := json.Unmarshal(stored, second); err != nil {
		t.Fatal(err)
	}
	newer, err := second.Sign(visitor)
	if err != nil {
		t.Fatal(err)
	}
	third := first.Rotate(-time.Second)
	v := newVerifier(t, jwtauth.Options{})
	for _, tt := range []struct {
		name       string
		keys       *jwtauth.Keyring
		old, newer bool
	}{{"none", nil, false, false}, {"first", first, true, false}, {"second", second, true, true}, {"third", third, false, false}} {
		if err := v.SetVisitors(tt.keys); err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(t.Context(), token)
		if (err == nil) != tt.old || err == nil && (!id.Visitor || id.Role != auth.User || id.Issuer != jwtauth.VisitorIssuer) {
			t.Errorf("%s: old token: %+v, %v", tt.name, id, err)
		}
		if _, err := v.Verify(t.Context(), newer); (err == nil) != tt.newer {
			t.Errorf("%s: new token: %v", tt.name, err)
		}
	}
	if len(third.Keys) != 1 {
		t.Errorf("%d keys are kept", len(third.Keys))
	}
	if _, err := (&jwtauth.Keyring{}).Sign(visitor); err == nil {
		t.Error("signed without a key")
	}
	if v.SetVisitors(&jwtauth.Keyring{Keys: []jwtauth.RingKey{{ID: "a", Secret: []byte("short")}}}) == nil {
		t.Error("a short key is accepted")
	}
}

func TestToken(t *testing.T) {
	bearer := map[string][]string{"Authorization": {"bearer  b"}}
	for name, tt := range map[string]struct {
		r    auth.Request
		want string
	}{
		"payload":        {auth.Request{Payload: json.RawMessage(`{"token":"a"}`)}, "a"},
		"header":         {auth.Request{Header: bearer}, "b"},
		"both":           {auth.Request{Payload: json.RawMessage(`{"token":"a"}`), Header: bearer}, "a"},
		"empty payload":  {auth.Request{Payload: json.RawMessage(`{"token":""}`), Header: bearer}, "b"},
		"none":           {auth.Request{Query: map[string][]string{"EIO": {"4"}}}, ""},
		"basic":          {auth.Request{Header: map[string][]string{"Authorization": {"Basic b"}}}, ""},
		"two headers":    {auth.Request{Header: map[string][]string{"Authorization": {"Bearer a", "Bearer b"}}}, ""},
		"a number":       {auth.Request{Payload: json.RawMessage(`{"token":1}`), Header: bearer}, ""},
		"no object":      {auth.Request{Payload: json.RawMessage(`["a"]`), Header: bearer}, ""},
		"query":          {auth.Request{Query: map[string][]string{"Token": {"a"}}, Header: bearer}, ""},
		"another name":   {auth.Request{Query: map[string][]string{"x": {"eyJh.eyJz.c"}}, Header: bearer}, ""},
		"ticket, header": {auth.Request{Query: map[string][]string{"ticket": {"x"}}, Header: bearer}, "b"},
	} {
		got, err := jwtauth.Token(&tt.r)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if name == "query" && (!strings.Contains(err.Error(), "auth: {token}") || !strings.Contains(err.Error(), "Authorization: Bearer")) {
			t.Errorf("%s: %v", name, err)
		}
		if v := newVerifier(t, jwtauth.Options{}); tt.want == "" {
			if id, err := v.Authorize(t.Context(), &tt.r); err == nil || id != nil {
				t.Errorf("%s: %+v", name, id)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	for name, o := range map[string]jwtauth.Options{
		"short secret":      {Keys: []jwtauth.Key{{Secret: secret[:31]}}},
		"no key":            {Keys: []jwtauth.Key{{ID: "a"}}},
		"unknown type":      {Keys: []jwtauth.Key{{Public: "a"}}},
		"wrong algorithm":   {Keys: []jwtauth.Key{{Secret: secret, Algorithms: []string{"RS256"}}}},
		"our issuer":        {Keys: []jwtauth.Key{{Secret: secret, Issuer: "parley"}}},
		"set of our issuer": {Sets: []jwtauth.Set{{Issuer: "parley", URL: "https://a.example"}}},
		"set over http":     {Sets: []jwtauth.Set{{Issuer: "a", URL: "http://a.example"}}},
		"set without host":  {Sets: []jwtauth.Set{{Issuer: "a", URL: "https:///a"}}},
		"no issuer":         {Sets: []jwtauth.Set{{URL: "https://a.example"}}},
		"two sets":          {Sets: []jwtauth.Set{{Issuer: "a", URL: "https://a.example"}, {Issuer: "a", URL: "https://b.example"}}},
		"age":               {MaxAge: -1},
	} {
		if v, err := jwtauth.New(&o); err == nil {
			v.Close()
			t.Errorf("%s: no error", name)
		}
	}
	v, err := jwtauth.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
}

func FuzzVerify(f *testing.F) {
	tokens := tokentest.New()
	v := newVerifier(f, tokens.Options)
	for _, c := range append(tokens.Good, tokens.Bad...) {
		f.Add(c.Token)
	}
	parser := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(t.Context(), token)
		var refusal *jwtauth.Error
		switch {
		case err != nil && !errors.As(err, &refusal):
			t.Fatalf("%v", err)
		case err != nil:
			return
		}
		// What we accept, others understand in the same way.
		claims := jwt.MapClaims{}
		if _, _, err := parser.ParseUnverified(token, claims); err != nil || claims["sub"] != id.Subject {
			t.Fatalf("%s: %v, %v", token, claims, err)
		}
	})
}

// TestVerifyCost compares the check of a token with the arithmetic of its signature alone. Without SCALE,
// which "make perf" sets, it checks no bar.
func TestVerifyCost(t *testing.T) {
	tokens := tokentest.New()
	v := newVerifier(t, tokens.Options)
	most := map[string]float64{"HS256": 8, "RS256": 1.5, "PS256": 1.5, "ES256": 1.5, "EdDSA": 1.5}
	for _, c := range tokens.Good {
		if most[c.Name] == 0 {
			continue
		}
		bare := signatureCheck(t, tokens, c.Name, c.Token)
		const rounds, each = 51, 10
		var took [2][]float64 // microseconds
		for range rounds {
			for i, check := range []func() error{func() error { _, err := v.Verify(t.Context(), c.Token); return err }, bare} {
				start := time.Now()
				for range each {
					if err := check(); err != nil {
						t.Fatalf("%s: %v", c.Name, err)
					}
				}
				took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/each/1e3)
			}
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		cost := bar.Bar{Name: "check of a token, " + c.Name, Value: took[0][rounds/2], Unit: "µs",
			Reference: "its signature alone", Base: took[1][rounds/2], Most: most[c.Name]}
		switch delete(most, c.Name); {
		case os.Getenv("SCALE") == "":
		case cost.Holds():
			t.Log(cost)
		default:
			t.Error(cost)
		}
	}
	if len(most) > 0 {
		t.Errorf("no token for %v", most)
	}
}

// signatureCheck returns a function that does no more than the signature's arithmetic.
func signatureCheck(t *testing.T, tokens *tokentest.Tokens, alg, token string) func() error {
	end := strings.LastIndexByte(token, '.')
	text := token[:end]
	raw, err := jwt.NewParser().DecodeSegment(token[end+1:])
	if err != nil {
		t.Fatal(err)
	}
	if alg == "HS256" {
		return func() error {
			mac := hmac.New(sha256.New, tokens.Options.Keys[0].Secret)
			mac.Write([]byte(text))
			if !hmac.Equal(mac.Sum(nil), raw) {
				return errors.New("wrong signature")
			}
			return nil
		}
	}
	method := jwt.GetSigningMethod(alg)
	for _, k := range tokens.Options.Keys {
		if k.Public != nil && method.Verify(text, raw, k.Public) == nil {
			return func() error { return method.Verify(text, raw, k.Public) }
		}
	}
	t.Fatal("no key for " + alg)
	return nil
}

func TestKeysAreNotPrinted(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	ring := &jwtauth.Keyring{Keys: []jwtauth.RingKey{{ID: "a", Secret: secret}}}
	o := jwtauth.Options{Keys: []jwtauth.Key{{ID: "a", Secret: secret}}, Visitors: ring}
	for _, v := range []any{ring, *ring, o, &o, o.Keys[0], &ring.Keys[0]} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "115") || strings.Contains(got, "0x73") || strings.Contains(got, "sss") {
				t.Errorf("%s of %T: %s", format, v, got)
			}
		}
	}
}

// The id of a key can be an argument of a command.
func TestKeyIDBeginsWithALetter(t *testing.T) {
	for range 500 {
		if id := (*jwtauth.Keyring)(nil).Rotate(time.Hour).Keys[0].ID; !strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef", id[:1]) {
			t.Fatalf("the id %q", id)
		}
	}
}
