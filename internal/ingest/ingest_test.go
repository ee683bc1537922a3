package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"database/sql"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"mailer/internal/contact"
	"mailer/internal/store"

	_ "modernc.org/sqlite"
)

// world is a store in a folder of its own, with a connection beside it that sees what lies there.
type world struct {
	t   *testing.T
	dir string
	st  *store.Store
	sql *sql.DB
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "mailer.db")
	st, err := store.Open(t.Context(), path, store.Options{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(); st.Close() })
	return &world{t, dir, st, db}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.sql.Exec(query, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) file(text string) string {
	w.t.Helper()
	f, err := os.CreateTemp(w.dir, "list-*.csv")
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
	return f.Name()
}

// imported imports text and expects "rows created updated unchanged rejected suppressed".
func (w *world) imported(text string, o Options, want string) (Summary, []Reject) {
	w.t.Helper()
	if o.Path == "" {
		o.Path = w.file(text)
	}
	var rejects []Reject
	sum, err := Import(w.t.Context(), w.st, o, Events{Reject: func(r Reject) { rejects = append(rejects, r) }})
	if err != nil {
		w.t.Fatalf("import: %v", err)
	}
	if got := figures(sum); got != want {
		w.t.Fatalf("rows created updated unchanged rejected suppressed = %s, want %s (rejects %v)", got, want, rejects)
	}
	return sum, rejects
}

func figures(s Summary) string {
	return fmt.Sprint(s.Rows, s.Created, s.Updated, s.Unchanged, s.Rejected, s.Suppressed)
}

