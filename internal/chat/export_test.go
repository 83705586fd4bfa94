package chat

import "github.com/parley-go/parley/conversation"

// Visits is Client.visits.
func (c *Client) Visits(page *conversation.VisitedPage) { c.visits(page) }
