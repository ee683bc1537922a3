package pace

import (
	"cmp"
	"slices"
	"time"
)

// Day is what left on one day of the workspace's calendar.
type Day struct {
	Date string // 2026-12-01
	Sent int64
}

// EndOfDay is the first moment of the day after t, where t is. In some zones the clocks change at midnight: then there is none, and
// what time.Date gives instead may lie an hour before the day's end.
func EndOfDay(t time.Time) time.Time {
	year, month, day := t.Date()
	end := time.Date(year, month, day+1, 0, 0, 0, 0, t.Location())
	if end.Day() == day {
		_, end = end.ZoneBounds()
	}
	return end
}

// forgotten is after how many idle days a warm-up begins anew: receivers no longer know the sender.
const forgotten = 30

// Share is how many may leave today by a warm-up curve (50, 100, 250, ... a day), -1 for no limit. A day's step follows
// that of the last day that was used, if that one used at least half of its share; otherwise it is repeated, as receivers
// know only what they saw. No day has more than twice the share of the one before, whatever the curve says, and the limit
// goes only after a day with the curve's last value. Days without a limit are to be counted as well (a Limit with N -1), or
// the warm-up would begin anew thirty days after its end.
func Share(curve []int64, history []Day, today string) int64 {
	now, err := time.Parse(time.DateOnly, today)
	if err != nil || len(curve) == 0 {
		return -1
	}
	days := slices.Clone(history)
	slices.SortFunc(days, func(a, b Day) int { return cmp.Compare(a.Date, b.Date) })
	w := warmup{curve: curve}
	for _, d := range days {
		date, err := time.Parse(time.DateOnly, d.Date)
		if err != nil || d.Sent < 1 || !date.Before(now) {
			continue
		}
		w.share = w.next(date)
		w.last, w.sent = date, d.Sent
	}
	return w.next(now)
}

// warmup is where a curve stands after the last day that was used.
type warmup struct {
	curve []int64
	last  time.Time
	step  int
	share int64 // -1: none
	sent  int64
}

// next goes on to the day that follows and returns its share.
func (w *warmup) next(day time.Time) int64 {
	end := len(w.curve) - 1
	switch {
	case w.last.IsZero(), day.Sub(w.last) > (forgotten+1)*24*time.Hour:
		w.step = 0
		return w.curve[0]
	case w.share < 0, w.sent*2 < w.share:
		return w.share
	case w.step < end:
		w.step++
	case w.share >= w.curve[end]:
		return -1
	}
	return min(w.curve[w.step], 2*w.share)
}
