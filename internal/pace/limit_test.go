package pace

import (
	"reflect"
	"testing"
	"time"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func TestLimits(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name  string
		rates []Rate
		want  []Limit
	}{
		{"none", nil, nil},
		{"an hour alone is how fast", []Rate{{5000, time.Hour}}, []Limit{{Name: "relay main/1h0m0s", N: 5000, Per: time.Hour, Smooth: true}}},
		{"beside a second it is how much", []Rate{{5000, time.Hour}, {100, time.Second}}, []Limit{
			{Name: "relay main/1s", N: 100, Per: time.Second, Smooth: true}, {Name: "relay main/1h0m0s", N: 5000, Per: time.Hour}}},
		{"a day alone is how much", []Rate{{50000, day}}, []Limit{{Name: "relay main/24h0m0s", N: 50000, Per: day}}},
		{"the lowest of each span", []Rate{{500, time.Hour}, {10, time.Second}, {100, time.Hour}, {20, time.Second}, {300, time.Hour}}, []Limit{
			{Name: "relay main/1s", N: 10, Per: time.Second, Smooth: true}, {Name: "relay main/1h0m0s", N: 100, Per: time.Hour}}},
	} {
		if got := Limits("relay main", tt.rates...); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

// drain takes all that may leave at once.
func drain(l Limit, m *Meter, now time.Time) (n int64) {
	for ; n < 1e6; n++ {
		at := l.When(m, now)
		if at.After(now) {
			return n
		}
		l.Take(m, now, at)
	}
	return n
}

func TestSmoothLimit(t *testing.T) {
	l := Limit{N: 100, Per: time.Second, Smooth: true}
	var m Meter
	if n := drain(l, &m, noon); n != 1 {
		t.Errorf("an unused meter lets %d go at once", n)
	}
	if at := l.When(&m, noon); !at.Equal(noon.Add(10 * time.Millisecond)) {
		t.Errorf("the next slot is %v", at)
	}
	if n := drain(l, &m, noon.Add(time.Hour)) + drain(l, &m, noon.Add(time.Hour+time.Millisecond)); n != 2 {
		t.Errorf("%d go at once after an idle hour; one in a hundred is the credit", n)
	}
	if n := drain(l, &m, noon); n != 1 {
		t.Errorf("%d go at once when the clock was set back", n)
	}
}

func TestSkippedSlotsAreTakenByOthers(t *testing.T) {
	l := Limit{N: 100, Per: time.Second, Smooth: true}
	var m Meter
	l.Take(&m, noon, noon)
	l.Take(&m, noon, noon.Add(55*time.Millisecond)) // another limit lets it go only then
	var got []int64
	for range 7 {
		at := l.When(&m, noon)
		l.Take(&m, noon, at)
		got = append(got, at.Sub(noon).Milliseconds())
	}
	if want := []int64{10, 20, 30, 40, 60, 70, 80}; !reflect.DeepEqual(got, want) { // 50 is its own, by the credit of 10
		t.Errorf("slots at %v, want %v", got, want)
	}
	if len(m.Holes) > 0 {
		t.Errorf("holes left: %v", m.Holes)
	}
}

func TestCountedLimit(t *testing.T) {
	l := Limit{N: 100, Per: time.Hour}
	m := Meter{Cells: map[int64]int64{l.Cell(noon.Add(-30 * time.Minute)): 60, l.Cell(noon.Add(-2 * time.Hour)): 500}}
	if used := l.Used(&m, noon); used != 60 {
		t.Errorf("%d used, want the 60 of this hour", used)
	}
	if n := drain(l, &m, noon); n != 40 {
		t.Errorf("%d go, want what is left of the hour", n)
	}
	if at, want := l.When(&m, noon), noon.Add(31*time.Minute); !at.Equal(want) {
		t.Errorf("the next at %v, want %v, when the oldest have left the window", at, want)
	}
	l.GiveBack(&m, noon)
	if n := drain(l, &m, noon); n != 1 {
		t.Errorf("%d go after one was given back", n)
	}
	if n := drain(l, &m, noon.Add(31*time.Minute)); n != 60 {
		t.Errorf("%d go when 60 have left the window", n)
	}
}

func TestShareOfADay(t *testing.T) {
	midnight := noon.Add(12 * time.Hour)
	l := Limit{Name: "warmup main/2026-12-01", N: 50, Until: midnight}
	m := Meter{Cells: map[int64]int64{0: 20}}
	if n := drain(l, &m, noon); n != 30 {
		t.Errorf("%d go, want what is left of the day", n)
	}
	if at := l.When(&m, noon); !at.Equal(midnight) {
		t.Errorf("the next at %v, want midnight", at)
	}
	l.GiveBack(&m, noon)
	if n := drain(l, &m, noon.Add(11*time.Hour)); n != 1 || m.Cells[0] != 50 {
		t.Errorf("%d go after one was given back, %v", n, m.Cells)
	}
	l.N = -1
	for range 3 {
		l.Take(&m, noon, l.When(&m, noon))
	}
	if at := l.When(&m, noon); !at.Equal(noon) || l.Used(&m, noon) != 53 {
		t.Errorf("a day without a limit lets go at %v and counted %d, want 53", at, l.Used(&m, noon))
	}
}
