-- The index of words, if a node has it; see index.go.
CREATE TABLE parley.search (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	room     bigint  NOT NULL DEFAULT 0, -- the last message of the first build
	seq      bigint  NOT NULL DEFAULT 0,
	complete boolean NOT NULL DEFAULT false -- the first build is over
);

CREATE TABLE parley.chunks (
	chunk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	day   bigint NOT NULL, -- since 1970, of its messages
	docs  bigint NOT NULL  -- that were ever put into it
) WITH (fillfactor = 50);

CREATE INDEX chunks_day ON parley.chunks (day, chunk);

CREATE TABLE parley.docs (
	room  bigint   NOT NULL,
	seq   bigint   NOT NULL,
	chunk bigint   NOT NULL,
	at    bigint   NOT NULL, -- timestamp of the message
	words tsvector NOT NULL, -- each with its chunk before it
	PRIMARY KEY (room, seq)
);

-- Without a list of pending entries, which each search would have to read.
CREATE INDEX docs_words ON parley.docs USING gin (words) WITH (fastupdate = off);
