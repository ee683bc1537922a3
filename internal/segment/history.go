package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
)

// What a person has got from us and done, as conditions. People are found in the history by the key of their address: a
// contact that was deleted and imported again is still the one who bounced.

// sending is a campaign; the zero value is any.
type sending struct {
	name string
	id   int64
	few  bool // it reached few of the contacts
}

// words names the campaign after a preposition.
func (s sending) words(before string) string {
	if s.id == 0 {
		return ""
	}
	return " " + before + " " + strconv.Quote(s.name)
}

// moment is a time in the history, in milliseconds; zero is the beginning.
type moment struct {
	millis int64
	words  string
}

// received asks whether a relay took a message. That it bounced or that the person complained later does not undo that.
type received struct{ campaign sending }

func (r received) sql(w *writer) {
	switch {
	case r.campaign.id == 0:
		w.write("EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = c.key AND " + taken + ")")
	case r.campaign.few:
		w.write("c.key IN (SELECT d.key FROM deliveries AS d WHERE d.campaign = ? AND "+taken+")", r.campaign.id)
	default:
		w.write("EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = c.key AND d.campaign = ? AND "+taken+")", r.campaign.id)
	}
}

const taken = "d.state IN ('accepted', 'bounced', 'complained')"

func (r received) words() string {
	if r.campaign.id == 0 {
		return "was sent a campaign"
	}
	return "was sent the campaign " + strconv.Quote(r.campaign.name)
}

// sent asks whether a message was offered to a relay since then, whatever came of it. Of a delivery that has moved on
// (a bounce came back, the campaign was cancelled or is tried anew) the time stands with its attempts.
type sent struct{ since moment }

func (s sent) sql(w *writer) {
	w.write("EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = c.key AND d.attempts > 0 AND d.reason <> 'compose' AND d.updated_at >= ?"+
		" AND (d.state IN ('sending', 'accepted', 'deferred', 'failed', 'uncertain')"+
		" OR EXISTS (SELECT 1 FROM attempts AS t WHERE t.delivery = d.id AND t.outcome <> 'resolved' AND t.at >= ?)))", s.since.millis, s.since.millis)
}

func (s sent) words() string { return "was sent something since " + s.since.words }

// event is a kind of thing in the history.
type event struct {
	kinds string // as SQL
	words string
}

// events by the function that asks for them.
var events = map[string]event{
	"bounced":      {"h.kind IN ('bounce', 'soft_bounce')", "a mail bounced"},
	"complained":   {"h.kind = 'complaint'", "complained"},
	"unsubscribed": {"h.kind = 'unsubscribe'", "unsubscribed"},
	"opened":       {"h.kind = 'open'", "opened a mail"},
	"clicked":      {"h.kind = 'click'", "clicked a link"},
}

// happened asks for an event, of a campaign or since a time.
type happened struct {
	event    event
	campaign sending
	since    moment
}

func (e happened) sql(w *writer) {
	w.write("EXISTS (SELECT 1 FROM events AS h WHERE h.key = c.key AND " + e.event.kinds)
	if e.campaign.id != 0 {
		w.write(" AND h.campaign = ?", e.campaign.id)
	}
	if e.since.millis != 0 {
		w.write(" AND h.at >= ?", e.since.millis)
	}
	w.write(")")
}

func (e happened) words() string {
	if e.since.millis != 0 {
		return e.event.words + " since " + e.since.words
	}
	return e.event.words + e.campaign.words("of")
}

// unsubscribed asks whether the person is unsubscribed now, by whichever way that was told.
type unsubscribed struct{}

func (unsubscribed) sql(w *writer) {
	w.write("EXISTS (SELECT 1 FROM suppressions AS s WHERE s.scope = 'address' AND s.key = c.key AND s.reason = 'unsubscribe')")
}

func (unsubscribed) words() string { return "is unsubscribed" }

// suppressed asks whether the address or its domain is suppressed now, for whatever reason.
type suppressed struct{}

func (suppressed) sql(w *writer) {
	w.write("(EXISTS (SELECT 1 FROM suppressions AS s WHERE s.scope = 'address' AND s.key = c.key)" +
		" OR EXISTS (SELECT 1 FROM suppressions AS s WHERE s.scope = 'domain' AND s.key = " + sqlDomain + "))")
}

func (suppressed) words() string { return "is suppressed" }

// added asks whether the contact came into the database since then. An address that was deleted and imported again is new.
type added struct{ since moment }

func (a added) sql(w *writer) { w.write("c.created_at >= ?", a.since.millis) }

func (a added) words() string { return "was added since " + a.since.words }

// consented asks whether it is recorded on any list how or when the person agreed; with a moment, that it was since then.
type consented struct{ since *moment }

func (a consented) sql(w *writer) {
	if a.since != nil {
		w.write("EXISTS (SELECT 1 FROM memberships AS m WHERE m.contact = c.id AND m.consent_at >= ?)", a.since.millis)
		return
	}
	w.write("EXISTS (SELECT 1 FROM memberships AS m WHERE m.contact = c.id AND (m.consent_source <> '' OR m.consent_at IS NOT NULL))")
}

func (a consented) words() string {
	if a.since != nil {
		return "agreed since " + a.since.words
	}
	return "has a record of consent"
}

// sampled asks whether the person is in a stable sample.
type sampled struct {
	percent float64
	seed    string
}

func (s sampled) sql(w *writer) { w.write(sqlSample, s.seed, share(s.percent)) }

func (s sampled) words() string {
	text := "in the sample of " + strconv.FormatFloat(s.percent, 'f', -1, 64) + " percent"
	if s.seed != "" {
		text += ", seed " + strconv.Quote(s.seed)
	}
	return text
}

// Place is where a person stands in the order of a seed: a hash of the address key, and of nothing else, so that who
// comes and goes elsewhere in the list moves nobody.
func Place(seed, key string) [sha256.Size]byte {
	var buffer [128]byte // an address and a seed; a longer one is moved to the heap
	return sha256.Sum256(append(append(append(buffer[:0], seed...), 0), key...))
}

// PlaceNumber is the beginning of Place as a number from 0 to 2^63 - 1, in the same order.
func PlaceNumber(seed, key string) int64 {
	place := Place(seed, key)
	return int64(binary.BigEndian.Uint64(place[:8]) >> 1)
}

// anyElement asks whether a list field holds one of several texts; there is at least one.
type anyElement struct {
	subject subject
	values  []any
}

func (e anyElement) sql(w *writer) {
	w.write(sqlAnyElement(e.subject.path, len(e.values)), e.values...)
}

func (e anyElement) words() string { return e.subject.name + " holds one of " + valuesWords(e.values) }

// placeholders is n question marks.
func placeholders(n int) string { return "?" + strings.Repeat(", ?", n-1) }
