package history

import "strings"

// NotesOf returns the room whose notes are in a room, and whether there is one.
func NotesOf(notes string) (room string, ok bool) { return strings.CutPrefix(notes, notesPrefix) }
