package chat

import "github.com/parley-go/parley/conversation"

// IsAt is Client.isAt.
func (c *Client) IsAt(page *conversation.VisitedPage) { c.isAt(page) }
