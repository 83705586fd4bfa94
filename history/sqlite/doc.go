// Package sqlite is the durable [history.Store] in one SQLite file, without cgo.
//
// What Append has returned survives the end of the process and a power cut: the journal is a
// write-ahead log that is synchronized at every commit. One connection writes; a few others read at
// the same time, and clients take turns at them (see [history.WithClient]). A second process cannot
// open the file, because it would not learn of the first one's messages.
//
// A store does not acknowledge what nobody will find. It fails (unavailable) while the files at its
// path are not the ones that it has open, because somebody has removed, renamed or replaced them. It
// accepts no messages (full) while the disk has too little room to move the write-ahead log into the
// database. It goes on by itself when the files are back, or when there is room.
//
// # Layout
//
// Rooms have numbers. A message's key is room<<32 | seq, so the messages of a room are stored
// together in order, and a page is one range of the table. The view chat shows messages with the
// names that clients know. The schema is in migrations. A file that a newer version has migrated is
// refused.
//
// # Deleting
//
// The writing connection overwrites what it deletes. Pruning and erasing work in steps, between which
// others write. EraseUser and EraseRoom return when no byte of what they have erased is in any file of
// the store; they wait for backups and other long reads. Backups keep what they have. Of an erased
// room, the store keeps a keyed hash of its id and its last number, so that no number is given twice.
//
// # Search
//
// With Options.Search, an index of words is in a file beside the store. It follows the changelog, so
// it is up to date a moment after a commit.
//
// # Backups
//
// [Backup] copies a store that is in use, [Restore] puts a copy in its place, and [Check] looks for
// damage. Copying files by hand can lose data in two ways. The newest messages are in the
// write-ahead log, so a copy of the main file alone is incomplete or damaged. And a copy that you
// put in place by hand keeps its epoch, so clients that have seen more than it contains do not
// notice that their positions now mean other messages.
package sqlite
