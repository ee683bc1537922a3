package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailer/internal/contact"
)

// put imports rows under a spec as one change set and returns it.
func put(t *testing.T, s *Store, spec ImportSpec, rows ...Row) *Import {
	t.Helper()
	im := begin(t, s, spec)
	if err := s.Apply(t.Context(), im, rows); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishImport(t.Context(), im, 0); err != nil {
		t.Fatal(err)
	}
	return im
}

func begin(t *testing.T, s *Store, spec ImportSpec) *Import {
	t.Helper()
	spec.Kind, spec.Source = "import", "test.csv"
	if spec.Options == "" {
		spec.Options = "{}"
	}
	fields, err := s.Fields(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range spec.Columns {
		for _, f := range fields {
			if f.Name == c.Name {
				spec.Columns[i] = f
			}
		}
	}
	im, err := s.BeginImport(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// row is a row for person n with its cells.
func row(line int64, n int, cells ...string) Row {
	address := fmt.Sprintf("p%d@example.jp", n)
	return Row{Line: line, Address: address, Key: address, Cells: cells}
}

func columns(names ...string) []contact.Field {
	var fields []contact.Field
	for _, name := range names {
		typ := contact.Text
		if name, is := strings.CutSuffix(name, "#"); is {
			fields = append(fields, contact.Field{Name: name, Type: contact.Number})
			continue
		}
		fields = append(fields, contact.Field{Name: name, Type: typ})
	}
	return fields
}

func storedFields(t *testing.T, s *Store, n int) string {
	t.Helper()
	var text string
	err := s.read.QueryRow("SELECT fields FROM contacts WHERE key = ?", fmt.Sprintf("p%d@example.jp", n)).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestColumnsInAnyOrderGiveEqualText(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("a", "b", "n#")}, row(2, 1, "x", "y", "1.50"))
	if got := storedFields(t, s, 1); got != `{"f1":"x","f2":"y","f3":1.50}` {
		t.Errorf("stored %s", got)
	}
	im := put(t, s, ImportSpec{Columns: columns("n#", "c", "a", "b")}, row(2, 1, "1.50", "", "x", "y"))
	if im.Totals.Unchanged != 1 {
		t.Errorf("%+v", im.Totals)
	}
	im = put(t, s, ImportSpec{Columns: columns("c", "a")}, row(2, 1, "z", ""), row(3, 2, "z", "q"))
	if got := storedFields(t, s, 1); im.Totals.Updated != 1 || im.Totals.Created != 1 || got != `{"f1":"x","f2":"y","f3":1.50,"f4":"z"}` {
		t.Errorf("%+v, stored %s", im.Totals, got)
	}
}

func TestTwoProcessesAtOneImport(t *testing.T) {
	s, _ := openTest(t)
	spec := ImportSpec{Columns: columns("a"), SourceHash: "h"}
	first := begin(t, s, spec)
	if err := s.Apply(t.Context(), first, []Row{row(2, 1, "x")}); err != nil {
		t.Fatal(err)
	}
	second := begin(t, s, spec)
	if !second.Resumed || second.ID != first.ID || second.LastLine != 2 {
		t.Fatalf("%+v", second)
	}
	if err := s.Apply(t.Context(), second, []Row{row(3, 2, "x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), first, []Row{row(3, 2, "x")}); !errors.Is(err, ErrInterfered) {
		t.Fatalf("the first went on: %v", err)
	}
	if err := s.FinishImport(t.Context(), first, 0); !errors.Is(err, ErrInterfered) {
		t.Fatalf("the first finished: %v", err)
	}
	if err := s.FinishImport(t.Context(), second, 0); err != nil || second.Totals.Created != 2 {
		t.Fatalf("%+v, %v", second.Totals, err)
	}
	other := begin(t, s, ImportSpec{Columns: columns("a"), SourceHash: "h", Options: `{"list":"x"}`})
	if other.Resumed || other.ID == first.ID {
		t.Errorf("other options went on with the same change set")
	}
	if _, err := s.BeginUndo(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), other, []Row{row(2, 3, "x")}); !errors.Is(err, ErrInterfered) {
		t.Errorf("an import went on while it was taken back: %v", err)
	}
}

func TestTypeChangedDuringAnImport(t *testing.T) {
	s, _ := openTest(t)
	im := begin(t, s, ImportSpec{Columns: columns("n#")})
	if _, err := s.SetField(t.Context(), "other", contact.Date, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), im, []Row{row(2, 1, "1")}); err != nil {
		t.Fatalf("another field stopped the import: %v", err)
	}
	if _, err := s.SetField(t.Context(), "n", contact.Text, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), im, []Row{row(3, 2, "2")}); err == nil || !strings.Contains(err.Error(), "run the same command again") {
		t.Errorf("%v", err)
	}
}

func TestIdsAreNotGivenOutAgain(t *testing.T) {
	s, _ := openTest(t)
	im := put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "x"))
	undoAll(t, s, im.ID)
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 2, "x"))
	var id int64
	if err := s.read.QueryRow("SELECT id FROM contacts").Scan(&id); err != nil || id != 2 {
		t.Errorf("the id is %d, %v", id, err)
	}
}

