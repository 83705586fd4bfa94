package recent

// Len returns how many names are kept.
func (n *Names) Len() int { return len(n.until) }
