-- Every change in the order of commits, while there are followers. What all of them have passed is
-- deleted.
CREATE TABLE changelog (
	position INTEGER PRIMARY KEY, -- of the last change of a commit
	changes  BLOB NOT NULL        -- of the commit: for each its kind, room, number and seq as varints
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
