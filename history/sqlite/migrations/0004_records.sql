-- Small documents of the program beside the rooms: operators, keys, revocations and the like.
CREATE TABLE records (
	kind       TEXT NOT NULL,
	id         TEXT NOT NULL,
	value      TEXT,             -- compact JSON; NULL: removed
	version    INTEGER NOT NULL, -- number of the last change among the changes of all records
	changed_at INTEGER NOT NULL, -- milliseconds since 1970
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX records_version ON records (version);
CREATE INDEX records_removed ON records (changed_at) WHERE value IS NULL;
