-- Times are unix milliseconds (UTC). Text states carry CHECKs, so that no code path can invent one.

-- One row a setting of this database: the id of the workspace, salts.
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- HMAC keys of tokens, by version; the highest signs, all verify.
CREATE TABLE token_keys (
  version    INTEGER PRIMARY KEY,
  secret     BLOB    NOT NULL,
  created_at INTEGER NOT NULL
);

-- A field is a column of an imported file under its own name. Its JSON path in contacts.fields is 'f' || id:
-- generated, so that no field name ever reaches SQL text.
CREATE TABLE fields (
  id         INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL UNIQUE,
  type       TEXT    NOT NULL CHECK (type IN ('text','number','date','boolean','list')),
  role       TEXT    NOT NULL DEFAULT '',
  declared   INTEGER NOT NULL DEFAULT 0 CHECK (declared IN (0,1)),
  created_at INTEGER NOT NULL
);

-- fields: {"f1":"東京都","f2":30,"f3":"2026-01-05","t3":"2026/1/5"}: f<id> compares, t<id> prints where it differs.
CREATE TABLE contacts (
  id         INTEGER PRIMARY KEY,
  key        TEXT    NOT NULL UNIQUE,
  address    TEXT    NOT NULL,
  fields     TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(fields)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE lists (
  id         INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
);

CREATE TABLE memberships (
  list           INTEGER NOT NULL REFERENCES lists(id),
  contact        INTEGER NOT NULL REFERENCES contacts(id) ON DELETE CASCADE,
  since          INTEGER NOT NULL,
  consent_source TEXT    NOT NULL DEFAULT '',
  consent_at     INTEGER,
  consent_text   TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (list, contact)
) WITHOUT ROWID;
CREATE INDEX memberships_contact ON memberships (contact);

CREATE TABLE change_sets (
  id          INTEGER PRIMARY KEY,
  kind        TEXT    NOT NULL CHECK (kind IN ('import','edit')),
  source      TEXT    NOT NULL,
  source_hash TEXT    NOT NULL DEFAULT '',
  options     TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(options)),
  state       TEXT    NOT NULL CHECK (state IN ('applying','done','undoing','undone')),
  last_line   INTEGER NOT NULL DEFAULT 0,
  totals      TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(totals)),
  created_at  INTEGER NOT NULL,
  finished_at INTEGER
);

-- What one line of a change set did to one contact; before is the row as it was (NULL: it was not there).
CREATE TABLE changes (
  change_set INTEGER NOT NULL REFERENCES change_sets(id),
  seq        INTEGER NOT NULL,
  line       INTEGER NOT NULL DEFAULT 0,
  contact    INTEGER NOT NULL,
  key        TEXT    NOT NULL,
  op         TEXT    NOT NULL CHECK (op IN ('create','update','touch','delete')),
  before     TEXT,
  after      TEXT,
  PRIMARY KEY (change_set, seq)
) WITHOUT ROWID;
CREATE INDEX changes_contact ON changes (contact);

-- An address or a domain that must not be mailed. No key to contacts: it outlives them, and no import lifts it.
CREATE TABLE suppressions (
  id         INTEGER PRIMARY KEY,
  scope      TEXT    NOT NULL CHECK (scope IN ('address','domain')),
  key        TEXT    NOT NULL,
  blocks     TEXT    NOT NULL CHECK (blocks IN ('marketing','all')),
  reason     TEXT    NOT NULL CHECK (reason IN ('unsubscribe','hard_bounce','soft_bounces','complaint','manual','import','forgotten')),
  evidence   TEXT    NOT NULL DEFAULT '',
  delivery   INTEGER,
  bounce     INTEGER,
  created_at INTEGER NOT NULL,
  UNIQUE (scope, key, reason)
);

-- content, segment and options are frozen at the first send. The lease says which process sends; its token only grows (fencing).
CREATE TABLE campaigns (
  id             INTEGER PRIMARY KEY,
  name           TEXT    NOT NULL UNIQUE,
  class          TEXT    NOT NULL CHECK (class IN ('marketing','operational')),
  content_hash   TEXT    NOT NULL,
  content        TEXT    NOT NULL,
  segment        TEXT    NOT NULL DEFAULT '',
  options        TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(options)),
  state          TEXT    NOT NULL CHECK (state IN ('sending','paused','finished','cancelled')),
  note           TEXT    NOT NULL DEFAULT '',
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER NOT NULL,
  finished_at    INTEGER,
  lease_holder   TEXT    NOT NULL DEFAULT '',
  lease_token    INTEGER NOT NULL DEFAULT 0,
  lease_expires  INTEGER NOT NULL DEFAULT 0
);

