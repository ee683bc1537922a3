package send

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/config"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// workspace makes a sender with a campaign, people and a relay in memory, in a bubble with a simulated clock.
func workspace(t *testing.T, yaml string, people audience, wire *mailtest.Wire) *Sender {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mailer.yaml": "sender: {from: News <news@example.com>, postal_address: 1-1 Chiyoda, organization: Example}\ntimezone: Asia/Tokyo\n" +
			"bounces: {return_path: \"bounce+{token}@example.com\"}\n" + yaml,
		"campaigns/news.md": "---\nsubject: News\n---\nHello\n\n[Unsubscribe]({{.unsubscribe_url}})\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ws, err := config.Load(dir, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), ws.Database(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	db, err := sql.Open("sqlite", "file:"+ws.Database()+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, p := range people {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO contacts (key, address, fields, created_at, updated_at)
			SELECT printf('p%%06d@%s', i), printf('p%%06d@%s', i), '{}', 1, 1 FROM n`, p.n, p.domain, p.domain))
		if err != nil {
			t.Fatal(err)
		}
	}
	return &Sender{Workspace: ws, Store: st, Now: time.Now, Warn: func(text string) { t.Log(text) }, net: wire.Dial}
}

// nextRun is when the next run finds something to do: when the hours open, when the next day's share of a warm-up is there, or else in a
// minute.
func nextRun(s *Sender, err error) time.Time {
	now := time.Now()
	switch {
	case errors.Is(err, ErrClosed):
		return s.Workspace.Config.Hours().Next(now)
	case len(s.Workspace.Config.Relays[0].Warmup.Providers) == 0:
		return now.Add(time.Minute)
	}
	year, month, day := now.In(s.Workspace.Config.Location()).Date()
	return time.Date(year, month, day+1, 0, 0, 0, 0, s.Workspace.Config.Location())
}

// What the plan says of 4,000 recipients (MAILER_TEST_FORECAST=40000 of as many) is what the run then takes, within a tenth: rates of several spans, a slow lane, a warm-up of
// one provider, and hours that close in between. Lanes, too, end when they were said to.
func TestForecastHolds(t *testing.T) {
	n := 4000 // the real number takes minutes, for each message is a commit of its own
	if mailtest.Race {
		n = 400
	}
	if text := os.Getenv("MAILER_TEST_FORECAST"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	people := audience{{"gmail.com", n / 2}, {"docomo.ne.jp", n / 20}, {"yahoo.co.jp", n / 10}, {"example.jp", n - n/2 - n/20 - n/10}}
	for _, tt := range []struct{ name, yaml string }{
		{"rates", fmt.Sprintf("rates: [100/s, %d/h]\nrelays: {main: {host: a.example, port: 25, tls: none, insecure: true, rates: [50/s]}}\ndomains: {docomo.ne.jp: {rates: [1/s]}}\n", n/2)},
		{"hours", fmt.Sprintf("relays: {main: {host: a.example, port: 25, tls: none, insecure: true, rates: [%d/h]}}\nhours: {windows: [\"09:00-10:30\"]}\n", n*2/5)},
		{"warm-up", fmt.Sprintf("relays: {main: {host: a.example, port: 25, tls: none, insecure: true, rates: [100/s], warmup: {providers: {gmail: [%d, %d, %d, %d]}}}}\n", n/16, n/8, n/4, n/2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := mailtest.NewWire(15 * time.Millisecond)
				mailtest.NewSMTPOn(t, wire, mailtest.Script{})
				s := workspace(t, tt.yaml, people, wire)
				request := Request{Campaign: "campaigns/news.md", Where: "true"}
				plan, err := s.Prepare(t.Context(), request)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				course, err := s.Forecast(t.Context(), plan)
				if err != nil {
					t.Fatal(err)
				}
				for {
					var counts Counts
					sum, err := s.Run(t.Context(), t.Context(), plan, &counts)
					if sum.Accepted == int64(n) {
						break
					}
					if !errors.Is(err, ErrLimit) && !errors.Is(err, ErrClosed) {
						t.Fatalf("%v, %v", sum.Balance, err)
					}
					time.Sleep(time.Until(nextRun(s, err))) // cron begins it
					if plan, err = s.Prepare(t.Context(), request); err != nil {
						t.Fatal(err)
					}
				}
				took, said := time.Since(begin), course.Ends.Sub(begin)
				t.Logf("said %s, took %s; bound by %s", said.Round(time.Second), took.Round(time.Second), course.Bound)
				if off := math.Abs(took.Seconds()-said.Seconds()) / took.Seconds(); off > 0.1 {
					t.Errorf("said %s, took %s: %.1f %% off", said, took, 100*off)
				}
			})
		})
	}
}
