package remote

// CutJournal makes f the output of a Journal that has identified it already.
func CutJournal(j *Journal, f func([]byte) error) { j.write = f }
