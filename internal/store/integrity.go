package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mailer/internal/delivery"
)

// Problem is something that is wrong with a database, or worth a word.
type Problem struct {
	Check  string   `json:"check"` // pages, keys, ...: stable, for scripts
	Level  string   `json:"level"` // error: something is lost or wrong; warning: it works, and somebody should know
	Found  string   `json:"found"`
	Do     string   `json:"do"`
	Detail []string `json:"detail,omitempty"`
}

// The levels of a Problem.
const (
	ProblemError   = "error"
	ProblemWarning = "warning"
)

// Checked is what a check of a database found.
type Checked struct {
	Holdings
	Bytes    int64     `json:"bytes"`
	Free     int64     `json:"free_bytes"` // in pages that hold nothing; what comes next takes them
	WAL      int64     `json:"wal_bytes"`
	Problems []Problem `json:"-"`
}

// CheckOptions of Check.
type CheckOptions struct {
	Quick bool                     // leave out what takes long: whether indexes and tables agree
	Now   func() time.Time         // time.Now when nil
	Gone  func(holder string) bool // as Options.Gone
	Doing func(what string)        // hears what is looked at; may be nil
}

const (
	doRestore = "restore a backup (mailer restore FILE; if this is a backup, take another one), or take the data out with the sqlite3 command's .recover"
	doReport  = "please report it; mailer backup keeps the state as it is"

	shownDamages = 20
	largeWAL     = 256 << 20 // a checkpoint keeps it at some MB, unless a reader stands in its way
)

