package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/target"
)

type ticketRequest struct {
	Body struct {
		_      struct{} `additionalProperties:"true"`
		Path   string   `json:"path" maxLength:"2000" example:"/rooms/support-42/events" doc:"what the ticket is for, percent-encoded as in the request, without a query"`
		Method string   `json:"method,omitempty" enum:"GET,POST" doc:"GET if absent"`
	}
}

type ticket struct {
	Body struct {
		Ticket    string       `json:"ticket" doc:"for the query parameter ticket"`
		ExpiresAt history.Time `json:"expiresAt" format:"date-time"`
	}
}

func (a *api) registerTickets() {
	register(a, a.operation("newTicket", http.MethodPost, "/api/tickets", "A ticket for one request that can have no header",
		http.StatusCreated, http.StatusUnauthorized, http.StatusTooManyRequests), a.newTicket)
}

func (a *api) newTicket(ctx context.Context, in *ticketRequest) (*ticket, error) {
	who, err := known(ctx)
	if err != nil {
		return nil, err
	}
	u, err := url.ParseRequestURI(in.Body.Path)
	if err != nil || !strings.HasPrefix(in.Body.Path, "/") || strings.ContainsAny(in.Body.Path, "?#") || !target.IsPlain(u) {
		return nil, refuse(conversation.BadPayload, "path must be the path of a request, without a query")
	}
	method := in.Body.Method
	if method == "" {
		method = http.MethodGet
	}
	secret, ends, err := a.opts.Tickets.Issue(who, method, in.Body.Path)
	if err != nil {
		return nil, err
	}
	out := &ticket{}
	out.Body.Ticket, out.Body.ExpiresAt = string(secret), milli(ends)
	return out, nil
}