// people is every contact as "address {field: cell ...} [lists]", in order of address.
func (w *world) people() []string {
	w.t.Helper()
	var out []string
	err := w.st.EachContact(w.t.Context(), store.Where{}, func(c contact.Contact) error {
		var lists sql.NullString
		err := w.sql.QueryRow(`SELECT group_concat(l.name, ',' ORDER BY l.name) FROM memberships m JOIN lists l ON l.id = m.list WHERE m.contact = ?`, c.ID).Scan(&lists)
		out = append(out, fmt.Sprintf("%s %v [%s]", c.Address, c.Values, lists.String))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.people(); !slices.Equal(got, want) {
		w.t.Fatalf("the contacts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (w *world) undo(id int64, want string) {
	w.t.Helper()
	set, err := Undo(w.t.Context(), w.st, id, Events{})
	if err != nil {
		w.t.Fatalf("undo %d: %v", id, err)
	}
	u := set.Totals.Undo
	if got := fmt.Sprint(u.Deleted, u.Restored, u.Left); got != want || set.State != "undone" {
		w.t.Fatalf("undo %d: deleted restored left = %s in state %s, want %s", id, got, set.State, want)
	}
}

func TestImportCP932(t *testing.T) {
	w := newWorld(t)
	text := "メールアドレス,氏名,郵便番号,年齢,登録日\r\n" +
		"Taro@Example.JP,山田　太郎,0600001,30,2026/1/5\r\n" +
		"ｈａｎａｋｏ＠example.jp,\"髙橋\n花子\",1000001,,2026-01-06\r\n"
	sum, _ := w.imported(string(encoded(t, japanese.ShiftJIS, text)), Options{List: "会員"}, "2 2 0 0 0 0")
	if sum.Encoding != "cp932" || sum.Delimiter != "," || sum.ChangeSet != 1 {
		t.Errorf("%+v", sum)
	}
	w.expect(
		"Taro@example.jp map[メールアドレス:Taro@example.jp 年齢:30 氏名:山田　太郎 登録日:2026/1/5 郵便番号:0600001] [会員]",
		"hanako@example.jp map[メールアドレス:hanako@example.jp 氏名:髙橋\n花子 登録日:2026-01-06 郵便番号:1000001] [会員]")
	fields, err := w.st.Fields(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range fields {
		got = append(got, fmt.Sprintf("%s/%s/%s", f.Name, f.Type, f.Role))
	}
	want := []string{"メールアドレス/text/address", "氏名/text/name", "郵便番号/text/postcode", "年齢/number/", "登録日/date/registered"}
	if !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
}

func TestImportRejects(t *testing.T) {
	w := newWorld(t)
	_, rejects := w.imported("email,name,age\n"+
		"a@example.jp,A,1\n"+
		"b@example.jp,\"B\nb\",2\n"+
		"no address,C,3\n"+
		"d@example.jp,D\n"+
		"e@example.jp,\"E,5\n"+
		"f@example.jp,\"x\"F,6\n"+
		"g@example.jp,\xff,7\n"+
		",,\n"+
		"\n"+
		",H,8\n"+
		"i@example.jp,I\x00,9\n"+
		"j@example.jp,J,10\n", Options{}, "10 3 0 0 7 0")
	want := []string{
		"5 1 the address has no @", "6 0 2 cells where the header has 3", "7 2 a quote is opened", "8 2 text follows a closing quote",
		"9 2 the bytes 0xFF are not utf-8", "12 1 the address is empty", "13 2 the cell holds a NUL byte",
	}
	for i, r := range rejects {
		if got := fmt.Sprint(r.Line, r.Column, " ", r.Reason); i >= len(want) || !strings.HasPrefix(strings.Replace(got, "  ", " ", 1), want[i]) {
			t.Errorf("reject %q, want %q", got, want[min(i, len(want)-1)])
		}
	}
	if rejects[4].Row != `g@example.jp,\xFF,7` || rejects[0].Row != "no address,C,3" {
		t.Errorf("the rows are shown as %q and %q", rejects[4].Row, rejects[0].Row)
	}
	w.expect("a@example.jp map[age:1 name:A] []", "b@example.jp map[age:2 name:B\nb] []", "j@example.jp map[age:10 name:J] []")
}

func TestValueThatDoesNotFitItsField(t *testing.T) {
	w := newWorld(t)
	w.imported("email,age\na@example.jp,30\n", Options{}, "1 1 0 0 0 0")
	_, rejects := w.imported("email,age\na@example.jp,31\nb@example.jp,thirty\n", Options{}, "2 0 1 0 1 0")
	if r := rejects[0]; r.Line != 3 || r.Column != 2 || !strings.Contains(r.Reason, "mailer fields set age --type text") {
		t.Errorf("%+v", r)
	}
	if _, err := w.st.SetField(t.Context(), "age", contact.Text, nil, nil); err != nil {
		t.Fatal(err)
	}
	w.imported("email,age\na@example.jp,31\nb@example.jp,thirty\n", Options{}, "2 1 0 1 0 0")
}

func TestReimportMerges(t *testing.T) {
	w := newWorld(t)
	file := "email,name,pref\na@example.jp,A,東京都\nb@example.jp,B,大阪府\n"
	w.imported(file, Options{}, "2 2 0 0 0 0")
	w.imported(file, Options{}, "2 0 0 2 0 0")
	w.imported("email,name,tel\nA@EXAMPLE.jp,,03-1\nb@example.jp,B2,\nc@example.jp,C,\n", Options{}, "3 1 2 0 0 0")
	w.expect("A@example.jp map[name:A pref:東京都 tel:03-1] []", "b@example.jp map[name:B2 pref:大阪府] []", "c@example.jp map[name:C] []")
}

func TestOnDuplicate(t *testing.T) {
	w := newWorld(t)
	w.imported("email,name\na@example.jp,A\n", Options{}, "1 1 0 0 0 0")
	sum, _ := w.imported("email,name\na@example.jp,X\nb@example.jp,B\nb@example.jp,B2\n", Options{OnDuplicate: "skip"}, "3 1 1 0 0 0")
	if sum.Skipped != 1 {
		t.Errorf("%+v", sum)
	}
	w.expect("a@example.jp map[name:A] []", "b@example.jp map[name:B2] []")
	_, err := Import(t.Context(), w.st, Options{Path: w.file("email\nz@example.jp\na@example.jp\n"), OnDuplicate: "fail"}, Events{})
	var dup *DuplicateError
	if !errors.As(err, &dup) || dup.Line != 3 || dup.Address != "a@example.jp" {
		t.Errorf("%v", err)
	}
	w.expect("a@example.jp map[name:A] []", "b@example.jp map[name:B2] []")
	w.imported("email\nz@example.jp\nz@example.jp\n", Options{OnDuplicate: "fail"}, "2 1 0 1 0 0")
}

func TestLastRowWins(t *testing.T) {
	w := newWorld(t)
	sum, _ := w.imported("email,name\na@example.jp,1\nb@example.jp,B\nＡ@example.jp,2\na@example.jp,2\n", Options{}, "4 2 2 0 0 0")
	if sum.Repeated != 2 {
		t.Errorf("repeated %d", sum.Repeated)
	}
	w.expect("a@example.jp map[name:2] []", "b@example.jp map[name:B] []")
}

func TestSuppressionStays(t *testing.T) {
	w := newWorld(t)
	w.exec("INSERT INTO suppressions (scope, key, blocks, reason, created_at) VALUES ('address', 'a@example.jp', 'all', 'hard_bounce', 1), ('domain', 'gone.example', 'all', 'manual', 1)")
	w.imported("email,name\nA@example.jp,1\nb@gone.example,B\nc@example.jp,C\n", Options{}, "3 3 0 0 0 2")
	w.imported("email,name\nA@example.jp,1\nb@gone.example,B\nc@example.jp,C\n", Options{}, "3 0 0 3 0 2")
	var n int
	if err := w.sql.QueryRow("SELECT count(*) FROM suppressions").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d suppressions, %v", n, err)
	}
}

func TestDryRunTellsWhatHappens(t *testing.T) {
	w := newWorld(t)
	w.imported("email,name,age\na@example.jp,A,1\nb@example.jp,B,2\n", Options{}, "2 2 0 0 0 0")
	before := w.people()
	file := "email,name,tel\na@example.jp,A,\nb@example.jp,B2,03\nc@example.jp,C,\nc@example.jp,C,\nbad,x,\n"
	var effects []string
	dry, err := Import(t.Context(), w.st, Options{Path: w.file(file), DryRun: true, List: "new"}, Events{Effect: func(e store.Effect) {
		effects = append(effects, e.Op)
		for _, c := range e.Changes {
			effects = append(effects, fmt.Sprintf("%s:%s>%s", c.Field.Name, c.Old, c.New))
		}
	}})
	if err != nil || dry.ChangeSet != 0 {
		t.Fatalf("%+v, %v", dry, err)
	}
	if want := []string{"touch", "update", "name:B>B2", "tel:>03", "create", "touch"}; !slices.Equal(effects, want) {
		t.Errorf("effects %q, want %q", effects, want)
	}
	if !slices.Equal(w.people(), before) {
		t.Error("a dry run wrote")
	}
	w.imported(file, Options{List: "new"}, figures(dry))
}

func TestStdinIsSpooledAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.imported("", Options{Path: "-", Stdin: strings.NewReader("email\tname\na@example.jp\tA\n"), TempDir: w.dir}, "1 1 0 0 0 0")
	left, err := filepath.Glob(filepath.Join(w.dir, ".import-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What comes through a pipe is recognised as a file is.
func TestStdinInEveryEncoding(t *testing.T) {
	for name, e := range map[string]encoding.Encoding{
		"cp932": japanese.ShiftJIS, "euc-jp": japanese.EUCJP, "iso-2022-jp": japanese.ISO2022JP, "utf-8": unicode.UTF8BOM,
		"utf-16le": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "utf-16be": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	} {
		w := newWorld(t)
		in := bytes.NewReader(encoded(t, e, "email,氏名\na@example.jp,山田太郎\n"))
		sum, _ := w.imported("", Options{Path: "-", Stdin: in, TempDir: w.dir}, "1 1 0 0 0 0")
		if sum.Encoding != name {
			t.Errorf("%s is taken for %s", name, sum.Encoding)
		}
		w.expect("a@example.jp map[氏名:山田太郎] []")
	}
}

// Halves of a character at the end of a row and the start of the next are broken bytes in both, though they stand side by side
// in the memory that is decoded.
func TestHalvesOfACharacterInTwoRows(t *testing.T) {
	w := newWorld(t)
	text := "memo,email,x\nあ,a@example.jp,い\nう,b@example.jp,abc\xe3\x81\n\x82z,c@example.jp,お\nえ,d@example.jp,か\n"
	for _, dry := range []bool{true, false} {
		_, rejects := w.imported(text, Options{Encoding: "utf-8", DryRun: dry}, "4 2 0 0 2 0")
		if r := rejects; len(r) != 2 || r[0].Line != 3 || r[0].Column != 3 || r[1].Line != 4 || r[1].Column != 1 {
			t.Errorf("%+v", rejects)
		}
	}
	w.expect("a@example.jp map[memo:あ x:い] []", "d@example.jp map[memo:え x:か] []")
}

// More columns than any list has are told at once; a file within the bound costs what it holds, not columns times rows.
func TestMillionColumns(t *testing.T) {
	w := newWorld(t)
	_, err := Import(t.Context(), w.st, Options{Path: w.file("email" + strings.Repeat(",a", maxColumns) + "\nb@example.jp\n")}, Events{})
	if err == nil || !strings.Contains(err.Error(), "line 1, the header: 16385 cells") {
		t.Error(err)
	}
	var found Found
	text := "email" + strings.Repeat(",a", 9999) + "\n" + strings.Repeat("b@example.jp\n", 2000) + "c@example.jp" + strings.Repeat(",", 9999) + "\n"
	sum, err := Import(t.Context(), w.st, Options{Path: w.file(text), DryRun: true}, Events{Found: func(f Found) { found = f }})
	if err != nil || figures(sum) != "2001 1 0 0 2000 0" {
		t.Errorf("%v %v", figures(sum), err)
	}
	if n := len(found.Notes); n != notedTwins+1 || found.Fields[9998].Name != "a (9999)" {
		t.Errorf("%d notes, %q", n, found.Fields[9998].Name)
	}
}

// Ctrl-C ends an import that waits for a pipe or a terminal.
func TestInterruptedWhileInputIsAwaited(t *testing.T) {
	w := newWorld(t)
	silent, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := Import(ctx, w.st, Options{Path: "-", Stdin: silent, TempDir: t.TempDir()}, Events{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestUndoIsExact(t *testing.T) {
	w := newWorld(t)
	w.imported("email,name,pref\na@example.jp,A,東京都\nb@example.jp,B,大阪府\n", Options{List: "old"}, "2 2 0 0 0 0")
	before := w.people()
	sum, _ := w.imported("email,name,tel\nA@example.jp,A2,\nb@example.jp,,03\nc@example.jp,C,\nc@example.jp,C2,\n", Options{List: "new"}, "4 1 3 0 0 0")
	w.undo(sum.ChangeSet, "1 3 0")
	if got := w.people(); !slices.Equal(got, before) {
		t.Errorf("%q, want %q", got, before)
	}
	fields, err := w.st.Fields(t.Context())
	if err != nil || len(fields) != 2 {
		t.Errorf("fields left: %v, %v", fields, err)
	}
	lists, err := w.st.Lists(t.Context())
	if err != nil || len(lists) != 1 {
		t.Errorf("lists left: %v, %v", lists, err)
	}
	w.undo(sum.ChangeSet, "0 0 0") // again: nothing is left to do
}

func TestUndoLeavesWhatChangedSince(t *testing.T) {
	w := newWorld(t)
	first, _ := w.imported("email,name,pref\na@example.jp,A,東京都\nb@example.jp,B,大阪府\nc@example.jp,C,京都府\n", Options{List: "l"}, "3 3 0 0 0 0")
	second, _ := w.imported("email,name,pref\na@example.jp,A2,京都府\n", Options{}, "1 0 1 0 0 0")
	third, _ := w.imported("email,name\na@example.jp,A3\n", Options{}, "1 0 1 0 0 0")
	w.undo(second.ChangeSet, "0 0 1") // the name was changed again, the prefecture comes back
	w.expect("a@example.jp map[name:A3 pref:東京都] [l]", "b@example.jp map[name:B pref:大阪府] [l]", "c@example.jp map[name:C pref:京都府] [l]")

	w.exec("INSERT INTO campaigns (name, class, content_hash, content, state, created_at, expires_at) VALUES ('x', 'marketing', '', '', 'sending', 1, 1)")
	w.exec("INSERT INTO deliveries (campaign, contact, key, address, domain, state, updated_at) VALUES (1, 2, 'b@example.jp', 'b@example.jp', 'example.jp', 'pending', 1)")
	w.undo(first.ChangeSet, "1 0 2") // a was changed by the third import, b is being mailed
	w.expect("a@example.jp map[name:A3 pref:東京都] []", "b@example.jp map[name:B pref:大阪府] []")
	w.undo(third.ChangeSet, "0 1 0")
	w.exec("UPDATE deliveries SET state = 'accepted'")
	w.undo(first.ChangeSet, "2 0 0")
	w.expect()
}

func TestUndoSurvivesATypeChange(t *testing.T) {
	w := newWorld(t)
	w.imported("email,joined\na@example.jp,2026/1/5\n", Options{}, "1 1 0 0 0 0")
	sum, _ := w.imported("email,joined\na@example.jp,2026/1/6\n", Options{}, "1 0 1 0 0 0")
	if _, err := w.st.SetField(t.Context(), "joined", contact.Text, nil, nil); err != nil {
		t.Fatal(err)
	}
	w.undo(sum.ChangeSet, "0 1 0")
	w.expect("a@example.jp map[joined:2026/1/5] []")
}

// big makes a file of n rows.
func big(n int) string {
	var b strings.Builder
	b.WriteString("email,name,n\n")
	for i := range n {
		fmt.Fprintf(&b, "p%d@example.jp,Name %d,%d\n", i, i, i)
	}
	return b.String()
}

func TestStoppedImportGoesOn(t *testing.T) {
	w := newWorld(t)
	path := w.file(big(9000) + "broken\n")
	// The store refuses one row, as a full disk would.
	w.exec("CREATE TRIGGER full BEFORE INSERT ON contacts WHEN new.key = 'p6000@example.jp' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
	_, err := Import(t.Context(), w.st, Options{Path: path, List: "l"}, Events{})
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !strings.Contains(err.Error(), "mailer import undo 1") {
		t.Fatalf("%v", err)
	}
	n, err := w.st.CountContacts(t.Context(), store.Where{})
	if err != nil || n == 0 || n > 6000 {
		t.Fatalf("%d contacts were applied, %v", n, err)
	}
	w.exec("DROP TRIGGER full")
	sum, rejects := w.imported("", Options{Path: path, List: "l"}, "9001 9000 0 0 1 0")
	if sum.ChangeSet != stopped.ChangeSet || len(rejects) != 1 {
		t.Errorf("%+v, rejects %v", sum, rejects)
	}
	w.undo(sum.ChangeSet, "9000 0 0")
	w.expect()
}

func TestCancelledImportIsUndone(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Import(ctx, w.st, Options{Path: w.file(big(9000))}, Events{Progress: func(step Step, done, total int64) {
		if step == Applying && done > 4000 {
			cancel()
		}
	}})
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	n, err := w.st.CountContacts(t.Context(), store.Where{})
	if err != nil || n == 0 || n == 9000 {
		t.Fatalf("%d contacts, %v", n, err)
	}
	w.undo(stopped.ChangeSet, fmt.Sprint(n, 0, 0))
	w.expect()
}

func TestStoppedUndoGoesOn(t *testing.T) {
	w := newWorld(t)
	sum, _ := w.imported(big(2000), Options{}, "2000 2000 0 0 0 0")
	w.exec("CREATE TRIGGER stuck BEFORE DELETE ON contacts WHEN old.key = 'p100@example.jp' BEGIN SELECT RAISE(ABORT, 'stuck'); END")
	if _, err := Undo(t.Context(), w.st, sum.ChangeSet, Events{}); err == nil {
		t.Fatal("the undo was not stopped")
	}
	w.exec("DROP TRIGGER stuck")
	w.undo(sum.ChangeSet, "2000 0 0")
	w.expect()
}

func TestImportMakesRoomForASend(t *testing.T) {
	w := newWorld(t)
	w.exec("INSERT INTO campaigns (name, class, content_hash, content, state, created_at, expires_at, lease_holder, lease_expires) VALUES ('x', 'marketing', '', '', 'sending', 1, 1, 'someone', ?)",
		time.Now().Add(time.Hour).UnixMilli())
	sending, err := w.st.Sending(t.Context())
	if err != nil || !sending {
		t.Fatalf("%v, %v", sending, err)
	}
	w.imported(big(300), Options{}, "300 300 0 0 0 0")
}

func TestImportErrors(t *testing.T) {
	w := newWorld(t)
	for text, reason := range map[string]string{
		"":                       "the file is empty",
		"\n\n":                   "the file is empty",
		"name,age\nA,1\n":        "no column is named as a mail address",
		"email,\"name\nA,1\n":    "the header",
		"email,\xff\na@x.jp,1\n": "the header",
		"PK\x03\x04\x00\x00":     "broken .xlsx workbook",
	} {
		if _, err := Import(t.Context(), w.st, Options{Path: w.file(text)}, Events{}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", text, err, reason)
		}
	}
	for _, o := range []Options{{Path: w.dir}, {Path: "/no/such/file"}, {Path: w.file("email\n"), Encoding: "klingon"}, {Path: w.file("email\n"), Delimiter: "xx"}} {
		if _, err := Import(t.Context(), w.st, o, Events{}); err == nil {
			t.Errorf("%+v was imported", o)
		}
	}
	w.expect()
}

// Random imports one after another, then all taken back in the reverse order: the store is as it was, step by step.
func TestUndoProperty(t *testing.T) {
	for seed := range uint64(16) {
		w := newWorld(t)
		r := rand.New(rand.NewPCG(seed, 7))
		people, rows := 8, 12
		if seed%2 == 1 { // over several transactions, with people who are new and who are known in each
			people, rows = 200, 300
		}
		columns := []string{"name", "pref", "n", "day"}
		cell := map[string][]string{"name": {"", "A", "B"}, "pref": {"", "東京都", "大阪府"}, "n": {"", "1", "2"}, "day": {"", "2026-01-05", "2026/1/5"}}
		var states [][]string
		var sets []int64
		for range 5 {
			states = append(states, w.people())
			use := columns[:1+r.IntN(len(columns))]
			var b strings.Builder
			fmt.Fprintf(&b, "email,%s\n", strings.Join(use, ","))
			for range 1 + r.IntN(rows) {
				address := fmt.Sprintf("p%d@example.jp", r.IntN(people))
				if r.IntN(4) == 0 {
					address = strings.ToUpper(address)
				}
				b.WriteString(address)
				for _, c := range use {
					b.WriteString("," + cell[c][r.IntN(3)])
				}
				b.WriteString("\n")
			}
			o := Options{Path: w.file(b.String()), List: []string{"", "l", "m"}[r.IntN(3)], OnDuplicate: []string{"update", "skip"}[r.IntN(2)]}
			o.UnlistMissing = o.List != "" && r.IntN(2) == 0
			dryOptions := o
			dryOptions.DryRun = true
			dry, err := Import(t.Context(), w.st, dryOptions, Events{})
			if err != nil {
				t.Fatal(err)
			}
			sum, err := Import(t.Context(), w.st, o, Events{})
			if err != nil {
				t.Fatal(err)
			}
			if figures(dry) != figures(sum) || dry.Unlisted != sum.Unlisted {
				t.Fatalf("seed %d: the dry run said %s and %d unlisted, the import did %s and %d\n%s", seed, figures(dry), dry.Unlisted, figures(sum), sum.Unlisted, b.String())
			}
			if sum.Rejected > 0 {
				t.Fatalf("seed %d: rejects in\n%s", seed, b.String())
			}
			sets = append(sets, sum.ChangeSet)
		}
		for i := len(sets) - 1; i >= 0; i-- {
			set, err := Undo(t.Context(), w.st, sets[i], Events{})
			if err != nil {
				t.Fatal(err)
			}
			if got := w.people(); !slices.Equal(got, states[i]) || set.Totals.Undo.Left > 0 {
				t.Fatalf("seed %d: after taking back import %d (%+v)\n%s\nwant\n%s", seed, sets[i], set.Totals.Undo, strings.Join(got, "\n"), strings.Join(states[i], "\n"))
			}
		}
		if fields, err := w.st.Fields(t.Context()); err != nil || len(fields) > 0 {
			t.Fatalf("seed %d: fields left: %v, %v", seed, fields, err)
		}
		w.sql.Close()
		w.st.Close()
	}
}

func TestImportEveryEncoding(t *testing.T) {
	text := "sep=;\r\nメールアドレス;氏名;メモ\r\ntaro@example.jp;山田　太郎;\"一行\r\n二行\"\r\nhanako@example.jp;佐藤 花子;\r\n"
	for name, file := range map[string]string{
		"utf-8":       "\ufeff" + text,
		"cp932":       string(encoded(t, japanese.ShiftJIS, text)),
		"euc-jp":      string(encoded(t, japanese.EUCJP, text)),
		"iso-2022-jp": string(encoded(t, japanese.ISO2022JP, text)),
		"utf-16le":    string(encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), text)),
		"utf-16be":    string(encoded(t, unicode.UTF16(unicode.BigEndian, unicode.UseBOM), text)),
	} {
		for _, override := range []string{"auto", name} {
			w := newWorld(t)
			sum, _ := w.imported(file, Options{Encoding: override}, "2 2 0 0 0 0")
			if sum.Encoding != name || sum.Delimiter != ";" {
				t.Errorf("%s: recognised as %s with %q", name, sum.Encoding, sum.Delimiter)
			}
			w.expect("hanako@example.jp map[メールアドレス:hanako@example.jp 氏名:佐藤 花子] []",
				"taro@example.jp map[メモ:一行\r\n二行 メールアドレス:taro@example.jp 氏名:山田　太郎] []")
		}
	}
}

func TestBrokenUTF16CostsItsRow(t *testing.T) {
	w := newWorld(t)
	file := string(encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "email,name\na@example.jp,")) + "\x00\xd8" +
		string(encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "\nb@example.jp,B\n"))
	_, rejects := w.imported(file, Options{}, "2 1 0 0 1 0")
	if r := rejects[0]; r.Line != 2 || r.Column != 2 {
		t.Errorf("%+v", r)
	}
}

// Whoever is on the list and not in the file leaves the list, and comes back with the import's undo.
func TestUnlistMissing(t *testing.T) {
	w := newWorld(t)
	w.imported("email,n\na@example.jp,1\nb@example.jp,2\nc@example.jp,3\n", Options{List: "l", Consent: store.Consent{Source: "form"}}, "3 3 0 0 0 0")
	w.imported("email\nd@example.jp\n", Options{List: "m"}, "1 1 0 0 0 0")
	before := w.people()
	o := Options{List: "l", UnlistMissing: true, OnDuplicate: "skip"}
	// b's row is rejected for a cell, so b is not missing; a is skipped.
	sum, _ := w.imported("email,n\nA@example.jp,1\nb@example.jp,x\nno address,1\ne@example.jp,1\n", o, "4 1 0 0 2 0")
	if sum.Unlisted != 1 {
		t.Errorf("%d were taken off the list, want c alone", sum.Unlisted)
	}
	w.expect("a@example.jp map[n:1] [l]", "b@example.jp map[n:2] [l]", "c@example.jp map[n:3] []", "d@example.jp map[] [m]", "e@example.jp map[n:1] [l]")
	w.undo(sum.ChangeSet, "1 1 0")
	w.expect(before...)
	var consent string
	if err := w.sql.QueryRow("SELECT m.consent_source FROM memberships m JOIN contacts c ON c.id = m.contact WHERE c.key = 'c@example.jp'").Scan(&consent); err != nil || consent != "form" {
		t.Errorf("c came back with the consent %q, %v", consent, err)
	}
}

// A row that nobody can read may be anybody's: then nobody is missing for sure.
func TestUnlistMissingWithUnreadableRow(t *testing.T) {
	w := newWorld(t)
	w.imported("email,n\na@example.jp,1\nb@example.jp,2\n", Options{List: "l"}, "2 2 0 0 0 0")
	for _, row := range []string{"b@example.jp,\xff\n", "b@example.jp\n", "\"b@example.jp\n"} {
		sum, _ := w.imported("email,n\na@example.jp,1\n"+row, Options{List: "l", UnlistMissing: true}, "2 0 0 1 1 0")
		if sum.Unlisted != 0 || sum.Lost != 1 {
			t.Errorf("%q: %+v", row, sum)
		}
	}
	w.expect("a@example.jp map[n:1] [l]", "b@example.jp map[n:2] [l]")
}

// An export that failed does not empty a list.
func TestUnlistMissingWithoutAGoodRow(t *testing.T) {
	w := newWorld(t)
	w.imported("email\na@example.jp\nb@example.jp\n", Options{List: "l"}, "2 2 0 0 0 0")
	for text, want := range map[string]string{"email\n": "0 0 0 0 0 0", "email\nx\n\"\"\ny\n": "2 0 0 0 2 0"} {
		for _, dry := range []bool{true, false} {
			if sum, _ := w.imported(text, Options{List: "l", UnlistMissing: true, DryRun: dry}, want); sum.Unlisted != 0 {
				t.Errorf("%q, dry run %v: %d left the list", text, dry, sum.Unlisted)
			}
		}
	}
	w.expect("a@example.jp map[] [l]", "b@example.jp map[] [l]")
}

// An import that was stopped knows, when it goes on, whom it has seen before.
func TestStoppedImportUnlistsAtItsEnd(t *testing.T) {
	w := newWorld(t)
	w.imported(big(9100), Options{List: "l"}, "9100 9100 0 0 0 0")
	path := w.file(strings.ReplaceAll(big(9000), "Name", "N"))
	o := Options{Path: path, List: "l", UnlistMissing: true}
	w.exec("CREATE TRIGGER full BEFORE UPDATE ON contacts WHEN new.key = 'p6000@example.jp' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
	if _, err := Import(t.Context(), w.st, o, Events{}); err == nil {
		t.Fatal("the import was not stopped")
	}
	w.exec("DROP TRIGGER full")
	sum, _ := w.imported("", o, "9000 0 9000 0 0 0")
	if sum.Unlisted != 100 {
		t.Errorf("%d were taken off the list, want 100", sum.Unlisted)
	}
	w.undo(sum.ChangeSet, "0 9100 0")
	for _, p := range w.people() {
		if !strings.HasSuffix(p, "[l]") {
			t.Fatal(p)
		}
	}
}
