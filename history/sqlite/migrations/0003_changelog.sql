-- Every change in the order of commits, while there are followers. What all of them have passed is
-- deleted.
CREATE TABLE changelog (
	position INTEGER PRIMARY KEY,
	room     INTEGER NOT NULL,
	kind     INTEGER NOT NULL, -- history.ChangeKind
	number   INTEGER NOT NULL,
	seq      INTEGER           -- of a message; NULL: the same as number
) STRICT;

CREATE TABLE followers (
	name     TEXT PRIMARY KEY,
	position INTEGER NOT NULL  -- the follower has everything up to it
) STRICT, WITHOUT ROWID;

-- Rooms that were erased. If one is written again, its numbers go on after head, so that a client
-- that knew the old room misses nothing. The name is stored as a keyed hash.
CREATE TABLE erased (
	room BLOB PRIMARY KEY,
	head INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('erased_key', lower(hex(randomblob(16))));
