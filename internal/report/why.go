package report

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/store"
	"mailer/internal/suppression"
)

// Story is all that happened with one address, the oldest first, and what it comes to.
type Story struct {
	Address     string
	Known       bool
	Contact     bool // it stands among the contacts
	Marketing   bool // nothing keeps it from marketing mail
	Operational bool // nothing keeps it from operational mail
	Verdict     string
	Held        string  // the provider whose freeze holds a suppression of it back; "": none
	Evidence    []int64 // the recorded mails that its suppressions, or the one held back, came from
	Entries     []Entry
	Near        []string // of an unknown address: contacts that may be meant
}

// Entry is one thing that happened.
type Entry struct {
	At     time.Time
	Kind   string
	Text   string
	Fields map[string]any // for scripts
}

// Why tells the story of an address, with times of the time zone of the lanes.
func Why(ctx context.Context, st *store.Store, a address.Address, lanes Lanes) (Story, error) {
	traces, err := st.Traces(ctx, a.Key)
	if err != nil {
		return Story{}, err
	}
	s := tell(traces, a, lanes)
	if !s.Known {
		s.Near, err = st.NearAddresses(ctx, a.Key, oneOff(a.Key), 5)
	}
	return s, err
}

func tell(t store.Traces, a address.Address, lanes Lanes) Story {
	text, zone := a.Text, lanes.now.Location()
	s := Story{Address: text, Known: !t.Empty(), Contact: t.Contact.ID != 0}
	s.Marketing, s.Operational = allowed(t)
	s.Verdict = verdict(t, text, lanes.now)
	if t.Held != nil {
		s.Held = t.Held.Freeze.Lane
	}
	s.Evidence = evidence(t)
	s.Entries = slices.Concat(changes(t.Changes), memberships(t.Memberships, zone), deliveries(t.Deliveries, lanes.waits(a.Domain()), zone), mails(t), events(t), silent(t), held(t, lanes.now))
	for i := range s.Entries {
		s.Entries[i].At = s.Entries[i].At.In(zone)
	}
	slices.SortStableFunc(s.Entries, func(a, b Entry) int { return a.At.Compare(b.At) })
	return s
}

// allowed says which classes of mail may go to the address. Who was forgotten is blocked as soon as they are imported again.
func allowed(t store.Traces) (marketing, operational bool) {
	if !t.Forgotten.IsZero() {
		return false, false
	}
	marketing, operational = true, true
	for _, p := range t.Suppressions {
		marketing = marketing && !suppression.Stops(p.Blocks, "marketing")
		operational = operational && !suppression.Stops(p.Blocks, "operational")
	}
	return marketing, operational
}

// because says a suppression's reason as the end of a sentence.
var because = map[string]string{
	suppression.Unsubscribe: "the person unsubscribed",
	suppression.HardBounce:  "the address is dead (hard bounce)",
	suppression.SoftBounces: "it kept bouncing (soft bounces)",
	suppression.Complaint:   "the person complained about spam",
	suppression.Manual:      "somebody here decided so",
	suppression.Import:      "it was on an imported suppression list",
	suppression.Forgotten:   "the person asked to be forgotten",
}

// verdict is one plain sentence: may the address be mailed, and if not, why.
func verdict(t store.Traces, text string, now time.Time) string {
	zone := now.Location()
	switch {
	case len(t.Suppressions) > 0:
		return suppressed(t.Suppressions[0], text, zone)
	case !t.Forgotten.IsZero():
		return fmt.Sprintf("%s was forgotten on %s: all that was known is erased, and no mail is sent to it even if it is imported again.", text, t.Forgotten.In(zone).Format("2006-01-02"))
	case t.Empty():
		return fmt.Sprintf("%s is nowhere in this workspace.", text)
	case t.Contact.ID == 0:
		return fmt.Sprintf("%s is not among the contacts, so no new campaign reaches it; nothing is held against it.", text)
	}
	if t.Held != nil {
		return heldBack(*t.Held, text, now)
	}
	return text + " can be mailed."
}

// heldBack tells of an address that came back dead from a provider that is not believed, and how a person decides.
func heldBack(h store.Held, text string, now time.Time) string {
	lane, until := h.Freeze.Lane, "until "+stamp(h.Freeze.Until, now.Location())
	if !h.Freeze.Active(now) {
		until = "up to " + stamp(h.Freeze.Until, now.Location()) + ", and nobody has decided yet"
	}
	return fmt.Sprintf("%s can be mailed: it came back dead, but its suppression is held back, because %s (cleaning there is frozen %s). "+
		"If they are dead: mailer bounces release %s --suppress; if it was a block or a fault there: mailer bounces release %s --keep. "+
		"Only this one: mailer suppressions add %s.%s", text, h.Freeze.Why(), until, lane, lane, text, evident(h.Evidence, h.Bounce))
}

