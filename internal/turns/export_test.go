package turns

// Groups returns the number of groups that wait.
func Groups[T any](q *Queue[T]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.round.Len() + len(q.groups)
}
