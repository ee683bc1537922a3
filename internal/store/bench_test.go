package store

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"mailer/internal/contact"
	"mailer/internal/segment"
)

// BenchmarkSegmentCount counts segments of three conditions and, on the same file in the same run, the best SQL that
// somebody would write by hand for each. The figure is the ratio of the fastest of either. MAILER_BENCH_CONTACTS sets
// how many contacts there are (100000); the target holds for 1000000:
//
//	MAILER_BENCH_CONTACTS=1000000 make bench BENCH=SegmentCount PKG=./internal/store
func BenchmarkSegmentCount(b *testing.B) {
	n := 100_000
	if text := os.Getenv("MAILER_BENCH_CONTACTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	s := marketplace(b, n)
	for _, tt := range []struct{ name, where, byHand string }{
		{"fields", `pref == "東京都" and age >= 30 and points > 5000`,
			"json_extract(fields, '$.f1') = '東京都' AND json_extract(fields, '$.f2') >= 30 AND json_extract(fields, '$.f3') > 5000"},
		{"ranges", `age in 30..59 and last_purchase >= "2026-06" and points <= 50000`,
			"json_extract(fields, '$.f2') BETWEEN 30 AND 59 AND json_extract(fields, '$.f4') >= '2026-06' AND json_extract(fields, '$.f3') <= 50000"},
		{"history", `received("large") and not bounced() and age >= 30`,
			"json_extract(fields, '$.f2') >= 30 AND key NOT IN (SELECT key FROM events WHERE kind IN ('bounce', 'soft_bounce')) AND " +
				"EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = contacts.key AND d.campaign = 1 AND d.state IN ('accepted', 'bounced', 'complained'))"},
		{"shortlist", `list("short") and pref == "東京都" and age >= 30`,
			"id IN (SELECT contact FROM memberships WHERE list = 2) AND json_extract(fields, '$.f1') = '東京都' AND json_extract(fields, '$.f2') >= 30"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			schema, err := s.Vocabulary(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			schema.Now = time.Now()
			var ours, byHand time.Duration
			var got, want int64
			for b.Loop() {
				begun := time.Now()
				q, err := segment.Compile(tt.where, schema)
				if err != nil {
					b.Fatal(err)
				}
				if got, err = s.CountContacts(b.Context(), Where(q)); err != nil {
					b.Fatal(err)
				}
				ours = fastest(ours, time.Since(begun))
				begun = time.Now()
				if err := s.read.QueryRow("SELECT count(*) FROM contacts WHERE " + tt.byHand).Scan(&want); err != nil {
					b.Fatal(err)
				}
				byHand = fastest(byHand, time.Since(begun))
			}
			if got != want || got == 0 {
				b.Fatalf("%s: %d people, by hand %d", tt.where, got, want)
			}
			b.ReportMetric(float64(ours)/float64(byHand), "of-by-hand")
			b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/contact")
		})
	}
}

func fastest(so, now time.Duration) time.Duration {
	if so == 0 {
		return now
	}
	return min(so, now)
}

// marketplace is a store with n contacts, all on one list and some on another, a campaign that most of them got, and
// bounces of it.
func marketplace(b *testing.B, n int) *Store {
	b.Helper()
	s, err := Open(b.Context(), b.TempDir()+"/mailer.db", Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	do := func(query string, args ...any) {
		if _, err := s.write.Exec(query, args...); err != nil {
			b.Fatal(err)
		}
	}
	fields := []contact.Field{{ID: 1, Name: "pref", Type: contact.Text}, {ID: 2, Name: "age", Type: contact.Number}, {ID: 3, Name: "points", Type: contact.Number},
		{ID: 4, Name: "last_purchase", Type: contact.Date}, {ID: 5, Name: "name", Type: contact.Text}, {ID: 6, Name: "company", Type: contact.Text}}
	for _, f := range fields {
		do("INSERT INTO fields (id, name, type, created_at) VALUES (?, ?, ?, 0)", f.ID, f.Name, f.Type)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	prefs := []string{"北海道", "宮城県", "埼玉県", "千葉県", "東京都", "神奈川県", "愛知県", "京都府", "大阪府", "兵庫県", "広島県", "福岡県"}
	for ids := range slices.Chunk(slices.Collect(upTo(n)), 1000) {
		var args []any
		for _, id := range ids {
			text, err := contact.EncodeFields(fields, map[int64]string{1: prefs[rnd.IntN(len(prefs))], 2: strconv.Itoa(18 + rnd.IntN(62)), 3: strconv.Itoa(rnd.IntN(100_000)),
				4: fmt.Sprintf("2026-%02d-%02d", 1+rnd.IntN(12), 1+rnd.IntN(28)), 5: "山田 太郎", 6: fmt.Sprint("株式会社", id%5000)})
			if err != nil {
				b.Fatal(err)
			}
			key := fmt.Sprintf("user%d@example.jp", id)
			args = append(args, id, key, key, text, 0, 0)
		}
		err := s.update(b.Context(), func(tx *sql.Tx) error {
			return insertMany(b.Context(), tx, "INSERT INTO contacts (id, key, address, fields, created_at, updated_at) VALUES ", 6, "", args)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	do("INSERT INTO lists (id, name, created_at) VALUES (1, 'all', 0), (2, 'short', 0)")
	do("INSERT INTO memberships (list, contact, since) SELECT 1, id, 0 FROM contacts UNION ALL SELECT 2, id, 0 FROM contacts WHERE id % 50 = 0")
	do("INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (1, 'large', 'marketing', '', '', 'finished', 0, 0)")
	do("INSERT INTO deliveries (campaign, contact, key, address, domain, state, attempts, updated_at) SELECT 1, id, key, address, '', 'accepted', 1, 0 FROM contacts WHERE id % 10 < 9")
	do("INSERT INTO events (at, kind, key, campaign) SELECT 0, 'bounce', key, 1 FROM contacts WHERE id % 50 = 1")
	return s
}

// upTo counts from 1 to n.
func upTo(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i + 1) {
				return
			}
		}
	}
}
