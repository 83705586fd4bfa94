CREATE TABLE meta (
	k TEXT PRIMARY KEY,
	v TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Names the numbering of messages. Restoring a backup makes a new one, by which clients see
-- that they have to load their rooms anew. If the row is absent, the next start makes one.
INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(10))));

CREATE TABLE rooms (
	id          INTEGER PRIMARY KEY, -- 1 to 2^31-1, never reused
	room_id     TEXT NOT NULL UNIQUE,
	user_id     TEXT,                -- whose conversation it is
	operator_id TEXT,                -- who is assigned to it
	status      TEXT,
	head        INTEGER NOT NULL DEFAULT 0, -- newest number of a change
	floor       INTEGER NOT NULL DEFAULT 0, -- largest number that was pruned
	last_at     INTEGER NOT NULL DEFAULT 0  -- time of the newest message
) STRICT;

CREATE TABLE messages (
	id          INTEGER PRIMARY KEY, -- room << 32 | seq
	user_id     TEXT,
	operator_id TEXT,
	message     TEXT NOT NULL,       -- compact JSON
	timestamp   INTEGER NOT NULL,    -- milliseconds since 1970
	client_id   TEXT,
	rev         INTEGER,             -- number of the last change; NULL: never changed
	deleted     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A client id is unique for its author in its room. It leads, since ids that ascend
-- with time then meet the same few pages of the index.
CREATE UNIQUE INDEX messages_client ON messages (
	client_id, (id >> 32), (iif(operator_id IS NULL, 'u' || user_id, 'o' || operator_id))
) WHERE client_id IS NOT NULL;

CREATE INDEX messages_rev ON messages ((id >> 32), rev) WHERE rev IS NOT NULL;

CREATE TABLE cursors (
	room     INTEGER NOT NULL,
	member   TEXT NOT NULL,
	read_seq INTEGER NOT NULL,
	PRIMARY KEY (room, member)
) STRICT, WITHOUT ROWID;

CREATE VIEW chat (userId, operatorId, roomId, message, timestamp, seq) AS
SELECT m.user_id, m.operator_id, r.room_id, m.message,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.timestamp / 1000.0, 'unixepoch'),
       m.id & 0xffffffff
FROM messages m JOIN rooms r ON r.id = m.id >> 32
WHERE m.deleted = 0;