func undoAll(t *testing.T, s *Store, id int64) Undone {
	t.Helper()
	set, err := s.BeginUndo(t.Context(), id)
	for err == nil && set.Totals.Undo.Before > 1 {
		set, _, err = s.UndoRows(t.Context(), id, 1)
	}
	if err == nil {
		set, err = s.FinishUndo(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return *set.Totals.Undo
}

func TestListThatAnotherImportUsesStays(t *testing.T) {
	s, _ := openTest(t)
	first := put(t, s, ImportSpec{Columns: columns("a"), List: "l"}, row(2, 1, "x"), row(3, 2, "x"))
	put(t, s, ImportSpec{Columns: columns("a"), List: "l"}, row(2, 1, "x"))
	if u := undoAll(t, s, first.ID); u.Deleted != 1 || u.Left != 1 {
		t.Errorf("%+v", u)
	}
	c, ok, err := s.Contact(t.Context(), "p1@example.jp")
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	lists, err := s.Memberships(t.Context(), c.ID)
	if err != nil || len(lists) != 1 || lists[0].List != "l" {
		t.Errorf("%+v, %v", lists, err)
	}
}

func TestSetFieldType(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("day", "n")}, row(2, 1, "2026/1/5", "1"), row(3, 2, "", "x"), row(4, 3, "2026-01-06", ""))
	change, err := s.SetField(t.Context(), "day", contact.Date, nil, nil)
	if err != nil || change.Rewritten != 2 || change.Created {
		t.Fatalf("%+v, %v", change, err)
	}
	if got := storedFields(t, s, 1); got != `{"f1":"2026-01-05","t1":"2026/1/5","f2":"1"}` {
		t.Errorf("stored %s", got)
	}
	_, err = s.SetField(t.Context(), "n", contact.Number, nil, nil)
	var misfit *FieldMisfit
	if !errors.As(err, &misfit) || misfit.Count != 1 || misfit.Address != "p2@example.jp" {
		t.Errorf("%v", err)
	}
	if fields, err := s.Fields(t.Context()); err != nil || fields[1].Type != contact.Text || fields[1].Declared {
		t.Errorf("a refused change changed the field: %+v, %v", fields, err)
	}
	if change, err = s.SetField(t.Context(), "day", contact.Text, nil, nil); err != nil || change.Rewritten != 2 {
		t.Errorf("%+v, %v", change, err)
	}
	if got := storedFields(t, s, 1); got != `{"f1":"2026/1/5","f2":"1"}` {
		t.Errorf("stored %s", got)
	}
	if change, err = s.SetField(t.Context(), "姓", contact.Text, nil, nil); err != nil || !change.Created || change.Field.Role != contact.LastName {
		t.Errorf("%+v, %v", change, err)
	}
}