// Check looks a database over and changes nothing: it opens the file for reading, brings it to no schema and folds no WAL in. What is
// wrong with the content is a Problem; an error is that it could not be looked at.
func Check(ctx context.Context, path string, o CheckOptions) (Checked, error) {
	c := checking{o: o}
	if c.o.Now == nil {
		c.o.Now = time.Now
	}
	st, err := os.Stat(path)
	if err != nil {
		return c.Checked, fmt.Errorf("check the database: %w", err)
	}
	c.Bytes = st.Size()
	if wal, err := os.Stat(path + "-wal"); err == nil {
		c.WAL = wal.Size()
	}
	if err := registered(); err != nil {
		return c.Checked, err
	}
	db, err := sql.Open("sqlite", databaseURI(path, looking(path)+"&_pragma=busy_timeout(15000)"))
	if err != nil {
		return c.Checked, fmt.Errorf("check the database: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := c.run(ctx, db); err != nil {
		return c.Checked, fmt.Errorf("check the database: %w", explain(err))
	}
	return c.Checked, nil
}

// looking is how a file is opened that must stay as it is. A connection that may not write leaves an empty WAL behind; one that could
// write, and is told not to, takes it away. Where a WAL or a journal is there already it would fold that in.
func looking(path string) string {
	for _, tail := range []string{"-wal", "-journal"} {
		if _, err := os.Lstat(path + tail); !errors.Is(err, fs.ErrNotExist) {
			return "mode=ro"
		}
	}
	return "mode=rw&_pragma=query_only(1)"
}

type checking struct {
	Checked
	o CheckOptions
}

func (c *checking) add(check, level, do, found string, args ...any) *Problem {
	c.Problems = append(c.Problems, Problem{Check: check, Level: level, Do: do, Found: fmt.Sprintf(found, args...)})
	return &c.Problems[len(c.Problems)-1]
}

func (c *checking) run(ctx context.Context, db *sql.DB) error {
	whole, err := c.file(ctx, db)
	if err != nil || !whole {
		return err
	}
	if c.WAL > largeWAL {
		c.add("wal", ProblemWarning, "end what has the database open (a long report, a shell of sqlite3): the last process that closes it folds the log in",
			"the write-ahead log has grown to %d MB: something has been reading for long", c.WAL>>20)
	}
	// One snapshot: beside a running send the counts would not add up.
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if c.Holdings, err = holdings(ctx, tx); err != nil {
		return err
	}
	if newest := schemas(); c.Schema < newest {
		c.add("schema", ProblemWarning, "nothing: the next command brings it to the newest, and keeps a copy of the file", "the schema is %d, the newest is %d", c.Schema, newest)
		return nil // the rest looks at tables of the newest
	}
	for _, step := range []struct {
		what string
		look func(context.Context, *sql.Tx) error
	}{
		{"rows that name others", c.keys}, {"campaigns", c.campaigns}, {"the history", c.history}, {"who works on it", c.leases}, {"imports", c.imports},
	} {
		c.doing(step.what)
		if err := step.look(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) doing(what string) {
	if c.o.Doing != nil {
		c.o.Doing(what)
	}
}

// file looks at the pages. Not whole: nothing else can be looked at.
func (c *checking) file(ctx context.Context, db *sql.DB) (whole bool, err error) {
	var id, schema, size, free int64
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
		(SELECT page_size FROM pragma_page_size), (SELECT freelist_count FROM pragma_freelist_count)`).Scan(&id, &schema, &size, &free)
	if damaged(explain(err)) {
		c.add("pages", ProblemError, doRestore, "the file cannot be read as a database: %v", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.Free = size * free
	if id != applicationID {
		return false, ErrForeign
	}
	if newest := schemas(); schema > newest {
		return false, fmt.Errorf("%w (schema %d, this one knows %d): update mailer", ErrNewer, schema, newest)
	}
	pragma := "integrity_check"
	if c.o.Quick {
		pragma = "quick_check"
	}
	c.doing("the pages of the file")
	var said []string
	err = eachString(ctx, db, func(line string) { said = append(said, line) }, fmt.Sprintf("PRAGMA %s(%d)", pragma, shownDamages))
	if damaged(explain(err)) {
		said, err = append(said, err.Error()), nil
	}
	if err != nil {
		return false, err
	}
	if len(said) != 1 || said[0] != "ok" {
		c.add("pages", ProblemError, doRestore, "the file is damaged").Detail = said
		return false, nil
	}
	return true, nil
}

func damaged(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrForeign) }

// keys looks for rows that name a row which is not there, such as a delivery without a campaign.
func (c *checking) keys(ctx context.Context, tx *sql.Tx) error {
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		var table, parent string
		var n int64
		if err := rows.Scan(&table, &parent, &n); err != nil {
			return err
		}
		c.add("keys", ProblemError, doRestore, "%d rows of %s name rows of %s that are not there", n, table, parent)
		return nil
	}, `SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2`)
}

// campaigns holds their states against those of their deliveries: the table says how many are in which state, an index how many there are.
func (c *checking) campaigns(ctx context.Context, tx *sql.Tx) error {
	type counts struct {
		delivery.Balance
		open int64
	}
	by := map[int64]*counts{}
	err := eachRow(ctx, tx, func(rows *sql.Rows) error {
		var campaign, n int64
		var state delivery.State
		if err := rows.Scan(&campaign, &state, &n); err != nil {
			return err
		}
		if by[campaign] == nil {
			by[campaign] = &counts{}
		}
		by[campaign].Add(state, n)
		if state == delivery.Pending || state == delivery.Deferred {
			by[campaign].open += n
		}
		return nil
	}, "SELECT campaign, state, count(*) FROM deliveries NOT INDEXED GROUP BY campaign, state")
	if err != nil {
		return err
	}
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		var id, planned int64
		var name, state string
		if err := rows.Scan(&id, &name, &state, &planned); err != nil {
			return err
		}
		b := by[id]
		if b == nil {
			b = &counts{}
		}
		b.Planned = planned
		if !b.Balanced() {
			c.add("balance", ProblemError, doReport, "the states of campaign %s do not add up: %s", name, b.Balance)
		}
		if b.open > 0 && (state == CampaignFinished || state == CampaignCancelled) {
			c.add("balance", ProblemError, doReport, "campaign %s is %s, and %d people in it are still to be sent to", name, state, b.open)
		}
		return nil
	}, "SELECT id, name, state, (SELECT count(*) FROM deliveries INDEXED BY deliveries_campaign WHERE campaign = k.id) FROM campaigns AS k ORDER BY id")
}

// history recomputes the hashes of the audit.
func (c *checking) history(ctx context.Context, tx *sql.Tx) error {
	var before string
	var broken, rows int64
	var first string
	err := eachRow(ctx, tx, func(r *sql.Rows) error {
		var id, at int64
		var actor, action, detail, prev, hash string
		if err := r.Scan(&id, &at, &actor, &action, &detail, &prev, &hash); err != nil {
			return err
		}
		rows++
		if prev != before || auditHash(at, actor, action, detail, prev) != hash {
			if broken++; broken == 1 {
				first = fmt.Sprintf("row %d (%s, %s, by %s)", id, timeOf(at).UTC().Format(time.RFC3339), action, actor)
			}
		}
		before = hash
		return nil
	}, "SELECT id, at, actor, action, detail, prev, hash FROM audit ORDER BY id")
	if broken > 0 {
		c.add("audit", ProblemError, "find out who wrote to the database by other means than mailer; a backup from before holds the history as it was",
			"the history of who did what was changed: %d of %d rows do not follow from the row before them, the first is %s", broken, rows, first)
	}
	return err
}

// leases looks for what dead processes left. The next run takes it over, so nobody need do anything about the leases themselves.
func (c *checking) leases(ctx context.Context, tx *sql.Tx) error {
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		var name, holder, state string
		var expires, sending int64
		if err := rows.Scan(&name, &state, &holder, &expires, &sending); err != nil {
			return err
		}
		alive := holder != "" && expires > c.o.Now().UnixMilli() && (c.o.Gone == nil || !c.o.Gone(holder))
		if alive || sending == 0 {
			return nil
		}
		c.add("unfinished", ProblemWarning, "go on with it (mailer send "+name+"): whose message may have left is marked uncertain then, and not sent to again",
			"the process that sent campaign %s ended with %d messages on the wire (%s)", name, sending, strings.TrimSpace(HolderName(holder)))
		return nil
	}, `SELECT name, state, lease_holder, lease_expires, (SELECT count(*) FROM deliveries WHERE campaign = campaigns.id AND state = 'sending')
		FROM campaigns ORDER BY id`)
}

// imports looks for change sets that were left halfway.
func (c *checking) imports(ctx context.Context, tx *sql.Tx) error {
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		var state, source string
		if err := rows.Scan(&id, &state, &source); err != nil {
			return err
		}
		what, do := "import", "if it is not running, run the same import again: it goes on where it stopped"
		if state == "undoing" {
			what, do = "undoing of import", fmt.Sprintf("if it is not running: mailer import undo %d", id)
		}
		c.add("imports", ProblemWarning, do, "the %s %d (%s) is not finished", what, id, source)
		return nil
	}, "SELECT id, state, source FROM change_sets WHERE state IN ('applying','undoing') ORDER BY id")
}
