package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"mailer/internal/spelling"
	"mailer/internal/statistics"
	"mailer/internal/store"
)

// history is what came of earlier messages, by lane and age of the proof.
type history struct {
	lanes map[string][]stratum
	tried int64
	nth   int64 // only every nth message was looked at
}

// others is the lane of all domains that no provider has.
const others = ""

func (l *List) lane(domain string) string {
	if p, ok := l.Providers.Find(domain); ok {
		return p.Name
	}
	return others
}

// past joins the people of today to what came of those who were like them.
func (l *List) past(ctx context.Context) (history, error) {
	h := history{lanes: map[string][]stratum{}}
	at := func(domain string, age int) *stratum {
		lane := l.lane(domain)
		if h.lanes[lane] == nil {
			h.lanes[lane] = make([]stratum, store.ProofAges)
		}
		return &h.lanes[lane][age]
	}
	fates, nth, err := l.Store.Fates(ctx, l.now().AddDate(-1, 0, 0), fateSample)
	if err != nil {
		return h, err
	}
	h.nth = nth
	for _, f := range fates {
		s := at(f.Domain, f.Age)
		s.tried, s.dead, h.tried = s.tried+f.Tried, s.dead+f.Dead, h.tried+f.Tried
	}
	for _, d := range l.domains {
		for age, n := range d.Proofs {
			at(d.Domain, age).people += n
		}
	}
	return h, nil
}

// wants is what a provider asks of who sends to it in bulk.
var wants = map[string]string{
	"gmail":       "complaints below 0.1 %, never 0.3 %; from about 5,000 a day SPF, DKIM, DMARC and one-click unsubscribe",
	"yahoo":       "complaints below 0.3 %; SPF, DKIM, DMARC and one-click unsubscribe",
	"microsoft":   "from 5,000 a day SPF, DKIM and DMARC, or 550 5.7.515; no retries to who was refused",
	"icloud":      "SPF, DKIM, an unsubscribe link, the same addresses every time",
	"docomo":      "few unknown addresses, or the network is blocked for a time; readers are warned where DMARC is absent or fails",
	"au":          "few unknown addresses and slow sending, or connections are refused for a time",
	"yahoo-japan": "no limits published; Gmail's are the bar",
	"softbank":    "few unknown addresses and slow sending",
}

// providers is who receives, with what each wants and how it took mail so far.
func (l *List) providers(past history) []Finding {
	type row struct {
		lane   string
		people int64
		tried  stratum
	}
	var rows []row
	for lane, strata := range past.lanes {
		r := row{lane: lane}
		for _, s := range strata {
			r.people, r.tried.tried, r.tried.dead = r.people+s.people, r.tried.tried+s.tried, r.tried.dead+s.dead
		}
		if r.people > 0 {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(b.people, a.people), cmp.Compare(a.lane, b.lane)) })
	f := Finding{Area: "list", Check: "providers", Level: Info, Found: fmt.Sprintf("%s at %s.", people(l.mailable), spelling.Count(len(l.domains), "domain", "domains"))}
	var all []Finding
	for _, r := range rows {
		title := "other domains"
		if p, ok := l.Providers.Provider(r.lane); ok {
			title = p.Title
		}
		line := fmt.Sprintf("%s: %d (%s)", title, r.people, l.percent(r.people))
		if r.tried.tried > 0 {
			line += fmt.Sprintf("; of %s %d found the address dead (%s)", tries(r.tried.tried, past.nth), r.tried.dead, percent(float64(r.tried.dead)/float64(r.tried.tried)))
		} else {
			line += "; no history"
		}
		if w := wants[r.lane]; w != "" {
			line += "; wants " + w
		}
		f.Detail = append(f.Detail, line)
		if low, _ := statistics.Interval(r.tried.dead, r.tried.tried); r.lane != others && r.tried.tried >= leaning && low > bounceWarn { // a handful proves nothing
			all = append(all, Finding{Area: "list", Check: "provider_bounces", Subject: title, Level: Warn, People: r.people,
				Found: fmt.Sprintf("Of %s to %s within a year, %d found the address dead (%s).", tries(r.tried.tried, past.nth), title, r.tried.dead, percent(float64(r.tried.dead)/float64(r.tried.tried))),
				Why:   "A provider that sees many unknown addresses takes the sender for one who guesses or buys them, and slows down or refuses all of its mail. " + sentence(wants[r.lane]),
				Do:    "Mail first whom mail reached of late, leave out who was never reached, and look for where these addresses come from."})
		}
	}
	return append([]Finding{f}, all...)
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return "It wants " + text + "."
}

// tries is how many messages a figure stands on.
func tries(n, nth int64) string {
	text := spelling.Count(n, "message", "messages")
	if nth > 1 {
		text += fmt.Sprintf(" (1 in %d was looked at)", nth)
	}
	return text
}

// expected is how much of a mailing to all of them will come back.
func (l *List) expected(past history) []Finding {
	const check = "expected_bounces"
	proven := map[string][]stratum{}
	var first stratum
	for lane, strata := range past.lanes {
		proven[lane] = strata[:store.NoProof]
		s := strata[store.NoProof]
		first.people, first.tried, first.dead = first.people+s.people, first.tried+s.tried, first.dead+s.dead
	}
	e := expect(proven)
	f := Finding{Area: "list", Check: check, Level: Pass}
	f.Why = "Hard bounces are what relays and providers count first: from 2 % on they slow down or ask questions, Amazon SES puts an account under review at 5 %."
	f.Do = "Send to the freshest part first and let the bounces be read before the rest goes: mailer send CAMPAIGN --canary 500."
	var lines []string
	if first.people > 0 {
		line := fmt.Sprintf("%s (%s) have no history: nothing was ever taken for them", people(first.people), l.percent(first.people))
		if first.tried >= leaning {
			line += fmt.Sprintf("; of %s to such people before, %d found the address dead (%s)", tries(first.tried, past.nth), first.dead, percent(float64(first.dead)/float64(first.tried)))
		}
		lines = append(lines, line)
	}
	if e.tried == 0 || e.people == 0 {
		f.Level, f.Found, f.Why, f.Do = Info, "There is no history to tell from how many will bounce.", "", ""
		if first.people > 0 {
			f.Do = "Send to some first: mailer send CAMPAIGN --canary 500."
		}
	} else {
		f.People = e.people
		f.Found = fmt.Sprintf("Of the %s whom mail reached before, %s will find the address dead (95 %% sure: %s to %s), from %s of the last year.",
			people(e.people), percent(e.rate), percent(e.low), percent(e.high), tries(e.tried, past.nth))
		switch { // a handful of messages proves nothing
		case e.rate >= bounceFail && e.low >= bounceWarn:
			f.Level = Fail
		case e.rate >= bounceWarn && e.tried >= leaning:
			f.Level = Warn
		case e.high >= bounceFail:
			f.Level = Info
			lines = append(lines, "too little is known to be sure that it stays below 5 %")
		}
	}
	if low, _ := statistics.Interval(first.dead, first.tried); first.people > 0 && first.tried >= leaning && low >= bounceWarn && !f.Level.Worse(Info) {
		f.Level = Warn
		if e.tried == 0 || e.people == 0 {
			f.Found = fmt.Sprintf("Of %s to people without a history %d found the address dead; of others there is nothing to tell from.", tries(first.tried, past.nth), first.dead)
		}
		f.Why = "First mails bounced more than providers forgive (2 %). " + f.Why
		f.Do = "Send to some of those without history first, and let the bounces be read before the rest goes: mailer send CAMPAIGN --canary 500."
	}
	f.Detail = lines
	return []Finding{f}
}
