package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailer/internal/address"
	"mailer/internal/delivery"
	"mailer/internal/provider"
	"mailer/internal/store"
)

var lanesNow = time.Date(2026, 11, 26, 9, 1, 0, 0, time.FixedZone("JST", 9*3600))

// someLanes are the presets, with these states.
func someLanes(t *testing.T, states map[string]LaneState) Lanes {
	t.Helper()
	table, err := provider.Presets()
	if err != nil {
		t.Fatal(err)
	}
	return Lanes{table: table, states: states, now: lanesNow}
}

func TestLaneStateAsStored(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
	}{
		{"slowed", `{"rate":5,"was":100,"hit":"2026-11-26T00:00:00Z","why":"421 4.7.28 taro@gmail.com:\n too much"}`, "slowed to 5/s: 421 4.7.28 …@gmail.com: too much"},
		{"paused", `{"rate":5,"until":"2026-11-26T00:30:00.5Z","held":1800000000000,"why":"550 5.7.1"}`, "paused until 09:30: 550 5.7.1"},
		{"paused for days", `{"until":"2026-11-28T00:30:00Z","why":"550"}`, "paused until 2026-11-28 09:30: 550"},
		{"the pause is over", `{"until":"2026-11-26T00:00:59Z","held":60000000000,"why":"550"}`, ": "},
		{"slowed since a pause", `{"rate":0.5,"until":"2026-11-26T00:00:59Z","why":"421"}`, "slowed to 30/min: 421"},
		{"free", `{}`, ": "},
		{"nobody understands it", `[`, ": "},
	} {
		s := laneState(c.text, lanesNow)
		if got := StateWords(s.Rate, s.Until, lanesNow) + ": " + s.Why; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSpeed(t *testing.T) {
	for perSecond, want := range map[float64]string{0.01: "0.6/min", 0.2: "12/min", 0.99: "59.4/min", 0.996: "1/s", 1.389: "1.4/s", 5: "5/s", 9.96: "10/s", 123.4: "123/s"} {
		if got := Speed(perSecond); got != want {
			t.Errorf("%v: %s, want %s", perSecond, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	for after, want := range map[time.Duration]string{
		59 * time.Second: "09:01:59", time.Minute: "09:02", 14*time.Hour + 58*time.Minute: "23:59", 15 * time.Hour: "2026-11-27 00:01",
	} {
		if got := Clock(lanesNow.Add(after).UTC(), lanesNow); got != want {
			t.Errorf("in %v: %s, want %s", after, got, want)
		}
	}
}

// A lane is all domains of a provider. How it takes our mail matters as long as somebody waits.
func TestLanesOfACampaign(t *testing.T) {
	l := someLanes(t, map[string]LaneState{
		"gmail":      {Rate: 5, Why: "421 4.7.28"},
		"docomo":     {Until: lanesNow.Add(time.Hour), Why: "550 5.7.1"},
		"example.jp": {Rate: 1},
	})
	tally := func(domain string, s delivery.State, n int64) store.Tally {
		return store.Tally{Domain: domain, State: s, Count: n, Attempted: n}
	}
	c := Campaign{Name: "news", Lanes: l.group([]store.Tally{
		tally("gmail.com", delivery.Accepted, 50), tally("googlemail.com", delivery.Deferred, 3), tally("gmail.com", delivery.Bounced, 2),
		tally("docomo.ne.jp", delivery.Accepted, 10), tally("docomo.ne.jp", delivery.Failed, 1), tally("example.jp", delivery.Pending, 4),
	})}
	var got []string
	for _, lane := range c.Lanes {
		line, err := json.Marshal(lane)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lane.Name+": "+lane.Words+" "+lane.Why)
		if lane.Name == "gmail" && !(lane.Planned == 55 && lane.Accepted == 52 && lane.Bounced() == 2 && lane.Deferred == 3 &&
			strings.Contains(string(line), `"name":"gmail","planned":55`) && strings.HasSuffix(string(line), `"rate":5,"why":"421 4.7.28"}`)) {
			t.Errorf("gmail: %s", line)
		}
	}
	if want := "gmail: slowed to 5/s 421 4.7.28, docomo:  , example.jp: slowed to 1/s "; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	var table, page bytes.Buffer
	if err := c.CSV(&table); err != nil || !strings.Contains(table.String(), "\nlane,gmail,55,55,52,50,0,2,0,0,0,3,0,0,0,0.9091,slowed to 5/s,421 4.7.28\n") {
		t.Errorf("%v\n%s", err, table.String())
	}
	if err := c.HTML(&page, lanesNow); err != nil || !strings.Contains(page.String(), `<td class="t">gmail</td><td>55</td><td>52</td><td>3</td><td>0</td><td>2</td><td>0</td><td class="t wide">slowed to 5/s<br><code>421 4.7.28</code></td>`) {
		t.Errorf("%v\n%s", err, page.String())
	}
}

// However many there are and however small it is, one that keeps somebody waiting is named.
func TestALaneThatIsHeldIsNamed(t *testing.T) {
	l := someLanes(t, map[string]LaneState{"d29.example": {Rate: 2}, "d28.example": {Rate: 2}})
	var tallies []store.Tally
	for i := range 30 {
		s := delivery.Deferred
		if i == 28 { // nobody waits there
			s = delivery.Accepted
		}
		tallies = append(tallies, store.Tally{Domain: fmt.Sprintf("d%d.example", i), State: s, Count: int64(100 - i)})
	}
	var names []string
	var planned int64
	for _, lane := range l.group(tallies) {
		names, planned = append(names, lane.Name+" "+lane.Words), planned+lane.Planned
	}
	if len(names) != largest+2 || names[largest] != "d29.example slowed to 2/s" || names[largest+1] != "19 others " || planned != 30*100-29*30/2 {
		t.Errorf("%d planned in %q", planned, names)
	}
}

// Who waits is told that the provider is the reason; who does not wait is told nothing of it.
func TestWhyNamesTheLane(t *testing.T) {
	a, err := address.Parse("taro@GoogleMail.com")
	if err != nil {
		t.Fatal(err)
	}
	l := someLanes(t, map[string]LaneState{"gmail": {Until: lanesNow.Add(time.Hour), Why: "421 4.7.28"}})
	const held = "; gmail is paused until 10:01: 421 4.7.28"
	traced := func(s delivery.State, tries ...string) store.Traces {
		d := store.TracedDelivery{Campaign: "news", Planned: lanesNow, Recipient: store.Recipient{Address: a.Text, State: s, At: lanesNow}}
		for i, outcome := range tries {
			d.History = append(d.History, store.TracedAttempt{Number: i + 1, At: lanesNow, Outcome: outcome})
		}
		return store.Traces{Deliveries: []store.TracedDelivery{d}}
	}
	for _, c := range []struct {
		name   string
		traces store.Traces
		want   string // the end of the last entry
		held   bool
	}{
		{"pending", traced(delivery.Pending), "news: waits to be sent" + held, true},
		{"deferred", traced(delivery.Deferred, "deferred", "deferred"), "news: try 2 deferred" + held, true},
		{"accepted", traced(delivery.Accepted, "deferred"), "accepted by relay , Message-ID <>", false},
		{"failed", traced(delivery.Failed, "failed"), "news: try 1 failed", false},
	} {
		s := tell(c.traces, a, l)
		last := s.Entries[len(s.Entries)-1]
		if !strings.HasSuffix(last.Text, c.want) || (last.Fields["held"] != nil) != c.held {
			t.Errorf("%s: %q, %v", c.name, last.Text, last.Fields["held"])
		}
		for _, e := range s.Entries[:len(s.Entries)-1] {
			if strings.Contains(e.Text, "gmail is") {
				t.Errorf("%s: also %q", c.name, e.Text)
			}
		}
	}
	free := tell(traced(delivery.Pending), a, someLanes(t, nil))
	if last := free.Entries[len(free.Entries)-1]; last.Text != "news: waits to be sent" {
		t.Errorf("of a lane that is free: %q", last.Text)
	}
}