// evident is the evidence of a suppression, with the command that shows the mail it came from.
func evident(words string, mail int64) string {
	text := ""
	if words != "" {
		text = fmt.Sprintf(" Evidence: %q", oneLine(words))
	}
	if mail != 0 {
		text += fmt.Sprintf(" (mailer bounces show %d)", mail)
	}
	return text
}

// evidence is the recorded mails that suppressions came from, the oldest first.
func evidence(t store.Traces) []int64 {
	mails := []int64{}
	for _, p := range t.Suppressions {
		if p.Bounce != 0 {
			mails = append(mails, p.Bounce)
		}
	}
	if t.Held != nil && t.Held.Bounce != 0 {
		mails = append(mails, t.Held.Bounce)
	}
	slices.Sort(mails)
	return slices.Compact(mails)
}

// suppressed tells the suppression that blocks most; the others stand in the history.
func suppressed(p store.SuppressionRow, text string, zone *time.Location) string {
	whose := ""
	if p.Scope == suppression.ScopeDomain {
		whose = "with its whole domain "
	}
	effect := "no mail is sent to it"
	if p.Blocks == suppression.BlocksMarketing {
		effect = "no marketing mail is sent to it, only operational mail"
	}
	sentence := fmt.Sprintf("%s is suppressed %ssince %s because %s, %s.", text, whose, stamp(p.Since, zone), because[p.Reason], effect)
	return sentence + evident(p.Evidence, p.Bounce)
}

// changes tells which line of which file brought the contact and its values. A file that is imported every night says
// nothing new every night: a row of such lines is told once.
func changes(all []store.TracedChange) []Entry {
	var entries []Entry
	same := 0
	for i, c := range all {
		nothing := c.Op == "touch" && !c.Listed
		if same++; !nothing {
			same = 0
		}
		if nothing && i+1 < len(all) && all[i+1].Op == "touch" && !all[i+1].Listed {
			continue
		}
		text := fmt.Sprintf("%s %s", place(c), did(c))
		if same > 1 {
			text = fmt.Sprintf("%s, and %d times before: nothing new", place(c), same-1)
		}
		if c.Set.State == "undoing" || c.Set.State == "undone" {
			text += " (taken back since)"
		}
		entries = append(entries, Entry{c.Set.Created, c.Set.Kind, text, map[string]any{
			"change_set": c.Change.Set, "source": c.Set.Source, "line": c.Line, "op": c.Op, "before": c.Before, "after": c.After}})
	}
	return entries
}

func place(c store.TracedChange) string {
	if c.Line == 0 {
		return c.Set.Source
	}
	return fmt.Sprintf("%s, line %d", c.Set.Source, c.Line)
}

func did(c store.TracedChange) string {
	switch {
	case c.Op == "create", c.Op == "delete": // the latter is a creation that was taken back
		return "brought the contact"
	case c.Left:
		return "did not have the contact, which left the list"
	case len(c.After) > 0:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(c.After)) {
			parts = append(parts, fmt.Sprintf("%s: %s → %s", name, orNothing(c.Before[name]), orNothing(c.After[name])))
		}
		return "changed " + strings.Join(parts, "; ")
	case c.Op == "update":
		return "changed how the address is written"
	case c.Listed:
		return "added the contact to a list"
	}
	return "had nothing new"
}

func orNothing(cell string) string {
	if cell == "" {
		return "(empty)"
	}
	return cell
}

func memberships(all []store.Membership, zone *time.Location) []Entry {
	var entries []Entry
	for _, m := range all {
		text := "joined the list " + m.List
		consent := m.Consent.Source
		if !m.Consent.At.IsZero() {
			consent += " on " + stamp(m.Consent.At, zone)
		}
		if m.Consent.Text != "" {
			consent += fmt.Sprintf(" (%q)", oneLine(m.Consent.Text))
		}
		if consent = strings.TrimSpace(consent); consent != "" {
			text += "; consent: " + consent
		} else {
			text += "; no consent recorded"
		}
		entries = append(entries, Entry{m.Since, "list", text, map[string]any{"list": m.List, "consent": m.Consent}})
	}
	return entries
}

