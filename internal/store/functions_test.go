package store

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"mailer/internal/contact"
)

var everyType = []contact.Field{
	{ID: 1, Name: "a", Type: contact.Text}, {ID: 2, Name: "b", Type: contact.Number}, {ID: 3, Name: "c", Type: contact.Date},
	{ID: 4, Name: "d", Type: contact.Boolean}, {ID: 5, Name: "e", Type: contact.List}, {ID: 12, Name: "f", Type: contact.Text},
}

// agree holds what our functions read out of a contact's JSON against what SQLite does.
func agree(t *testing.T, s *Store, fields, item string) {
	t.Helper()
	for _, path := range []string{"f1", "f2", "f3", "f4", "f5", "f12", "t3", "f", "f11"} {
		var ours, theirs, ourType, theirType any
		err := s.read.QueryRow("SELECT mailer_field(x, ?), json_extract(x, '$.' || ?), typeof(mailer_field(x, ?)), typeof(json_extract(x, '$.' || ?)) FROM (SELECT ? AS x)",
			path, path, path, path, fields).Scan(&ours, &theirs, &ourType, &theirType)
		if err != nil || !reflect.DeepEqual(ours, theirs) || ourType != theirType {
			t.Fatalf("%s of %s is %#v (%v), SQLite says %#v (%v), %v", path, fields, ours, ourType, theirs, theirType, err)
		}
	}
	var ours, theirs bool
	err := s.read.QueryRow("SELECT mailer_holds(x, 'f5', 'no such', ?), EXISTS (SELECT 1 FROM json_each(x, '$.f5') AS e WHERE e.value = ?) FROM (SELECT ? AS x)",
		item, item, fields).Scan(&ours, &theirs)
	if err != nil || ours != theirs {
		t.Fatalf("%s holds %q: %v, SQLite says %v, %v", fields, item, ours, theirs, err)
	}
}

func TestFieldFunctions(t *testing.T) {
	s := withPeople(t, 0)
	for _, fields := range []string{
		`{}`, `{"f1":"a"}`, `{"f1":"a","f2":-0.25,"f3":"2026-01-05","t3":"2026/1/5","f4":true,"f5":["x","y"],"f12":"z"}`, `{"f11":"no","f1":"yes"}`,
		`{"f1":"\"f2\":3","f2":7}`, `{"f1":"\\","f12":"\\\\\"","f2":123456789012345}`, `{"f4":false,"f5":["]","x\"]\n"],"f2":0}`, `{"f5":[],"f2":-0}`,
		`{"f1":"},{","f5":[",","}"],"f12":"\u0001"}`, `{"f1":"\u6771\ud83c\udf63"}`,
		`{ "f1" : "by hand" , "f2" : 3 }`, "{\n\"f5\": [\"x\", \"y\"], \"f2\": 1e3}", `{"f1":null,"f2":2}`, `{"x":{"f1":3},"f12":"b"}`, ` {"f1":"a"} `,
	} {
		agree(t, s, fields, "x")
		agree(t, s, fields, "x\"]\n")
	}
}

// FuzzFieldFunctions: whatever the cells hold, our functions read the same as SQLite.
func FuzzFieldFunctions(f *testing.F) {
	f.Add("東京都", "30", "2026/1/5", "yes", "vip;web", `"f2":3`, "web")
	f.Add(`\`, "-0.25", "2026-01-05 10:00", "", "a|b、c", "\x01\n", "b")
	f.Add(`",`, "123456.789012345", "", "no", `]";"[`, "}", `"[`)
	ctx := f.Context()
	s, err := Open(ctx, f.TempDir()+"/mailer.db", Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	f.Fuzz(func(t *testing.T, a, b, c, d, e, last, item string) {
		for _, cell := range []string{a, b, c, d, e, last, item} {
			if contact.CheckCell(cell) != nil {
				return
			}
		}
		fields, err := contact.EncodeFields(everyType, map[int64]string{1: a, 2: b, 3: c, 4: d, 5: e, 12: last})
		if err == nil {
			agree(t, s, fields, item)
		}
	})
}

func TestFunctions(t *testing.T) {
	s := withPeople(t, 0)
	for expr, want := range map[string]string{
		`'東京都' REGEXP '^東'`: "1", `'x' REGEXP '^東'`: "0", `NULL REGEXP 'x'`: "<nil>", `30 REGEXP '^3'`: "1",
		`mailer_prefecture('Tokyo')`: "東京都", `mailer_prefecture(13)`: "東京都", `mailer_prefecture(13.0)`: "東京都", `mailer_prefecture(NULL)`: "<nil>", `mailer_prefecture('x')`: "<nil>",
		`mailer_region('千葉県松戸市')`: "関東", `mailer_region('x')`: "<nil>", `mailer_place('', 'a@example.jp') = mailer_place('', 'a@example.jp')`: "1",
		`mailer_place('x', 'a@example.jp') = mailer_place('', 'a@example.jp')`: "0", `mailer_place('x', 'a@example.jp') >= 0`: "1",
	} {
		var got any
		if err := s.read.QueryRow("SELECT " + expr).Scan(&got); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s = %v, %v; want %s", expr, got, err, want)
		}
	}
	if err := s.read.QueryRow("SELECT 'a' REGEXP '('").Scan(new(any)); err == nil || !strings.Contains(err.Error(), "missing closing") {
		t.Errorf("a wrong pattern: %v", err)
	}
	// More patterns than are kept, asked for at once.
	done := make(chan error)
	for range 4 {
		go func() {
			for i := range 3 * maxPatterns {
				var got bool
				if err := s.read.QueryRow("SELECT ? REGEXP ?", fmt.Sprint("x", i), fmt.Sprintf("^x%d$", i)).Scan(&got); err != nil || !got {
					done <- fmt.Errorf("pattern %d: %v, %v", i, got, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestQuick(t *testing.T) {
	got := quick("(json_extract(c.fields, '$.f3') = ? AND json_extract(c.fields, '$.f12') >= ? AND EXISTS (SELECT 1 FROM json_each(c.fields, '$.f5') AS e WHERE e.value IN (?, ?))) "+
		"OR EXISTS (SELECT 1 FROM json_each(c.fields, '$.f6') AS e WHERE e.value = ?)", []string{"f3"})
	want := "(json_extract(c.fields, '$.f3') = ? AND mailer_field(c.fields, 'f12') >= ? AND mailer_holds(c.fields, 'f5', ?, ?)) OR mailer_holds(c.fields, 'f6', ?)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
