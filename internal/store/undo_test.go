package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// syncList imports rows as the whole of a list: who is not among them leaves it.
func syncList(t *testing.T, s *Store, spec ImportSpec, rows ...Row) *Import {
	t.Helper()
	im := begin(t, s, spec)
	if err := s.Apply(t.Context(), im, rows); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		var err error
		if done, _, err = s.Unlist(t.Context(), im, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.FinishImport(t.Context(), im, 0); err != nil {
		t.Fatal(err)
	}
	return im
}

// onList is the ids of those on any list, with the source of their consent.
func onList(t *testing.T, s *Store) string {
	t.Helper()
	var all []string
	err := eachString(t.Context(), s.read, func(m string) { all = append(all, m) },
		"SELECT concat(contact, consent_source) FROM memberships ORDER BY list, contact")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// Who joined a list, left it and joined again leaves it with the last import's undo: that the first one still stands says nothing,
// since the second took them off.
func TestUndoOfJoiningAgain(t *testing.T) {
	s, now := openTest(t)
	next := func() { *now = now.Add(time.Hour) }
	spec := ImportSpec{Columns: columns("a"), List: "l"}
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "x"), row(3, 2, "x"))
	next()
	put(t, s, spec, row(2, 1, "x"))
	next()
	left := syncList(t, s, spec, row(2, 2, "x"))
	next()
	again := put(t, s, spec, row(2, 1, "x"))
	next()
	if got := onList(t, s); got != "1 2" {
		t.Fatalf("on the list: %s", got)
	}
	if u := undoAll(t, s, again.ID); u.Restored != 1 || u.Left != 0 || onList(t, s) != "2" {
		t.Errorf("%+v, on the list: %s", u, onList(t, s))
	}
	if u := undoAll(t, s, left.ID); u.Restored != 2 || onList(t, s) != "1" {
		t.Errorf("%+v, on the list: %s", u, onList(t, s))
	}
}

// The undo of an import that took somebody off a list does not put them back when the import that had put them there is taken
// back already, nor when a later one took them off as well.
func TestUndoOfLeavingPutsNobodyWhereNobodyWantsThem(t *testing.T) {
	s, now := openTest(t)
	next := func() { *now = now.Add(time.Hour) }
	spec := ImportSpec{Columns: columns("a"), List: "l"}
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "x"), row(3, 2, "x"))
	next()
	joined := put(t, s, spec, row(2, 1, "x"))
	next()
	left := syncList(t, s, spec, row(2, 2, "x"))
	next()
	undoAll(t, s, joined.ID)
	if u := undoAll(t, s, left.ID); onList(t, s) != "" {
		t.Errorf("%+v, on the list: %s", u, onList(t, s))
	}

	put(t, s, spec, row(2, 1, "x"))
	next()
	first := syncList(t, s, spec, row(2, 2, "x"))
	next()
	put(t, s, spec, row(2, 1, "x"))
	next()
	second := syncList(t, s, spec, row(2, 2, "x"))
	next()
	if u := undoAll(t, s, first.ID); u.Left != 2 || onList(t, s) != "2" {
		t.Errorf("%+v, on the list: %s", u, onList(t, s))
	}
	if u := undoAll(t, s, second.ID); u.Restored != 1 || onList(t, s) != "1 2" {
		t.Errorf("%+v, on the list: %s", u, onList(t, s))
	}
}

// A consent that came with a new place on the list stays when the import that had completed the old place is taken back.
func TestUndoLeavesTheConsentOfANewPlace(t *testing.T) {
	s, now := openTest(t)
	next := func() { *now = now.Add(time.Hour) }
	spec := func(consent string) ImportSpec {
		return ImportSpec{Columns: columns("a"), List: "l", Consent: Consent{Source: consent}}
	}
	put(t, s, spec(""), row(2, 1, "x"))
	next()
	agreed := put(t, s, spec("form"), row(2, 1, "x"))
	next()
	left := syncList(t, s, spec(""), row(2, 2, "x"))
	next()
	again := put(t, s, spec("shop"), row(2, 1, "x"))
	next()
	undoAll(t, s, agreed.ID)
	if got := onList(t, s); got != "1shop 3" {
		t.Errorf("on the list: %s", got)
	}
	undoAll(t, s, again.ID)
	undoAll(t, s, left.ID)
	if got := onList(t, s); got != "1" {
		t.Errorf("a consent that was taken back came with the place: %s", got)
	}
}