// Beside a running send the values of a large list are not brought to another type: that takes one long transaction.
func TestSetFieldTypeBesideASend(t *testing.T) {
	s, now := openTest(t)
	put(t, s, ImportSpec{Columns: columns("n")}, row(2, 1, "1"), row(3, 2, "2"))
	c, err := s.CreateCampaign(t.Context(), Campaign{Name: "c", Class: "marketing", Options: "{}", Expires: now.Add(time.Hour)}, Audience{Class: "marketing"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.Exec("UPDATE campaigns SET lease_holder = 'x', lease_expires = ? WHERE id = ?", now.Add(time.Minute).UnixMilli(), c.ID); err != nil {
		t.Fatal(err)
	}
	s.sizes.rewrite = 1
	if _, err := s.SetField(t.Context(), "n", contact.Number, nil, nil); err == nil || !strings.Contains(err.Error(), "being sent right now") {
		t.Errorf("got %v", err)
	}
	s.sizes.rewrite = 2
	if _, err := s.SetField(t.Context(), "n", contact.Number, nil, nil); err != nil {
		t.Errorf("a short list: %v", err)
	}
}

func TestSetFieldRole(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: []contact.Field{{Name: "pref", Type: contact.Text, Role: contact.Prefecture}, {Name: "home", Type: contact.Text}}}, row(2, 1, "東京都", "x"))
	role := contact.Prefecture
	change, err := s.SetField(t.Context(), "home", "", &role, nil)
	if err != nil || change.RoleFrom != "pref" || change.Field.Role != role || change.Field.Declared || change.Rewritten != 0 {
		t.Fatalf("%+v, %v", change, err)
	}
	none := contact.NoRole
	if change, err = s.SetField(t.Context(), "home", contact.List, &none, nil); err != nil || change.RoleFrom != "" || change.Rewritten != 1 {
		t.Errorf("%+v, %v", change, err)
	}
	all, err := s.Fields(t.Context())
	if err != nil || all[0].Role != "" || all[1].Role != "" || all[1].Type != contact.List || !all[1].Declared {
		t.Errorf("%+v, %v", all, err)
	}
	if change, err = s.SetField(t.Context(), "氏名", "", &none, nil); err != nil || !change.Created || change.Field.Declared || change.Field.Type != contact.Text {
		t.Errorf("%+v, %v", change, err)
	}
}

func TestFieldStats(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("a", "b", "c")}, row(2, 1, "", "x", ""), row(3, 2, "1", "y", ""))
	stats, err := s.FieldStats(t.Context(), nil)
	if err != nil || stats[1] != (FieldStat{1, "1"}) || stats[2] != (FieldStat{2, "x"}) || stats[3].Values != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestDeleteField(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("a", "b")}, row(2, 1, "secret", "x"), row(3, 2, "", "y"))
	all, _ := s.Fields(t.Context())
	if _, err := s.DeleteField(t.Context(), all[0], false, nil); !errors.Is(err, ErrFieldHolds) {
		t.Fatalf("deleted with what it holds: %v", err)
	}
	exec(t, s, "INSERT INTO campaigns (name, class, content_hash, content, state, created_at, expires_at) VALUES ('c', 'marketing', '', '', 'paused', 1, 1)")
	if _, err := s.DeleteField(t.Context(), all[0], true, nil); !errors.Is(err, ErrFieldInUse) {
		t.Fatalf("deleted under a campaign: %v", err)
	}
	exec(t, s, "UPDATE campaigns SET state = 'finished'")
	change, err := s.DeleteField(t.Context(), all[0], true, nil)
	if err != nil || change.Rewritten != 1 {
		t.Fatalf("%+v, %v", change, err)
	}
	if got := storedFields(t, s, 1); got != `{"f2":"x"}` {
		t.Errorf("stored %s", got)
	}
	if left, err := s.Fields(t.Context()); err != nil || len(left) != 1 || left[0].Name != "b" {
		t.Errorf("%+v, %v", left, err)
	}
	if _, err := s.SetField(t.Context(), "empty", contact.Date, nil, nil); err != nil {
		t.Fatal(err)
	}
	all, _ = s.Fields(t.Context())
	if _, err := s.DeleteField(t.Context(), all[1], false, nil); err != nil {
		t.Errorf("an empty field: %v", err)
	}
}

