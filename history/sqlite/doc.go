// Package sqlite is the durable [history.Store] in one SQLite file, without cgo.
//
// What Append has returned survives the end of the process and a power cut: the
// journal is a write-ahead log that is synchronised at every commit. One connection
// writes, others read beside it without waiting. A second process that opens the file
// is refused, since it would not hear of the first one's messages.
//
// # Layout
//
// Rooms have numbers. A message's key is room<<32 | seq, so that the messages of a room
// lie together in their order, and a page is one range of the table. The view chat
// shows them under the names that clients know. The schema is in migrations; a file
// that a newer version has migrated is refused.
//
// # Backups
//
// [Backup] copies a store that is in use, [Restore] puts a copy in its place, and [Check] looks
// for damage. Two things lose data without them. The newest messages are in the write-ahead
// log, so a copy of the file alone lacks them or is damaged. And a copy that is put in place as
// it is keeps its epoch, so clients that had seen more than it holds do not notice that their
// positions now mean other messages.
package sqlite