-- One message to one person. key is the comparison key of the address: UNIQUE is what makes a second message impossible.
CREATE TABLE deliveries (
  id         INTEGER PRIMARY KEY,
  campaign   INTEGER NOT NULL REFERENCES campaigns(id),
  contact    INTEGER,
  key        TEXT    NOT NULL,
  address    TEXT    NOT NULL,
  domain     TEXT    NOT NULL,
  state      TEXT    NOT NULL CHECK (state IN ('pending','sending','accepted','deferred','failed','uncertain','excluded','bounced','complained')),
  attempts   INTEGER NOT NULL DEFAULT 0,
  reason     TEXT    NOT NULL DEFAULT '',
  relay      TEXT    NOT NULL DEFAULT '',
  code       INTEGER NOT NULL DEFAULT 0,
  enhanced   TEXT    NOT NULL DEFAULT '',
  reply      TEXT    NOT NULL DEFAULT '',
  message_id TEXT    NOT NULL DEFAULT '',
  next_try   INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL,
  UNIQUE (key, campaign),
  CHECK (state <> 'excluded' OR reason <> '')
);
CREATE INDEX deliveries_open ON deliveries (campaign, next_try, id) WHERE state IN ('pending','deferred');
CREATE INDEX deliveries_sending ON deliveries (campaign) WHERE state = 'sending';
CREATE INDEX deliveries_campaign ON deliveries (campaign);

-- Every attempt that did not end in an acceptance; the accepted one stands in deliveries, and moves here when a bounce or a
-- complaint takes its place. Append-only.
CREATE TABLE attempts (
  id       INTEGER PRIMARY KEY,
  delivery INTEGER NOT NULL REFERENCES deliveries(id),
  number   INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  relay    TEXT    NOT NULL DEFAULT '',
  phase    TEXT    NOT NULL DEFAULT '',
  outcome  TEXT    NOT NULL CHECK (outcome IN ('accepted','deferred','failed','uncertain','resolved')),
  reason   TEXT    NOT NULL DEFAULT '',
  code     INTEGER NOT NULL DEFAULT 0,
  enhanced TEXT    NOT NULL DEFAULT '',
  reply    TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX attempts_delivery ON attempts (delivery);

-- What happened to a person after the relay took the message, and to suppressions. Append-only.
CREATE TABLE events (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  kind     TEXT    NOT NULL CHECK (kind IN ('bounce','soft_bounce','complaint','unsubscribe','autoreply','delivered','suppress','unsuppress','open','click')),
  key      TEXT    NOT NULL,
  delivery INTEGER,
  campaign INTEGER,
  bounce   INTEGER,
  detail   TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(detail))
);
CREATE INDEX events_key ON events (key);
CREATE INDEX events_delivery ON events (delivery);

-- One mail read from the bounce mailbox, kept compressed with the verdict and what it changed.
CREATE TABLE bounces (
  id          INTEGER PRIMARY KEY,
  source      TEXT    NOT NULL,
  digest      TEXT    NOT NULL UNIQUE,
  message_id  TEXT    NOT NULL DEFAULT '',
  raw         BLOB    NOT NULL,
  kind        TEXT    NOT NULL CHECK (kind IN ('bounce','complaint','autoreply','delivered','unsubscribe','not-a-bounce')),
  verdict     TEXT    NOT NULL CHECK (json_valid(verdict)),
  matched_by  TEXT    NOT NULL DEFAULT '' CHECK (matched_by IN ('','return_path','envid','message_id','unsubscribe')),
  forged      INTEGER NOT NULL DEFAULT 0 CHECK (forged IN (0,1)),
  delivery    INTEGER,
  changed     TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(changed)),
  read_at     INTEGER NOT NULL
);
CREATE INDEX bounces_delivery ON bounces (delivery);

-- Sliding counters of the rate limits: how many were let through in one slot of a window, shared by every process.
CREATE TABLE buckets (
  name   TEXT    NOT NULL,
  slot   INTEGER NOT NULL,
  used   INTEGER NOT NULL,
  PRIMARY KEY (name, slot)
) WITHOUT ROWID;

-- Who did what and when; hash = SHA-256 over the row and the hash before it.
CREATE TABLE audit (
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  actor  TEXT    NOT NULL,
  action TEXT    NOT NULL,
  detail TEXT    NOT NULL CHECK (json_valid(detail)),
  prev   TEXT    NOT NULL,
  hash   TEXT    NOT NULL
);
