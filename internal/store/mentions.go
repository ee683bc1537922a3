package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"mailer/internal/address"
)

// mentions are rows about others, or about nobody, in which an address stands: the reply of a server behind a forwarding,
// a report that was matched to no delivery, the evidence of a suppression.
type mentions struct {
	campaigns []string
	rows      []mention
}

type mention struct {
	table string
	id    int64
	text  string // with the address taken out
}

// mentionable are the columns of free text. What becomes of it is the same text without the address, but for the mail
// itself, of which nothing is kept.
var mentionable = []struct{ table, column string }{
	{"deliveries", "reply"}, {"attempts", "reply"}, {"events", "detail"}, {"suppressions", "evidence"}, {"held", "evidence"}, {"bounces", "verdict"},
}

// erasedAddress stands where an address was.
const erasedAddress = "(forgotten)"

// spellings finds an address in any case, quoted as on the wire or not, within JSON too.
func spellings(key string) *regexp.Regexp {
	var all []string
	for _, form := range []string{address.Wire(key), key} {
		inJSON, _ := json.Marshal(form) // a string always can be
		all = append(all, regexp.QuoteMeta(strings.Trim(string(inJSON), `"`)), regexp.QuoteMeta(form))
	}
	return regexp.MustCompile("(?i)" + strings.Join(all, "|"))
}

func (s *Store) findMentions(ctx context.Context, key string) (mentions, error) {
	m := mentions{campaigns: []string{}}
	if key == "" {
		return m, nil
	}
	find := spellings(key)
	for _, c := range mentionable {
		if err := m.inColumn(ctx, s.read, c.table, c.column, key, find); err != nil {
			return m, err
		}
	}
	if err := m.inMails(ctx, s.read, find); err != nil {
		return m, err
	}
	err := eachString(ctx, s.read, func(name string) { m.campaigns = append(m.campaigns, name) },
		`SELECT name FROM (
			SELECT 0 AS planned, id, name FROM campaigns WHERE instr(lower(segment), ?) > 0 OR instr(lower(content), ?) > 0 OR instr(lower(options), ?) > 0
			UNION ALL SELECT 1, id, name FROM schedules
			WHERE campaign IS NULL AND (instr(lower(segment), ?) > 0 OR instr(lower(content), ?) > 0 OR instr(lower(options), ?) > 0)) AS texts
			ORDER BY planned, id`, key, key, key, key, key, key)
	return m, err
}

// inColumn looks for the address in a column. SQLite narrows the rows by the domain, which no quoting changes.
func (m *mentions) inColumn(ctx context.Context, q queryer, table, column, key string, find *regexp.Regexp) error {
	domain := key[strings.LastIndexByte(key, '@'):]
	rows, err := q.QueryContext(ctx, "SELECT id, "+column+" FROM "+table+" WHERE instr(lower("+column+"), ?) > 0", strings.ToLower(domain))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		if clean := find.ReplaceAllLiteralString(text, erasedAddress); clean != text {
			m.rows = append(m.rows, mention{table + "." + column, id, clean})
		}
	}
	return rows.Err()
}

// inMails looks into the mails themselves.
func (m *mentions) inMails(ctx context.Context, q queryer, find *regexp.Regexp) error {
	rows, err := q.QueryContext(ctx, "SELECT id, raw FROM bounces WHERE length(raw) > 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var packed []byte
		if err := rows.Scan(&id, &packed); err != nil {
			return err
		}
		raw, err := io.ReadAll(inflate(packed))
		if err != nil {
			raw = packed // damaged, but a look is had
		}
		if find.Match(raw) || find.Match(bytes.ReplaceAll(raw, []byte("=\r\n"), nil)) { // folded by quoted-printable
			m.rows = append(m.rows, mention{"bounces.raw", id, ""})
		}
	}
	return rows.Err()
}

// erase takes the address out of the rows and says of how many. Those that are the person's own are empty by now.
func (m mentions) erase(ctx context.Context, tx *sql.Tx) (int64, error) {
	var n int64
	for _, r := range m.rows {
		table, column, _ := strings.Cut(r.table, ".")
		var value any = r.text
		switch r.table {
		case "bounces.raw":
			value = []byte{}
		case "bounces.verdict", "events.detail":
			if !json.Valid([]byte(r.text)) {
				value = "{}"
			}
		}
		res, err := tx.ExecContext(ctx, "UPDATE "+table+" SET "+column+" = ? WHERE id = ? AND "+column+" NOT IN ('', '{}', x'')", value, r.id)
		if err != nil {
			return 0, err
		}
		changed, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		n += changed
	}
	return n, nil
}
