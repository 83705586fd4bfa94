// Package postgres is a durable [history.Store] in a PostgreSQL database (version 13 or later), which several
// servers can use at the same time.
//
// What Append has returned survives what the database survives: with its defaults, a power cut. A commit
// has all messages that have come meanwhile, so senders share its cost. Reads take turns as in package
// sqlite. A call that loses its connection is repeated if that is safe. If the outcome of a commit is
// unknown, a batch is repeated only if all its messages have client ids. Otherwise the error is
// [history.ErrUnknownOutcome].
//
// # Layout
//
// Everything is in the schema "parley". The view parley.chat shows messages with the names that clients
// know. The schema is in migrations. Servers that start at the same time wait for one that migrates it, and
// a schema that a newer version has migrated is refused. The encoding of the database must be UTF8. Its
// collation does not matter.
//
// # Order
//
// Numbers are not taken from sequences. A sequence gives a number before its transaction commits. So a
// larger number may become visible first, and who reads on from there misses the smaller one for good.
//
// The numbers of a room come from its row, under the row's lock. Those of all conversations
// (history.Room.Change) and of the changelog come from one row, parley.counters. A transaction takes its
// numbers there with its last statement, sent together with the commit, so transactions wait for each other
// only for the time of one commit. The versions of records come from the newest one, and one transaction
// after the other puts records. No transactions wait for each other in a circle: see tx.
//
// # Epoch
//
// The epoch changes when a dump is restored, and when another server takes over (its timeline is another):
// either may lack the newest messages. A store notices it with its next connection.
//
// # Deleting
//
// EraseUser and EraseRoom leave nothing in any table. Unlike package sqlite, they do not control the files.
// PostgreSQL keeps the bytes of rows that were deleted or changed in their pages until VACUUM has made room
// and others are written there, and in the write-ahead log until its segments are recycled. Archived
// segments, replicas that lag, dumps and base backups have them for as long as you keep them. If nothing may
// be left in the tables' files, run VACUUM FULL on the tables of the schema, and then CHECKPOINT. The same is
// true for edited and pruned messages, and for records.
//
// # Search
//
// With Options.Search, an index of words is in the database. It follows the changelog, so it is up to date a
// moment after a commit; any server may bring it forward, one at a time.
//
// # Poolers
//
// The store needs no session. Through a pooler of transactions, such as PgBouncer, add
// default_query_exec_mode=exec to the URL, unless the pooler knows prepared statements. The parameters that
// the store sets when it connects must then be set for its user; docs/operations.md has the statements.
package postgres
