package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
)

// A run is what a change set did to many contacts alike. Most rows of most imports need no more: who was created has no
// before, and what they became stands in their row.

// What a run says of its contacts.
const (
	runCreate = "create" // they were not there before; they are on the set's list, if it has one
	runTouch  = "touch"  // they were there, as the file has them
	runJoin   = "join"   // they were there, and came on the set's list
	runSkip   = "skip"   // they were there, and --on-duplicate skip left them alone
)

// maxRun is how many contacts one run holds: what an undo takes back at a time, at the least.
const maxRun = 512

// runLine is one contact of a run, and the line of the file that led to it.
type runLine struct {
	contact int64
	line    int64
}

// run is a row of change_runs.
type run struct {
	set   int64
	seq   int64
	op    string
	lines []runLine
}

// encodeRun packs lines as differences from the line before: two or three bytes each in a file that is read in order.
func encodeRun(lines []runLine) (first, last int64, blob []byte) {
	blob = make([]byte, 0, 4*len(lines))
	first, last = lines[0].contact, lines[0].contact
	var before runLine
	for _, l := range lines {
		blob = binary.AppendVarint(blob, l.contact-before.contact)
		blob = binary.AppendVarint(blob, l.line-before.line)
		first, last = min(first, l.contact), max(last, l.contact)
		before = l
	}
	return first, last, blob
}

var errBrokenRun = errors.New("a run of changes is damaged")

// decodeRun calls fn for each line of a run.
func decodeRun(blob []byte, fn func(runLine)) error {
	var l runLine
	for len(blob) > 0 {
		contact, n := binary.Varint(blob)
		if n <= 0 {
			return errBrokenRun
		}
		line, m := binary.Varint(blob[n:])
		if m <= 0 {
			return errBrokenRun
		}
		l.contact, l.line = l.contact+contact, l.line+line
		blob = blob[n+m:]
		fn(l)
	}
	return nil
}

// writeRuns stores lines as runs of one op and returns the next free seq.
func writeRuns(ctx context.Context, tx *sql.Tx, set, seq int64, op string, lines []runLine) (int64, error) {
	for len(lines) > 0 {
		n := min(len(lines), maxRun)
		first, last, blob := encodeRun(lines[:n])
		_, err := tx.ExecContext(ctx, "INSERT INTO change_runs (change_set, seq, op, first, last, lines) VALUES (?, ?, ?, ?, ?, ?)", set, seq, op, first, last, blob)
		if err != nil {
			return seq, err
		}
		lines, seq = lines[n:], seq+1
	}
	return seq, nil
}

// eachRun calls fn for the runs that a query finds; rest is what follows FROM change_runs AS r.
func eachRun(ctx context.Context, q queryer, fn func(r run) error, rest string, args ...any) error {
	rows, err := q.QueryContext(ctx, "SELECT r.change_set, r.seq, r.op, r.lines FROM change_runs AS r "+rest, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r run
		var blob sql.RawBytes
		if err := rows.Scan(&r.set, &r.seq, &r.op, &blob); err != nil {
			return err
		}
		if err := decodeRun(blob, func(l runLine) { r.lines = append(r.lines, l) }); err != nil {
			return fmt.Errorf("change set %d: %w", r.set, err)
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// idSet is a set of contact ids, a bit each. Ids are given out one after the other, so it stays small: 125 KB a million.
type idSet []uint64

func (s *idSet) add(id int64) {
	word := int(id >> 6)
	if word >= len(*s) {
		grown := make(idSet, word+1+word/4)
		copy(grown, *s)
		*s = grown
	}
	(*s)[word] |= 1 << (id & 63)
}

func (s idSet) has(id int64) bool {
	word := int(id >> 6)
	return word < len(s) && s[word]&(1<<(id&63)) != 0
}

// lastSeq is the highest seq of a change set, 0 when it has none.
func lastSeq(ctx context.Context, q queryer, set int64) (seq int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT max(coalesce((SELECT max(seq) FROM changes WHERE change_set = ?), 0),
		coalesce((SELECT max(seq) FROM change_runs WHERE change_set = ?), 0))`, set, set).Scan(&seq)
	return seq, err
}
