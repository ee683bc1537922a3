-- A campaign that is to begin at a time, as it was checked when it was planned: its content, whom it is for, and all that was asked
-- for, whole. `begun` without a campaign is claimed: a process is about to freeze it. With one it has begun for good; its content
-- stands there, and request says how those who go on with it send. late: how many milliseconds after its time it may still begin.
CREATE TABLE schedules (
  id            INTEGER PRIMARY KEY,
  name          TEXT    NOT NULL UNIQUE,
  class         TEXT    NOT NULL CHECK (class IN ('marketing','operational')),
  content_hash  TEXT    NOT NULL,
  content       TEXT    NOT NULL,
  segment       TEXT    NOT NULL,
  options       TEXT    NOT NULL CHECK (json_valid(options)),
  request       TEXT    NOT NULL CHECK (json_valid(request)),
  recipients    INTEGER NOT NULL,
  at            INTEGER NOT NULL,
  late          INTEGER NOT NULL,
  state         TEXT    NOT NULL CHECK (state IN ('planned','begun','missed')),
  created_at    INTEGER NOT NULL,
  claim         TEXT    NOT NULL DEFAULT '',
  holder        TEXT    NOT NULL DEFAULT '',
  holder_until  INTEGER NOT NULL DEFAULT 0,
  campaign      INTEGER REFERENCES campaigns(id)
);
CREATE INDEX schedules_campaign ON schedules (campaign);

-- What only one process at a time does beside sending, and which one that is.
CREATE TABLE leases (
  name    TEXT    NOT NULL PRIMARY KEY,
  claim   TEXT    NOT NULL,
  holder  TEXT    NOT NULL,
  expires INTEGER NOT NULL
) WITHOUT ROWID;

-- A person ended its last run, by a signal or with a limit: whom it never tried waits for a person's next word, mailer run sends them
-- nothing. Who was deferred is tried again.
ALTER TABLE campaigns ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0 CHECK (by_hand IN (0,1));
