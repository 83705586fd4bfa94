package driver

// Remembered returns how many topics the driver knows, and how many of them it has to look at.
func (c *Core[T]) Remembered() (topics, dirty int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.topics), len(c.dirty)
}
