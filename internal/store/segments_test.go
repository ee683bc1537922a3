package store

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"mailer/internal/contact"
)

// withPeople is a store with n contacts, person1@example.com and on; field 1 is their number.
func withPeople(t *testing.T, n int) *Store {
	t.Helper()
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "mailer.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.write.ExecContext(ctx, "INSERT INTO fields (id, name, type, created_at) VALUES (1, 'n', 'number', 0)"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= n; i++ {
		address := fmt.Sprintf("person%d@example.com", i)
		_, err := s.write.ExecContext(ctx, "INSERT INTO contacts (key, address, fields, created_at, updated_at) VALUES (?, ?, ?, 0, 0)",
			address, address, fmt.Sprintf(`{"f1":%d}`, i))
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func atMost(n int) Where {
	return Where{SQL: "json_extract(c.fields, '$.f1') <= ?", Args: []any{n}}
}

func TestCountAndMatchEach(t *testing.T) {
	ctx := context.Background()
	s := withPeople(t, 20)
	conditions := []Where{{}, atMost(5), {SQL: "NULL"}}
	for i := range 500 { // more than one query takes
		conditions = append(conditions, atMost(i%30))
	}
	many := Where{SQL: "c.id IN (" + placeholders(20000) + ")", Args: slices.Repeat([]any{1}, 20000)}
	conditions = append(conditions, many, many)
	counts, err := s.CountEach(ctx, conditions, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(counts[:4], []int64{20, 5, 0, 0}) || counts[3+29] != 20 || counts[3+499] != 19 || counts[len(counts)-1] != 1 || len(counts) != len(conditions) {
		t.Errorf("counts: %v", counts)
	}
	holds, ok, err := s.MatchEach(ctx, "person7@example.com", conditions)
	if err != nil || !ok {
		t.Fatalf("match: %v, %v", ok, err)
	}
	if !slices.Equal(holds[:3], []bool{true, false, false}) || holds[3+6] || !holds[3+7] || holds[len(holds)-1] {
		t.Errorf("holds: %v", holds)
	}
	if _, ok, err := s.MatchEach(ctx, "nobody@example.com", conditions); ok || err != nil {
		t.Errorf("match of nobody: %v, %v", ok, err)
	}
}

func TestSample(t *testing.T) {
	ctx := context.Background()
	s := withPeople(t, 60)
	sample := func(w Where, n int, seed string) string {
		t.Helper()
		people, err := s.Sample(ctx, w, n, seed)
		if err != nil {
			t.Fatal(err)
		}
		names := make([]string, len(people))
		for i, p := range people {
			names[i] = p.Address
		}
		return strings.Join(names, " ")
	}
	first := sample(atMost(50), 8, "a")
	if n := len(strings.Fields(first)); n != 8 {
		t.Fatalf("a sample of 8 has %d", n)
	}
	if again := sample(atMost(50), 8, "a"); again != first {
		t.Errorf("the same seed picks %s, then %s", first, again)
	}
	if other := sample(atMost(50), 8, "b"); other == first {
		t.Errorf("another seed picks the same %s", other)
	}
	if longer := sample(atMost(50), 20, "a"); !strings.HasPrefix(longer, first) {
		t.Errorf("a larger sample %s does not go on from %s", longer, first)
	}
	gone := strings.Fields(first)[3]
	if _, err := s.write.ExecContext(ctx, "DELETE FROM contacts WHERE key = ?", gone); err != nil {
		t.Fatal(err)
	}
	without := slices.DeleteFunc(strings.Fields(first), func(a string) bool { return a == gone })
	if now := strings.Fields(sample(atMost(50), 8, "a")); !slices.Equal(now[:7], without) {
		t.Errorf("with %s gone the sample is %s, was %s", gone, now, first)
	}
	if all := strings.Fields(sample(atMost(5), 100, "a")); len(all) > 5 || len(all) < 4 {
		t.Errorf("a sample larger than the segment: %s", all)
	}
	if none := sample(Where{SQL: "0"}, 10, "a"); none != "" {
		t.Errorf("a sample of nobody: %s", none)
	}
	people, err := s.Sample(ctx, Where{SQL: "c.key = ?", Args: []any{"person9@example.com"}}, 1, "")
	if err != nil || len(people) != 1 || !equalContact(people[0], "person9@example.com", "9") {
		t.Errorf("sample with values: %v, %v", people, err)
	}
}

func equalContact(c contact.Contact, address, n string) bool {
	return c.Address == address && c.Values["n"] == n
}

// A count that is cut into stretches tells how far it is, up to the end.
func TestCountTellsHowFarItIs(t *testing.T) {
	s, _ := openTest(t)
	var rows []Row
	for i := range 100 {
		rows = append(rows, row(int64(i+2), i, "x"))
	}
	put(t, s, ImportSpec{Columns: columns("a")}, rows...)
	s.sizes.apart, s.sizes.stretch = 10, 30
	var told []int64
	n, err := s.CountWith(t.Context(), Where{SQL: "c.id > ?", Args: []any{1}}, func(done, total int64) {
		if total != 100 {
			t.Errorf("of %d", total)
		}
		told = append(told, done)
	})
	if err != nil || n != 99 {
		t.Fatalf("%d, %v", n, err)
	}
	if want := []int64{30, 60, 90, 100}; runtime.GOMAXPROCS(0) > 1 && !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
