package chat

import (
	"time"

	"github.com/parley-go/parley/conversation"
)

// IsAt is Client.isAt.
func (c *Client) IsAt(page *conversation.VisitedPage) { c.isAt(page) }

// SetLobbyPoll changes lobbyPoll.
func (s *Service) SetLobbyPoll(every time.Duration) { s.lobby.poll = every }
