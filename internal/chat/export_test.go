package chat

import (
	"time"

	"github.com/parley-go/parley/conversation"
)

// IsAt is Client.isAt.
func (c *Client) IsAt(page *conversation.VisitedPage) { c.isAt(page) }

// SetLobbyPoll changes lobbyPoll.
func (s *Service) SetLobbyPoll(every time.Duration) { s.lobby.poll = every }

// Rooms returns how many rooms somebody is in, as far as the service knows.
func (s *Service) Rooms() int {
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	return len(s.presence.rooms)
}

// Memberships returns in how many rooms the clients of all addresses are.
func (s *Service) Memberships() (n int) {
	s.accounts.memberships.mu.Lock()
	defer s.accounts.memberships.mu.Unlock()
	for _, of := range s.accounts.memberships.of {
		n += of
	}
	return n
}

// ConversationID is conversationID.
var ConversationID = conversationID