// deliveries tells each campaign: planned, each try, and where it stands. Who waits may do so because of the provider: held says so.
func deliveries(all []store.TracedDelivery, held string, zone *time.Location) []Entry {
	var entries []Entry
	for _, d := range all {
		if !(d.State == delivery.Excluded && d.At.Equal(d.Planned)) {
			entries = append(entries, Entry{d.Planned, "planned", d.Campaign + ": planned", facts(d)})
		}
		for _, a := range d.History {
			entries = append(entries, attempt(d, a, zone))
		}
		if text := standing(d); text != "" {
			entries = append(entries, Entry{d.At, string(d.State), d.Campaign + ": " + text, facts(d)})
		}
		if last := len(entries) - 1; held != "" && (d.State == delivery.Pending || d.State == delivery.Deferred) {
			entries[last].Text += "; " + held
			entries[last].Fields["held"] = held
		}
	}
	return entries
}

func facts(d store.TracedDelivery) map[string]any {
	return map[string]any{"campaign": d.Campaign, "state": d.State, "reason": d.Reason, "reply": d.Reply, "relay": d.Relay, "message_id": d.MessageID, "attempts": d.Attempts}
}

func attempt(d store.TracedDelivery, a store.TracedAttempt, zone *time.Location) Entry {
	text := fmt.Sprintf("%s: try %d %s", d.Campaign, a.Number, a.Outcome)
	if a.Relay != "" {
		text += " through relay " + a.Relay
	}
	if a.Outcome == string(delivery.Accepted) {
		text += fmt.Sprintf(", Message-ID <%s>", d.MessageID)
	}
	text += explained(a.Reason, a.Reply)
	if last := d.History[len(d.History)-1]; d.State == delivery.Deferred && a == last && !d.NextTry.IsZero() {
		text += "; next try at " + d.NextTry.In(zone).Format(time.DateTime)
	}
	return Entry{a.At, a.Outcome, text, map[string]any{"campaign": d.Campaign, "attempt": a.Number, "relay": a.Relay, "phase": a.Phase,
		"reason": a.Reason, "reply": a.Reply}}
}

// standing is where a delivery is now, unless its last try or an event says so already.
func standing(d store.TracedDelivery) string {
	switch d.State {
	case delivery.Accepted:
		return fmt.Sprintf("accepted by relay %s, Message-ID <%s>%s", d.Relay, d.MessageID, explained(d.Reason, d.Reply))
	case delivery.Excluded:
		return "not sent, excluded" + explained(d.Reason, "")
	case delivery.Pending:
		return "waits to be sent"
	case delivery.Sending:
		return fmt.Sprintf("is being sent through relay %s, Message-ID <%s>", d.Relay, d.MessageID)
	case delivery.Bounced, delivery.Complained:
		return ""
	}
	if len(d.History) == 0 || d.History[len(d.History)-1].Outcome != string(d.State) {
		return string(d.State) + explained(d.Reason, d.Reply)
	}
	return ""
}

// explained is a reason, what it means, and the reply that said so.
func explained(reason, reply string) string {
	text := ""
	if reason != "" {
		text = ": " + reason
	}
	if words := bounce.Words(reason); words != "" {
		text += " (" + words + ")"
	}
	if reply != "" && reply != reason {
		text += fmt.Sprintf(": %s", oneLine(reply))
	}
	return text
}

// mails tells of the mails from the bounce mailbox that left no event: repeated ones, delay warnings.
func mails(t store.Traces) []Entry {
	told := map[int64]bool{}
	for _, e := range t.Events {
		told[e.Bounce] = true
	}
	var entries []Entry
	for _, m := range t.Mails {
		if told[m.ID] {
			continue
		}
		effect := "changed nothing"
		if m.Changed {
			effect = "proves that the message was accepted"
		}
		entries = append(entries, Entry{m.At, "mail", fmt.Sprintf("a mail (%s) came to %s and %s (mailer bounces show %d)", m.Kind, m.Source, effect, m.ID),
			map[string]any{"bounce": m.ID, "source": m.Source, "kind": m.Kind}})
	}
	return entries
}

// detail is what the store writes into an event, whatever its kind.
type detail struct {
	Reason   string `json:"reason,omitempty"`
	Status   string `json:"status,omitempty"`
	Text     string `json:"text,omitempty"`
	Blocks   string `json:"blocks,omitempty"`
	Evidence string `json:"evidence,omitempty"`
	Why      string `json:"why,omitempty"`
}

// detailOf leaves out what it does not understand: a later version may write more.
func detailOf(e store.TracedEvent) detail {
	var d detail
	json.Unmarshal([]byte(e.Detail), &d)
	return d
}

var eventWords = map[string]string{
	"bounce":      "came back, the address is dead",
	"soft_bounce": "came back",
	"complaint":   "the person complained",
	"unsubscribe": "the person unsubscribed",
	"autoreply":   "an automatic reply came",
	"delivered":   "the receiving server reports delivery",
	"suppress":    "suppressed",
	"unsuppress":  "suppression lifted",
	"open":        "opened",
	"click":       "clicked",
}