// The same file imported, taken back and imported again: the number of the first import, given once more, changes nothing.
func TestUndoOfAnUndoneImportLeavesItsRepetitionAlone(t *testing.T) {
	s, now := openTest(t)
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "x"))
	first := put(t, s, ImportSpec{Columns: columns("a"), SourceHash: "1"}, row(2, 1, "y"))
	undoAll(t, s, first.ID)
	*now = now.Add(time.Hour)
	put(t, s, ImportSpec{Columns: columns("a"), SourceHash: "1"}, row(2, 1, "y"))
	if u := undoAll(t, s, first.ID); u != (Undone{Before: 1}) || !strings.Contains(storedFields(t, s, 1), `"y"`) {
		t.Errorf("%+v, %s", u, storedFields(t, s, 1))
	}
}

// The number of a list that an undo deleted goes to no other list: the change sets that name it would lay hands on that one.
func TestListNumbersAreNotGivenOutAgain(t *testing.T) {
	s, _ := openTest(t)
	first := put(t, s, ImportSpec{Columns: columns("a"), List: "l"}, row(2, 1, "x"))
	undoAll(t, s, first.ID)
	if second := put(t, s, ImportSpec{Columns: columns("a"), List: "m"}, row(2, 1, "x")); second.Totals.List == first.Totals.List {
		t.Errorf("both lists are number %d", first.Totals.List)
	}
}

// A contact that was put into the database by hand under the next id is a stranger to the import that comes there.
func TestContactPutInByHand(t *testing.T) {
	s, _ := openTest(t)
	if _, err := s.write.Exec("INSERT INTO contacts (id, key, address, created_at, updated_at) VALUES (1, 'hand@example.jp', 'hand@example.jp', 0, 0)"); err != nil {
		t.Fatal(err)
	}
	im := put(t, s, ImportSpec{Columns: columns("a"), List: "l"}, row(2, 1, "x"))
	if got := onList(t, s); im.Totals.Created != 1 || got != "2" {
		t.Errorf("%+v, on the list: %s", im.Totals, got)
	}
	undoAll(t, s, im.ID)
	if _, ok, err := s.Contact(t.Context(), "hand@example.jp"); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
}

// Imports of all kinds, taken back in any order, again where something was left alone: in the end nothing of them is left.
func TestUndoInAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		s, now := openTest(t)
		r := rand.New(rand.NewPCG(seed, 3))
		var sets []int64
		var story strings.Builder
		for range 2 + r.IntN(6) {
			*now = now.Add(time.Hour)
			spec := ImportSpec{Columns: columns("a", "b"), List: []string{"", "l", "l", "m"}[r.IntN(4)], OnDuplicate: []string{"update", "update", "skip"}[r.IntN(3)]}
			if spec.List != "" && r.IntN(2) == 0 {
				spec.Consent.Source = fmt.Sprintf("consent %d", len(sets))
			}
			var rows []Row
			for i := range 1 + r.IntN(5) {
				rows = append(rows, row(int64(i+2), r.IntN(4), []string{"", "x", "y"}[r.IntN(3)], []string{"", "z"}[r.IntN(2)]))
			}
			sync := spec.List != "" && r.IntN(2) == 0
			if sync {
				sets = append(sets, syncList(t, s, spec, rows...).ID)
			} else {
				sets = append(sets, put(t, s, spec, rows...).ID)
			}
			fmt.Fprintf(&story, "%d: list %q %s sync %v %v\n", sets[len(sets)-1], spec.List, spec.OnDuplicate, sync, rows)
		}
		r.Shuffle(len(sets), func(i, j int) { sets[i], sets[j] = sets[j], sets[i] })
		*now = now.Add(time.Hour)
		for range sets {
			for _, set := range sets {
				undoAll(t, s, set)
			}
		}
		var left []string
		for _, table := range []string{"contacts", "memberships", "lists", "fields"} {
			left = append(left, dump(t, s, table))
		}
		if slices.ContainsFunc(left, func(rows string) bool { return strings.TrimSpace(rows) != "" }) {
			t.Fatalf("seed %d, taken back in the order %v:\n%s\nleft: %q", seed, sets, story.String(), left)
		}
		s.Close()
	}
}
