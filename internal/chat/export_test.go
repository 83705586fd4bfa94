package chat

// Meanings returns the meanings in the table of codes.
func Meanings() map[Code]string {
	meanings := map[Code]string{}
	for code, c := range codes {
		meanings[code] = c.meaning
	}
	return meanings
}
