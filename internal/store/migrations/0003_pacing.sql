-- Limits of rate. buckets holds what is counted: how many left in one cell of a window. A limit that is kept even has one row here
-- beside that: its next slot, in microseconds since 1970, and the slots before that were left out. Every process takes from the same row.
CREATE TABLE paces (
  name  TEXT    PRIMARY KEY,
  next  INTEGER NOT NULL,
  holes TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(holes))
) WITHOUT ROWID;

-- What a relay, or a relay for one provider, sent on one day of the workspace's calendar while it was warmed up. name is "main" or
-- "main gmail", day is 2026-12-01.
CREATE TABLE warmups (
  name TEXT    NOT NULL,
  day  TEXT    NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (name, day)
) WITHOUT ROWID;

-- How a relay or a receiving provider takes our mail at the moment: "relay main", "lane gmail". No row: freely.
CREATE TABLE lanes (
  name       TEXT    PRIMARY KEY,
  state      TEXT    NOT NULL CHECK (json_valid(state)),
  updated_at INTEGER NOT NULL
) WITHOUT ROWID;

-- How far a campaign with a canary has come, and until when it is held to see what came of that.
ALTER TABLE campaigns ADD COLUMN stage TEXT NOT NULL DEFAULT '' CHECK (stage IN ('','canary','hold','rest'));
ALTER TABLE campaigns ADD COLUMN held_until INTEGER NOT NULL DEFAULT 0;

-- The domain stands in the index, so that the mail of one provider is found without a look at that of the others.
DROP INDEX deliveries_open;
CREATE INDEX deliveries_open ON deliveries (campaign, next_try, id, domain) WHERE state IN ('pending','deferred');
