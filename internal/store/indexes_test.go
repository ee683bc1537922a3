package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailer/internal/contact"
)

// many are many people in these tests.
const many = 4000

// crowd is a store with n contacts, of id 40001 and on, to which they are many: city is one of 50, age from 0 to 99, code
// their id; fields 1 to 5, of which the last two are as code is.
func crowd(tb testing.TB, n int) *Store {
	tb.Helper()
	s, err := Open(tb.Context(), tb.TempDir()+"/mailer.db", Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	s.sizes = sizes{apart: 1000, stretch: 700, large: many}
	for i, f := range []contact.Field{{Name: "city", Type: contact.Text}, {Name: "age", Type: contact.Number}, {Name: "code", Type: contact.Number},
		{Name: "code2", Type: contact.Number}, {Name: "code3", Type: contact.Number}} {
		if _, err := s.write.Exec("INSERT INTO fields (id, name, type, created_at) VALUES (?, ?, ?, 0)", i+1, f.Name, f.Type); err != nil {
			tb.Fatal(err)
		}
	}
	_, err = s.write.Exec(`WITH RECURSIVE n(i) AS (SELECT 40001 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO contacts (id, key, address, fields, created_at, updated_at)
		SELECT i, 'p' || i || '@example.jp', 'p' || i || '@example.jp', '{"f1":"city' || (i * 7919 % 50) || '","f2":' || (i * 31 % 100) || ',"f3":' || i || ',"f4":' || i || ',"f5":' || i || '}', 0, 0 FROM n`, 40000+n)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func field(id int64, sql string, args ...any) Seek {
	return Seek{contact.Field{ID: id, Name: fmt.Sprint("field", id)}, Where{SQL: strings.ReplaceAll(sql, "F", fmt.Sprintf("json_extract(c.fields, '$.f%d')", id)), Args: args}}
}

func indexed(t *testing.T, s *Store) string {
	t.Helper()
	fields, err := s.IndexedFields(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}

func tend(t *testing.T, s *Store, want string, seeks ...Seek) {
	t.Helper()
	_, made, err := s.TendIndexes(t.Context(), seeks)
	if got := indexed(t, s); err != nil || got != want {
		t.Errorf("indexes on %q (made one: %v), want %q, %v", got, made, want, err)
	}
}

func TestIndexesAreTended(t *testing.T) {
	s := crowd(t, many)
	now := time.Now()
	s.clock = func() time.Time { return now }
	city, age, most := field(1, "F = ?", "city7"), field(2, "F = ?", 3), field(2, "F > ?", 20)
	code, code2, code3 := field(3, "F < ?", 40005), field(4, "F < ?", 40005), field(5, "F < ?", 40005)

	tend(t, s, "")
	tend(t, s, "", most) // finds too many
	exec(t, s, "INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at, lease_holder, lease_expires) VALUES (1, 'n', 'marketing', '', '', 'sending', 0, 0, 'x', ?)",
		now.Add(time.Minute).UnixMilli())
	tend(t, s, "", city) // somebody sends
	exec(t, s, "UPDATE campaigns SET lease_expires = 0")
	tend(t, s, "city", city, most)
	tend(t, s, "city age", city, age) // the one that finds fewer
	if _, made, err := s.TendIndexes(t.Context(), []Seek{age}); made || err != nil {
		t.Errorf("an index that is there is made again: %v, %v", made, err)
	}
	tend(t, s, "city age code", code)
	tend(t, s, "city age code", code2) // all three are fresh
	now = now.Add(settledFor + time.Hour)
	tend(t, s, "city age code", age)
	tend(t, s, "age code code2", code2) // city gives way, for which nobody asked
	exec(t, s, "DELETE FROM fields WHERE name = 'code'")
	tend(t, s, "age code2")
	if n := scalar(t, s, "SELECT count(*) FROM sqlite_master WHERE name GLOB 'contacts_f*'"); n != 2 {
		t.Errorf("the index of a field that is no more is still there: %d", n)
	}
	tend(t, s, "age code2 code3", code3)
	now = now.Add(unusedFor + time.Hour)
	tend(t, s, "")
	if n := scalar(t, s, "SELECT count(*) FROM meta WHERE name GLOB 'index_used:*'"); n != 0 {
		t.Errorf("%d traces of dropped indexes", n)
	}
}

func scalar(t *testing.T, s *Store, query string, args ...any) (n int64) {
	t.Helper()
	if err := s.read.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// With an index, without one, with all cores and with one: the same counts.
func TestCountsAgree(t *testing.T) {
	s := crowd(t, many+1000)
	exec(t, s, "DELETE FROM contacts WHERE id BETWEEN 41000 AND 43000 AND id % 3 = 0")
	exec(t, s, "INSERT INTO lists (id, name, created_at) VALUES (1, 'l', 0)")
	exec(t, s, "INSERT INTO memberships (list, contact, since) SELECT 1, id, 0 FROM contacts WHERE id % 100 = 0")
	conditions := []Where{
		field(1, "F = ?", "city7").Where, field(1, "F IN (?, ?)", "city7", "city9").Where, field(2, "F >= ?", 95).Where, field(2, "F >= ?", 5).Where,
		field(1, "F = ?", "city7").Where.And(field(2, "F > ?", 50).Where), {SQL: "(json_extract(c.fields, '$.f1') = ?) IS NOT TRUE", Args: []any{"city7"}},
		{SQL: "c.id IN (SELECT m.contact FROM memberships AS m WHERE m.list = ?)", Args: []any{1}}, {SQL: "mailer_place(?, c.key) < ?", Args: []any{"", int64(1) << 60}},
		{SQL: "json_extract(c.fields, '$.f1') = ? OR json_extract(c.fields, '$.f2') = ?", Args: []any{"city7", 3}},
	}
	count := func() []int64 {
		t.Helper()
		var each []int64
		for _, w := range conditions {
			n, err := s.CountContacts(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			each = append(each, n)
		}
		together, err := s.CountEach(t.Context(), conditions, nil)
		if err != nil || !slices.Equal(each, together) {
			t.Errorf("one by one %v, together %v, %v", each, together, err)
		}
		return each
	}
	plain := make([]int64, len(conditions))
	for i, w := range conditions {
		plain[i] = scalar(t, s, "SELECT count(*) FROM contacts AS c WHERE "+w.SQL, w.Args...)
	}
	if got := count(); !slices.Equal(got, plain) {
		t.Errorf("counts %v, want %v", got, plain)
	}
	tend(t, s, "city", field(1, "F = ?", "city7"))
	tend(t, s, "city age", field(2, "F = ?", 7))
	if got := count(); !slices.Equal(got, plain) {
		t.Errorf("with indexes %v, want %v", got, plain)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.CountContacts(ctx, conditions[3]); err == nil {
		t.Error("counted after the context had ended")
	}
	broken := Where{SQL: "'a' REGEXP c.key || '('"}
	if _, err := s.CountContacts(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "missing closing") {
		t.Errorf("a condition that fails: %v", err)
	}
}

func TestQueryPlan(t *testing.T) {
	s := crowd(t, many)
	plan := func(w Where) string {
		t.Helper()
		words, err := s.QueryPlan(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(words, "; ")
	}
	city := field(1, "F = ?", "city7")
	for _, tt := range []struct {
		w    Where
		want string
	}{
		{city.Where, "reads all 4,000 contacts"},
		{Where{SQL: "c.key = ?", Args: []any{"a"}}, "looks contacts up by address"},
		{Where{SQL: "c.id IN (SELECT m.contact FROM memberships AS m WHERE m.list = ?)", Args: []any{1}}, "looks up these contacts; reads who is on the list"},
		{Where{SQL: "EXISTS (SELECT 1 FROM memberships AS m WHERE m.list = ? AND m.contact = c.id)", Args: []any{1}}, "reads all 4,000 contacts; looks each person up on the list"},
		{Where{SQL: "EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = c.key AND d.campaign = ?)", Args: []any{1}}, "reads all 4,000 contacts; looks up each person's deliveries by address"},
		{Where{SQL: "c.key IN (SELECT d.key FROM deliveries AS d WHERE d.campaign = ?)", Args: []any{1}}, "looks contacts up by address; reads the deliveries of the campaign"},
		{Where{SQL: "EXISTS (SELECT 1 FROM events AS h WHERE h.key = c.key) AND EXISTS (SELECT 1 FROM suppressions AS s WHERE s.scope = 'address' AND s.key = c.key)"},
			"reads all 4,000 contacts; looks each person up among the suppressions; looks up each person's history by address"},
		{Where{SQL: "EXISTS (SELECT 1 FROM json_each(c.fields, '$.f1') AS e WHERE e.value = ?)", Args: []any{1}}, "reads all 4,000 contacts; goes through the items of the list field"},
	} {
		if got := plan(tt.w); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.w.SQL, got, tt.want)
		}
	}
	tend(t, s, "city", city)
	if got := plan(city.Where); got != "uses the index on city" {
		t.Errorf("with an index: %q", got)
	}
	if got := plan(field(1, "F >= ?", "city1").Where.And(field(2, "F > ?", 3).Where)); got != "reads all 4,000 contacts" {
		t.Errorf("an index is used for nearly everybody: %q", got)
	}
}

// What SQLite keeps of an index's values goes with the person.
func TestForgottenLeaveNoSample(t *testing.T) {
	s := crowd(t, many)
	tend(t, s, "code", field(3, "F < ?", 40100))
	// A sample is the index's row: here the code, three bytes as from 32768 on, and the id, which is the same.
	var sample, code string
	if err := s.read.QueryRow("SELECT hex(sample), substr(hex(sample), -6) FROM sqlite_stat4 WHERE tbl = 'contacts' AND length(sample) = 9 LIMIT 1").Scan(&sample, &code); err != nil {
		t.Fatal(err)
	}
	id, err := strconv.ParseInt(code, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ForgetContact(t.Context(), fmt.Sprintf("p%d@example.jp", id)); err != nil {
		t.Fatal(err)
	}
	if n := scalar(t, s, "SELECT count(*) FROM sqlite_stat4 WHERE hex(sample) = ?", sample); n > 0 {
		t.Errorf("the samples hold a value of contact %d, who was forgotten", id)
	}
}
