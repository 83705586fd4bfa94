package api

import (
	"context"
	"net/http"

	"github.com/parley-go/parley/history"
)

const visitorsPath = "/api/visitors"

type visitor struct {
	Status int
	Body   struct {
		Token     string       `json:"token,omitempty" doc:"absent: the one that the client has is good for long"`
		UserID    string       `json:"userId"`
		ExpiresAt history.Time `json:"expiresAt" format:"date-time"`
	}
}

func (a *api) registerVisitors() {
	op := a.operation("newVisitor", http.MethodPost, visitorsPath, "A token for a visitor, or a new one for a visitor who has one",
		http.StatusCreated, append(writes, http.StatusUnauthorized, http.StatusTooManyRequests)...)
	register(a, op, a.newVisitor)
	responses := a.huma.OpenAPI().Paths[visitorsPath].Post.Responses
	responses["200"] = responses["201"]
}

// newVisitor makes up a user for somebody who has shown nothing. A visitor's own token is renewed when
// half of its time is over; somebody else is refused nothing, and stays who it is.
func (a *api) newVisitor(ctx context.Context, _ *struct {
	Body *struct {
		_    struct{} `additionalProperties:"true"`
		Site string   `json:"site,omitempty" maxLength:"2000" doc:"the page's origin, for people"`
	}
}) (*visitor, error) {
	c := callerOf(ctx)
	out := &visitor{Status: http.StatusCreated}
	if c.err != nil && c.bearer { // what comes of a cookie does not matter to a visitor
		return nil, c.err
	}
	if who := c.identity; who != nil && who.Visitor {
		out.Body.UserID, out.Body.ExpiresAt = who.Subject, milli(who.Expires)
		renewed, err := a.opts.Access.RenewVisitor(ctx, who)
		if err != nil {
			return nil, err
		}
		if renewed == nil {
			out.Status = http.StatusOK
			return out, nil
		}
		out.Body.Token, out.Body.ExpiresAt = string(renewed.Token), milli(renewed.Identity.Expires)
		return out, nil
	}
	made, err := a.opts.Access.NewVisitor(ctx, c.address)
	if err != nil {
		return nil, err
	}
	out.Body.Token, out.Body.UserID, out.Body.ExpiresAt = string(made.Token), made.Identity.Subject, milli(made.Identity.Expires)
	return out, nil
}
