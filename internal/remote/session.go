package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
)

// ErrUnreachable says that no server could be reached.
var ErrUnreachable = errors.New("the server cannot be reached")

// Options say which server a session is with, and who one is there.
type Options struct {
	URL string // of the server; a path stands before that of Socket.IO
	// Socket, if set, is the path of the server's socket for commands, through which the session goes.
	Socket string
	// Token returns the token. It is asked for each connection. Nil: there is none.
	Token func() (string, error)
	// UserID, OperatorID and Name are who one says to be: to an open server, or with a program's key.
	UserID, OperatorID, Name string
	// Patience is how long requests wait for their answers. 0: without end.
	Patience time.Duration
}

// A Session is a connection to a server that lasts over interruptions. One goroutine at a time may use it.
type Session struct {
	client *client.Client
	o      Options
}

const (
	answerTimeout = 15 * time.Second // then a request is sent again
	pause         = time.Second      // before a refused request is sent again
)

// Connect connects to a server. The error is an *event.Error if the server refuses, and otherwise
// ErrUnreachable.
func Connect(ctx context.Context, o Options) (*Session, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.User != nil { // err could show a password
		return nil, errors.New("the URL is malformed: want one such as https://chat.example.com")
	}
	co := &client.Options{
		Path: strings.TrimSuffix(u.Path, "/") + "/socket.io/",
		Auth: func(context.Context) (any, error) { return o.proof() },
		RetryRefused: func(e *client.ConnectError) bool {
			return slices.Contains(passing, refusalOf(e).Code)
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	if o.Socket != "" {
		co.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", o.Socket)
		}
	}
	u.Path, u.RawPath = "", ""
	c, err := client.New(u.String(), co)
	if err != nil {
		return nil, err
	}
	s := &Session{client: c, o: o}
	wait := ctx
	if o.Patience > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, o.Patience)
		defer cancel()
	}
	if err := s.connect(wait); err != nil {
		s.Close()
		if ctx.Err() == nil && wait.Err() != nil {
			err = fmt.Errorf("%w: there was no answer for %v", ErrUnreachable, o.Patience)
		}
		return nil, err
	}
	return s, nil
}

// proof is what the client sends to say who it is.
func (o *Options) proof() (any, error) {
	if o.Token == nil {
		return struct {
			UserID     string `json:"userId,omitempty"`
			OperatorID string `json:"operatorId,omitempty"`
			Name       string `json:"name,omitempty"`
		}{o.UserID, o.OperatorID, o.Name}, nil
	}
	token, err := o.Token()
	return map[string]string{"token": token}, err
}

// Close ends the session.
func (s *Session) Close() { s.client.Close() }

// connect connects, or waits until that has failed.
func (s *Session) connect(ctx context.Context) error { return explain(ctx, s.client.Connect(ctx)) }

// passing are the codes of refusals that end by themselves.
var passing = []string{
	string(conversation.RateLimited), string(conversation.Unavailable), string(conversation.UnknownOutcome),
}

// refusalOf converts a refusal of the connection.
func refusalOf(e *client.ConnectError) *event.Error {
	var data struct{ Code, Message string }
	if json.Unmarshal(e.Data, &data) != nil || data.Code == "" {
		return &event.Error{Code: string(conversation.Forbidden), Message: e.Message}
	}
	return &event.Error{Code: data.Code, Message: data.Message}
}

// explain converts an error of the client: to an *event.Error, to ErrUnreachable, or to ctx's.
func explain(ctx context.Context, err error) error {
	var refused *client.ConnectError
	var known *event.Error
	var answer *client.RefusedError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &refused):
		return refusalOf(refused)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, client.ErrTooLarge):
		return &event.Error{Code: string(conversation.TooLarge), Message: "this is larger than the server accepts"}
	case errors.As(err, &answer) && answer.Status == http.StatusNotFound:
		return fmt.Errorf("%w: there is no Socket.IO at this address (404)", ErrUnreachable)
	}
	var network *net.OpError
	if errors.As(err, &network) {
		err = network.Err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Ask sends a request until the server has answered it: again after an interruption, and after refusals that
// end by themselves. So the request must be harmless if it is repeated. The error is an *event.Error if the
// server refuses, ErrUnreachable if it does not answer, or ctx's.
func Ask[Q, R any](ctx context.Context, s *Session, e event.RPC[Q, R], q Q) (R, error) {
	return retry(ctx, s, func(ctx context.Context) (R, error) { return e.Call(ctx, s.client, q) })
}

// retry calls f until it has an answer.
func retry[R any](ctx context.Context, s *Session, f func(context.Context) (R, error)) (R, error) {
	patient := ctx
	if s.o.Patience > 0 {
		var cancel context.CancelFunc
		patient, cancel = context.WithTimeout(ctx, s.o.Patience)
		defer cancel()
	}
	for {
		attempt, cancel := context.WithTimeout(patient, answerTimeout)
		answer, err := f(attempt)
		late := attempt.Err() != nil
		cancel()
		var refused *event.Error
		wait := true
		switch {
		case err == nil:
			return answer, nil
		case errors.As(err, &refused) && !slices.Contains(passing, refused.Code), errors.Is(err, client.ErrTooLarge):
			return answer, explain(ctx, err)
		case errors.Is(err, client.ErrDisconnected), late:
			wait = false
		}
		if s.client.State().Status == client.Idle { // the server has disconnected it
			if err := s.connect(patient); err != nil && patient.Err() == nil && !errors.Is(err, ErrUnreachable) {
				return answer, err
			}
		}
		if wait {
			sleep(patient, pause)
		}
		if ctx.Err() != nil {
			return answer, ctx.Err()
		}
		if patient.Err() != nil {
			if refused != nil {
				return answer, refused
			}
			return answer, fmt.Errorf("%w: there was no answer for %v", ErrUnreachable, s.o.Patience)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// join is the request with which the session joins a room, whose page it does not need.
func (s *Session) join(room string) conversation.JoinRequest {
	return conversation.JoinRequest{RoomID: room, UserID: s.o.UserID, OperatorID: s.o.OperatorID, Name: s.o.Name, Limit: 1}
}

// In asks something in a room that has to be joined.
func In[Q, R any](ctx context.Context, s *Session, room string, e event.RPC[Q, R], q Q) (R, error) {
	return retry(ctx, s, func(ctx context.Context) (R, error) {
		answer, err := e.Call(ctx, s.client, q)
		var refused *event.Error
		if !errors.As(err, &refused) || refused.Code != string(conversation.NotJoined) {
			return answer, err
		}
		if _, err := conversation.JoinRoom.Call(ctx, s.client, s.join(room)); err != nil {
			return answer, err
		}
		return e.Call(ctx, s.client, q)
	})
}
