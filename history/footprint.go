package history

// Footprint returns about how many bytes a store needs for the message, with all its ids and
// indexes, and for the room if that is new. It is rather too much than too little: stores keep rows
// in pages that are not full.
func (d *Draft) Footprint(newRoom bool) int {
	author := max(len(d.UserID), len(d.OperatorID))
	bytes := row(len(d.Message) + len(d.UserID) + len(d.OperatorID) + len(d.ClientID))
	if d.ClientID != "" {
		bytes += row(len(d.ClientID) + author) // in an index
	}
	if newRoom {
		bytes += 2 * row(len(d.RoomID)) // in the table and in an index
		if c := d.Conversation; c != nil {
			const indexes = 5 // of lists
			bytes += len(c.Subject) + len(c.Attributes) + len(c.UserID) + indexes*row(len(c.UserID)/2)
			for _, label := range c.Labels {
				bytes += len(label) + 3
			}
			bytes += row(len(c.UserID) + len(c.Name) + len(c.Email)) // the person
		}
	}
	return bytes
}

// row returns the bytes of a row whose texts have n bytes. A long one has pages of its own.
func row(n int) int {
	const (
		others = 40   // numbers, lengths
		page   = 4096 // at most a page is half empty because of a row
	)
	return n + others + min(n/2, page)
}
