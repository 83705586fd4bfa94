ALTER TABLE rooms ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN closed_at  INTEGER;
ALTER TABLE rooms ADD COLUMN waiting_at INTEGER;           -- time of the user's first unanswered message
ALTER TABLE rooms ADD COLUMN subject    TEXT;
ALTER TABLE rooms ADD COLUMN labels     TEXT NOT NULL DEFAULT '[]'; -- sorted JSON array
ALTER TABLE rooms ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}'; -- JSON object
ALTER TABLE rooms ADD COLUMN change     INTEGER NOT NULL DEFAULT 0; -- number of its last change among all conversations

-- Each index has only conversations, so rooms that belong to nobody cost nothing.
CREATE UNIQUE INDEX rooms_change ON rooms (change)                  WHERE user_id IS NOT NULL;
CREATE INDEX rooms_activity ON rooms (status, last_at)              WHERE user_id IS NOT NULL;
CREATE INDEX rooms_operator ON rooms (operator_id, status, last_at) WHERE user_id IS NOT NULL;
CREATE INDEX rooms_user     ON rooms (user_id, last_at)             WHERE user_id IS NOT NULL;
CREATE INDEX rooms_created  ON rooms (status)                       WHERE user_id IS NOT NULL; -- then by id
CREATE INDEX rooms_waiting  ON rooms (waiting_at)                   WHERE waiting_at IS NOT NULL;
CREATE INDEX rooms_queue    ON rooms (operator_id, waiting_at)      WHERE waiting_at IS NOT NULL;

ALTER TABLE messages ADD COLUMN edited_at INTEGER;         -- milliseconds since 1970
ALTER TABLE cursors  ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

CREATE TABLE people (
	id         TEXT PRIMARY KEY,
	name       TEXT,
	email      TEXT,
	attributes TEXT NOT NULL DEFAULT '{}', -- JSON object
	verified   INTEGER NOT NULL DEFAULT 0, -- a signed token says so
	became     TEXT,                       -- the user into whom this visitor was merged
	created_at INTEGER NOT NULL,
	seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX people_became ON people (became) WHERE became IS NOT NULL;
