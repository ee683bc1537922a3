package pace

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestShare(t *testing.T) {
	curve := []int64{50, 100, 250, 500}
	for _, tt := range []struct {
		name    string
		curve   []int64
		history []Day
		today   string
		want    int64
	}{
		{"the first day", curve, nil, "2026-12-01", 50},
		{"no curve", nil, nil, "2026-12-01", -1},
		{"the second", curve, []Day{{"2026-12-01", 50}}, "2026-12-02", 100},
		{"what left today does not matter", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 100}}, "2026-12-02", 100},
		{"nor what will leave", curve, []Day{{"2026-12-01", 50}, {"2026-12-03", 100}}, "2026-12-02", 100},
		{"at most twice", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 100}}, "2026-12-03", 200},
		{"in any order", curve, []Day{{"2026-12-02", 100}, {"2026-12-01", 50}}, "2026-12-03", 200},
		{"half is enough", curve, []Day{{"2026-12-01", 25}}, "2026-12-02", 100},
		{"less repeats the step", curve, []Day{{"2026-12-01", 24}}, "2026-12-02", 50},
		{"repeated, then used", curve, []Day{{"2026-12-01", 24}, {"2026-12-02", 30}}, "2026-12-03", 100},
		{"a repeated one that was cut to twice does not grow", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 100}, {"2026-12-03", 5}}, "2026-12-04", 200},
		{"idle days change nothing", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 0}}, "2026-12-20", 100},
		{"thirty idle days do not", curve, []Day{{"2026-11-01", 50}}, "2026-12-02", 100},
		{"one more begins anew", curve, []Day{{"2026-11-01", 50}}, "2026-12-03", 50},
		{"a gap within the history", curve, []Day{{"2026-09-01", 50}, {"2026-09-02", 100}, {"2026-12-01", 50}}, "2026-12-02", 100},
		{"up to the end", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 100}, {"2026-12-03", 200}}, "2026-12-04", 400},
		{"the last value comes before the limit goes", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 100}, {"2026-12-03", 200}, {"2026-12-04", 400}}, "2026-12-05", 500},
		{"beyond the end", curve, []Day{{"2026-12-01", 50}, {"2026-12-02", 100}, {"2026-12-03", 200}, {"2026-12-04", 400}, {"2026-12-05", 500}}, "2026-12-06", -1},
		{"and it stays so", []int64{50}, []Day{{"2026-12-01", 50}, {"2026-12-02", 3}, {"2026-12-03", 9000}}, "2026-12-04", -1},
		{"unless nothing left for long", []int64{50}, []Day{{"2026-12-01", 50}, {"2026-12-02", 3}}, "2027-02-04", 50},
		{"what is no date is passed over", curve, []Day{{"yesterday", 50}}, "2026-12-02", 50},
	} {
		if got := Share(tt.curve, tt.history, tt.today); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// However days are used, no share is more than twice that of the day used before, and never more than the curve's highest.
func TestShareNeverJumps(t *testing.T) {
	curve := []int64{50, 100, 250, 500, 1000, 2500, 5000, 7500, 10000, 15000, 20000, 30000}
	ended := 0
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var history []Day
		last, used := int64(0), time.Time{}
		for d := noon; d.Before(noon.AddDate(0, 0, 120)); d = d.AddDate(0, 0, 1) {
			share := Share(curve, history, d.Format(time.DateOnly))
			if share < 0 {
				ended++
				if last != curve[len(curve)-1] {
					t.Fatalf("seed %d: no limit after a share of %d", seed, last)
				}
				break
			}
			if share < 1 || share > curve[len(curve)-1] || last > 0 && share > 2*last || last == 0 && share != curve[0] {
				t.Fatalf("seed %d: %d after %d", seed, share, last)
			}
			if rnd.IntN(3) == 0 {
				d = d.AddDate(0, 0, rnd.IntN(3)*17)
				continue
			}
			if share < last && d.Sub(used) < forgotten*24*time.Hour {
				t.Fatalf("seed %d: %d after %d, %v later", seed, share, last, d.Sub(used))
			}
			sent := share - rnd.Int64N(share*5/8+1)
			history = append(history, Day{d.Format(time.DateOnly), sent})
			last, used = share, d
		}
	}
	if ended == 0 {
		t.Error("no warm-up ever came to its end")
	}
}

// Every moment of a day lies before its end, and the end is on the next day, also where the clocks skip midnight or show it twice.
func TestEndOfDay(t *testing.T) {
	for _, tt := range []struct{ zone, day string }{
		{"Asia/Tokyo", "2026-12-01"}, {"America/Santiago", "2026-09-05"}, {"America/Havana", "2026-03-07"}, {"Africa/Cairo", "2026-04-23"},
		{"America/Havana", "2026-10-31"}, {"America/Santiago", "2026-04-04"}, {"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"},
	} {
		z, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.ParseInLocation(time.DateTime, tt.day+" 01:30:00", z)
		if err != nil {
			t.Fatal(err)
		}
		end := EndOfDay(day)
		for at := day; at.Format(time.DateOnly) == tt.day; at = at.Add(5 * time.Minute) {
			if got := EndOfDay(at); !got.Equal(end) || !got.After(at) {
				t.Errorf("%s: the day of %s ends at %s", tt.zone, at, got)
			}
		}
		if before := end.Add(-time.Nanosecond); before.Format(time.DateOnly) != tt.day || end.Format(time.DateOnly) == tt.day {
			t.Errorf("%s: %s ends at %s", tt.zone, tt.day, end)
		}
	}
}
