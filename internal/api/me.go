package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

type whoAmI struct{ Body me }

// patch is a member of a merge patch (RFC 7396): null makes it empty.
type patch struct {
	given bool
	value string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *patch) UnmarshalJSON(data []byte) error {
	*p = patch{given: true}
	return json.Unmarshal(data, &p.value)
}

// Schema implements huma.SchemaProvider.
func (patch) Schema(huma.Registry) *huma.Schema {
	longest := 254
	return &huma.Schema{Type: huma.TypeString, Nullable: true, MaxLength: &longest}
}

func (p patch) apply(to *string) {
	if p.given {
		*to = p.value
	}
}

type changeMe struct {
	Body struct {
		_     struct{} `additionalProperties:"true"`
		Name  patch    `json:"name,omitempty" doc:"for people"`
		Email patch    `json:"email,omitempty" doc:"to sign in with as well"`
	}
}

type changePassword struct {
	Body struct {
		_           struct{} `additionalProperties:"true"`
		Password    string   `json:"password" maxLength:"1024" writeOnly:"true" doc:"the one that it is now"`
		NewPassword string   `json:"newPassword" maxLength:"1024" writeOnly:"true" doc:"at least 10 characters"`
	}
}

func (a *api) registerMe() {
	register(a, a.operation("getMe", http.MethodGet, "/api/me", "Who I am",
		http.StatusOK, http.StatusUnauthorized), a.getMe)
	register(a, a.operation("changeMe", http.MethodPatch, "/api/me", "Change my name or address",
		http.StatusOK, append(writes, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict)...), a.changeMe)
	accepted := a.huma.OpenAPI().Paths["/api/me"].Patch.RequestBody.Content
	accepted["application/merge-patch+json"] = accepted["application/json"]
	register(a, a.operation("changePassword", http.MethodPost, "/api/me/password", "Change my password",
		http.StatusOK, append(writes, http.StatusUnauthorized, http.StatusTooManyRequests)...), a.changePassword)
}

func (a *api) getMe(ctx context.Context, _ *struct{}) (*whoAmI, error) {
	who, err := known(ctx)
	if err != nil {
		return nil, err
	}
	return &whoAmI{describe(who)}, nil
}

// changeMe changes an operator whom this server keeps. Who signs tokens decides on the names in them.
func (a *api) changeMe(ctx context.Context, in *changeMe) (*whoAmI, error) {
	who, err := operator(ctx)
	if err != nil {
		return nil, err
	}
	o, err := a.opts.Access.Describe(ctx, who.Subject, func(name, email *string) {
		in.Body.Name.apply(name)
		in.Body.Email.apply(email)
	})
	if err != nil {
		return nil, err
	}
	is := *who
	is.Name, is.Email = o.Name, o.Email
	return &whoAmI{describe(&is)}, nil
}

// changePassword ends all sessions of the operator and begins a new one.
func (a *api) changePassword(ctx context.Context, in *changePassword) (*signedIn, error) {
	who, err := operator(ctx)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	if _, err := c.cookie("", 0); err != nil {
		return nil, err
	}
	done, err := a.opts.Access.ChangePassword(ctx, access.Credentials{
		Login: who.Subject, Password: access.Secret(in.Body.Password), Address: c.address, Client: c.agent,
	}, access.Secret(in.Body.NewPassword))
	if err != nil {
		return nil, err
	}
	return begun(c, done)
}

// is reports whether err is a refusal with a code.
func is(err error, code conversation.Code) bool {
	var e *access.Error
	return errors.As(err, &e) && e.Code == code
}