func TestForgetContact(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("name"), List: "l"}, row(2, 1, "secret name"), row(3, 2, "other"))
	edited := put(t, s, ImportSpec{Columns: columns("name")}, row(2, 1, "secret again"))
	exec(t, s, "INSERT INTO campaigns (name, class, content_hash, content, state, created_at, expires_at) VALUES ('c', 'marketing', '', '', 'sending', 1, 1), ('d', 'marketing', '', '', 'sending', 1, 1)")
	exec(t, s, "INSERT INTO deliveries (id, campaign, contact, key, address, domain, state, reply, updated_at) VALUES (1, 1, 1, 'p1@example.jp', 'p1@example.jp', 'example.jp', 'sending', 'p1@example.jp?', 1), (2, 2, 1, 'p1@example.jp', 'p1@example.jp', 'example.jp', 'pending', '', 1)")
	exec(t, s, "INSERT INTO attempts (delivery, number, at, outcome, reply) VALUES (1, 1, 1, 'deferred', 'p1@example.jp is busy')")
	exec(t, s, "INSERT INTO events (at, kind, key, delivery, detail) VALUES (1, 'bounce', 'p1@example.jp', 1, '{\"a\":\"p1@example.jp\"}')")
	exec(t, s, "INSERT INTO bounces (source, digest, raw, kind, verdict, delivery, read_at) VALUES ('m', 'd', 'To: p1@example.jp', 'bounce', '{\"r\":\"p1@example.jp\"}', 1, 1)")
	exec(t, s, "INSERT INTO suppressions (scope, key, blocks, reason, created_at) VALUES ('address', 'p1@example.jp', 'marketing', 'unsubscribe', 1)")

	if _, err := s.ForgetContact(t.Context(), "p1@example.jp"); !errors.Is(err, ErrInFlight) {
		t.Fatalf("forgotten while a message is on the wire: %v", err)
	}
	exec(t, s, "UPDATE deliveries SET state = 'bounced' WHERE id = 1")
	gone, err := s.ForgetContact(t.Context(), "p1@example.jp")
	if err != nil || !reflect.DeepEqual(gone, Forgotten{Contacts: 1, Deliveries: 2, Bounces: 1, Events: 1, Campaigns: []string{}, Copies: []string{}}) {
		t.Fatalf("%+v, %v", gone, err)
	}
	for _, table := range []string{"contacts", "changes", "deliveries", "attempts", "events", "bounces", "suppressions", "audit", "change_sets"} {
		if text := dump(t, s, table); strings.Contains(text, "p1@example.jp") || strings.Contains(text, "secret") {
			t.Errorf("%s still tells of the person: %s", table, text)
		}
	}
	if got := dump(t, s, "deliveries"); !strings.Contains(got, "excluded|") || !strings.Contains(got, "bounced|") {
		t.Errorf("the deliveries are %s", got)
	}
	undoAll(t, s, edited.ID) // finds nobody

	im := put(t, s, ImportSpec{Columns: columns("name")}, row(2, 1, "back"))
	if im.Totals.Created != 1 || im.Totals.Suppressed != 1 {
		t.Errorf("%+v", im.Totals)
	}
	if got := suppressionsOf(t, s, SuppressionFilter{Key: "p1@example.jp"}); !strings.Contains(got, "forgotten") {
		t.Errorf("the suppressions are %s", got)
	}
}

// dump is all rows of a table as text.
func dump(t *testing.T, s *Store, table string) string {
	t.Helper()
	rows, err := s.read.Query("SELECT * FROM " + table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for rows.Next() {
		cells, at := make([]any, len(names)), make([]any, len(names))
		for i := range cells {
			at[i] = &cells[i]
		}
		if err := rows.Scan(at...); err != nil {
			t.Fatal(err)
		}
		for _, c := range cells {
			if raw, ok := c.([]byte); ok {
				c = string(raw)
			}
			fmt.Fprintf(&b, "%v|", c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestEachContactEnds(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "x"), row(3, 2, "y"))
	enough := errors.New("enough")
	n := 0
	err := s.EachContact(t.Context(), Where{}, func(contact.Contact) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.EachContact(ctx, Where{}, func(contact.Contact) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	w := Where{SQL: "c.key = ? OR c.key = ?", Args: []any{"p1@example.jp", "p2@example.jp"}}.And(Where{SQL: "json_extract(c.fields, '$.f1') = ?", Args: []any{"y"}})
	if n, err := s.CountContacts(t.Context(), w); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}
