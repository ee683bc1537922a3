-- Mails of the bounce mailbox: the bytes stand last, so that the other columns are read without them. asks: a person asks to be left
-- alone and a person here decides. decided: what a person said of it. purged: the bytes are gone because they were kept long enough.
CREATE TABLE bounces_new (
  id          INTEGER PRIMARY KEY,
  source      TEXT    NOT NULL,
  digest      TEXT    NOT NULL UNIQUE,
  message_id  TEXT    NOT NULL DEFAULT '',
  kind        TEXT    NOT NULL CHECK (kind IN ('bounce','complaint','autoreply','delivered','unsubscribe','not-a-bounce')),
  matched_by  TEXT    NOT NULL DEFAULT '' CHECK (matched_by IN ('','return_path','envid','message_id','unsubscribe','person')),
  forged      INTEGER NOT NULL DEFAULT 0 CHECK (forged IN (0,1)),
  delivery    INTEGER,
  changed     TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(changed)),
  read_at     INTEGER NOT NULL,
  asks        INTEGER NOT NULL DEFAULT 0 CHECK (asks IN (0,1)),
  decided     TEXT    NOT NULL DEFAULT '' CHECK (decided IN ('','confirmed','dismissed','undone')),
  decided_at  INTEGER NOT NULL DEFAULT 0,
  purged      INTEGER NOT NULL DEFAULT 0 CHECK (purged IN (0,1)),
  verdict     TEXT    NOT NULL CHECK (json_valid(verdict)),
  raw         BLOB    NOT NULL
);
INSERT INTO bounces_new (id, source, digest, message_id, kind, matched_by, forged, delivery, changed, read_at, verdict, raw)
  SELECT id, source, digest, message_id, kind, matched_by, forged, delivery, changed, read_at, verdict, raw FROM bounces;
DROP TABLE bounces;
ALTER TABLE bounces_new RENAME TO bounces;
CREATE INDEX bounces_delivery ON bounces (delivery);
CREATE INDEX bounces_kept ON bounces (read_at) WHERE purged = 0;

-- How many addresses of a receiving provider turned out dead in one slot of time.
CREATE TABLE dead_counts (
  lane TEXT    NOT NULL,
  slot INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  PRIMARY KEY (lane, slot)
) WITHOUT ROWID;

-- A provider of whose recipients too many turned out dead at once: what it says of addresses is not believed until then. word is what
-- a person said of it.
CREATE TABLE freezes (
  id       INTEGER PRIMARY KEY,
  lane     TEXT    NOT NULL,
  began    INTEGER NOT NULL,
  until    INTEGER NOT NULL,
  dead     INTEGER NOT NULL,
  of       INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,
  word     TEXT    NOT NULL DEFAULT '' CHECK (word IN ('','suppress','keep'))
);
CREATE INDEX freezes_lane ON freezes (lane);

-- The suppressions that are held back because of it.
CREATE TABLE held (
  id         INTEGER PRIMARY KEY,
  freeze     INTEGER NOT NULL REFERENCES freezes(id),
  key        TEXT    NOT NULL UNIQUE,
  evidence   TEXT    NOT NULL DEFAULT '',
  delivery   INTEGER,
  bounce     INTEGER,
  created_at INTEGER NOT NULL
);
CREATE INDEX held_freeze ON held (freeze);

-- What bounces and refusals have suppressed lately.
CREATE INDEX suppressions_shown ON suppressions (created_at) WHERE delivery IS NOT NULL;