func events(t store.Traces) []Entry {
	var entries []Entry
	for _, e := range t.Events {
		d := detailOf(e)
		text := cmp.Or(eventWords[e.Kind], e.Kind)
		switch {
		case e.Kind == "suppress" || e.Kind == "unsuppress":
			text = verdictOf(e, text, d)
		case d.Reason == e.Kind:
			text += explained("", d.Text)
		default:
			text += explained(d.Reason, d.Text)
		}
		if e.Campaign != "" {
			text = e.Campaign + ": " + text
		}
		fields := map[string]any{"campaign": e.Campaign, "reason": d.Reason, "status": d.Status, "text": cmp.Or(d.Text, d.Evidence), "key": e.Key}
		if e.Bounce != 0 {
			fields["bounce"] = e.Bounce
			text += fmt.Sprintf(" (mailer bounces show %d)", e.Bounce)
		}
		entries = append(entries, Entry{e.At, e.Kind, text, fields})
	}
	return entries
}

func verdictOf(e store.TracedEvent, text string, d detail) string {
	if !strings.Contains(e.Key, "@") {
		text = "domain " + e.Key + " " + text
	}
	text += ": " + d.Reason
	if d.Blocks == suppression.BlocksMarketing {
		text += " (marketing mail only)"
	}
	if d.Evidence != "" {
		text += fmt.Sprintf(", %q", oneLine(d.Evidence))
	}
	if d.Why != "" {
		text += fmt.Sprintf("; why: %s", oneLine(d.Why))
	}
	return text
}

// silent is the suppressions that no event tells of.
func silent(t store.Traces) []Entry {
	var entries []Entry
	for _, p := range t.Suppressions {
		if !slices.ContainsFunc(t.Events, func(e store.TracedEvent) bool {
			return e.Kind == "suppress" && e.Key == p.Key && detailOf(e).Reason == p.Reason
		}) {
			text := verdictOf(store.TracedEvent{Key: p.Key}, eventWords["suppress"], detail{Reason: p.Reason, Blocks: p.Blocks, Evidence: p.Evidence})
			if p.Bounce != 0 {
				text += fmt.Sprintf(" (mailer bounces show %d)", p.Bounce)
			}
			entries = append(entries, Entry{p.Since, "suppress", text, map[string]any{"reason": p.Reason, "blocks": p.Blocks, "text": p.Evidence, "key": p.Key}})
		}
	}
	return entries
}

// held is the suppression that was held back from the first, of which no event tells. One that stood before the freeze was lifted by it,
// and that is an event.
func held(t store.Traces, now time.Time) []Entry {
	if t.Held == nil || slices.ContainsFunc(t.Events, func(e store.TracedEvent) bool { return e.Kind == "unsuppress" && !e.At.Before(t.Held.Freeze.Began) }) {
		return nil
	}
	h := *t.Held
	text := fmt.Sprintf("hard_bounce is held back: %s is frozen until %s (mailer bounces freezes)", h.Freeze.Lane, stamp(h.Freeze.Until, now.Location()))
	if h.Campaign != "" {
		text = h.Campaign + ": " + text
	}
	fields := map[string]any{"campaign": h.Campaign, "provider": h.Freeze.Lane, "reason": suppression.HardBounce, "text": h.Evidence}
	if h.Bounce != 0 {
		fields["bounce"] = h.Bounce
	}
	return []Entry{{h.At, "held", text, fields}}
}

func stamp(t time.Time, zone *time.Location) string { return t.In(zone).Format("2006-01-02 15:04") }

// oneLine joins the lines of a reply.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// typable is what a slip of the finger puts into an address key.
const typable = "abcdefghijklmnopqrstuvwxyz0123456789.-_+"

// oneOff lists the keys that one slip leads to: a letter left out, doubled, wrong or swapped with its neighbour. Looking all
// of them up in an index is cheaper than comparing with every contact.
func oneOff(key string) []string {
	runes := []rune(key)
	seen := map[string]bool{key: true}
	var all []string
	add := func(parts ...[]rune) {
		guess := string(slices.Concat(parts...))
		if !seen[guess] && strings.Count(guess, "@") == 1 {
			seen[guess] = true
			all = append(all, guess)
		}
	}
	for i := range len(runes) + 1 {
		head, tail := runes[:i], runes[i:]
		for _, r := range typable {
			add(head, []rune{r}, tail)
			if len(tail) > 0 {
				add(head, []rune{r}, tail[1:])
			}
		}
		if len(tail) > 0 {
			add(head, tail[1:])
		}
		if len(tail) > 1 {
			add(head, []rune{tail[1], tail[0]}, tail[2:])
		}
	}
	return all
}
