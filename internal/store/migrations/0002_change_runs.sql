-- What a change set did to many contacts alike: created them, found them as they are, put them on the list. A row in changes for
-- each would say nothing more and cost as much as the contacts themselves. first and last are the lowest and the highest contact of
-- the run; lines holds contact and line of each as varints. seq counts on in one sequence with that of changes.
CREATE TABLE change_runs (
  change_set INTEGER NOT NULL REFERENCES change_sets(id),
  seq        INTEGER NOT NULL,
  op         TEXT    NOT NULL CHECK (op IN ('create','touch','join','skip')),
  first      INTEGER NOT NULL,
  last       INTEGER NOT NULL,
  lines      BLOB    NOT NULL,
  PRIMARY KEY (change_set, seq)
) WITHOUT ROWID;

-- The highest id that a contact ever had: none is given out twice, so that no change set finds a stranger under it.
INSERT INTO meta (name, value)
  SELECT 'last_contact', max(coalesce((SELECT max(id) FROM contacts), 0), coalesce((SELECT max(contact) FROM changes), 0));
