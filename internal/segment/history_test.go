package segment_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailer/internal/prefecture"

	"github.com/expr-lang/expr/ast"
)

// The history of the people in property_test.go, in the database and as functions for expr's machine; and what it is
// told of prefectures.

var campaigns = []string{"2026-10-news", "2026-11-ニュース", "it's"}

// sending is a row of deliveries, with the times at which it was offered to a relay.
type sending struct {
	campaign string
	state    string
	reason   string
	tries    []time.Time
}

type happening struct {
	kind, campaign string
	at             time.Time
}

// moments lie on both sides of what sinces say, and on the edge: a distance in days begins at midnight.
var moments = []time.Time{now.Add(-time.Minute), now.Add(-time.Hour), now.Add(-time.Hour - time.Second), now.AddDate(0, 0, -2),
	time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 18, 23, 59, 59, 999e6, time.UTC), now.AddDate(0, -1, 0)}

var sinces = map[string]time.Time{`"3d"`: time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC), `"1h"`: now.Add(-time.Hour), `ago("1d")`: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
	`"2026-11-01"`: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), `today()`: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}

// live gives a person a past.
func (w *world) live(t *testing.T, p *person) {
	t.Helper()
	for _, name := range campaigns {
		if w.rnd.IntN(3) > 0 {
			w.send(t, p, name)
		}
	}
	for range w.rnd.IntN(4) {
		h := happening{pick(w.rnd, []string{"bounce", "soft_bounce", "complaint", "unsubscribe", "open", "click", "delivered", "autoreply"}), pick(w.rnd, campaigns), pick(w.rnd, moments)}
		p.events = append(p.events, h)
		w.exec(t, "INSERT INTO events (at, kind, key, campaign) VALUES (?, ?, ?, ?)", h.at.UnixMilli(), h.kind, p.key, w.schema.Campaigns[h.campaign])
	}
	if w.rnd.IntN(3) == 0 {
		reason := pick(w.rnd, []string{"unsubscribe", "complaint", "manual"})
		p.reasons = append(p.reasons, reason)
		w.exec(t, "INSERT INTO suppressions (scope, key, blocks, reason, created_at) VALUES ('address', ?, 'all', ?, 0)", p.key, reason)
	}
	p.domainOut = strings.HasSuffix(p.key, "@example.jp")
}

func (w *world) send(t *testing.T, p *person, name string) {
	t.Helper()
	d := sending{campaign: name, state: pick(w.rnd, []string{"pending", "accepted", "accepted", "deferred", "failed", "uncertain", "excluded", "bounced", "complained"})}
	if d.state == "excluded" || d.state == "failed" {
		d.reason = pick(w.rnd, []string{"cancelled", "compose"})
	}
	if d.state != "pending" {
		for range 1 + w.rnd.IntN(2) {
			d.tries = append(d.tries, pick(w.rnd, moments))
		}
	}
	slices.SortFunc(d.tries, time.Time.Compare)
	p.deliveries = append(p.deliveries, d)
	updated := now
	history := d.tries // the last try stands in the row itself, until something takes its place
	switch d.state {
	case "accepted", "deferred", "failed", "uncertain":
		updated = d.tries[len(d.tries)-1]
		history = history[:len(history)-1]
	}
	id := p.id*100 + w.schema.Campaigns[name]
	w.exec(t, "INSERT INTO deliveries (id, campaign, contact, key, address, domain, state, reason, attempts, updated_at) VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?)",
		id, w.schema.Campaigns[name], p.id, p.key, p.key, d.state, d.reason, len(d.tries), updated.UnixMilli())
	for i, at := range history {
		w.exec(t, "INSERT INTO attempts (delivery, number, at, outcome) VALUES (?, ?, ?, 'deferred')", id, i+1, at.UnixMilli())
	}
	if w.rnd.IntN(4) == 0 {
		w.exec(t, "INSERT INTO attempts (delivery, number, at, outcome) VALUES (?, 9, ?, 'resolved')", id, now.UnixMilli())
	}
}

func (w *world) historyLeaf() string {
	id := strconv.Quote(pick(w.rnd, campaigns))
	since := pick(w.rnd, []string{`"3d"`, `"1h"`, `ago("1d")`, `"2026-11-01"`, `today()`})
	event := pick(w.rnd, []string{"bounced", "complained", "unsubscribed", "opened", "clicked"})
	return pick(w.rnd, []string{
		"received()", "received(" + id + ")", "suppressed()", "unsubscribed()", "sent_since(" + since + ")", "not_sent_since(" + since + ")",
		event + "()", event + "(" + id + ")", event + "_since(" + since + ")",
		"added_since(" + since + ")", "consented()", "consented_since(" + since + ")",
		fmt.Sprintf("sample(%s)", pick(w.rnd, []string{"5", "50", "0.5", "100", "99.9"})), fmt.Sprintf("sample(%d, %s)", 1+w.rnd.IntN(100), id),
	})
}

// history is what the machine may ask about a person. sinces has the times, by the argument as it is written.
func (p person) history(env map[string]any) {
	got := func(id ...string) bool {
		return slices.ContainsFunc(p.deliveries, func(d sending) bool {
			return (len(id) == 0 || d.campaign == id[0]) && slices.Contains([]string{"accepted", "bounced", "complained"}, d.state)
		})
	}
	sentSince := func(since time.Time) bool {
		return slices.ContainsFunc(p.deliveries, func(d sending) bool {
			return len(d.tries) > 0 && d.reason != "compose" && !d.tries[len(d.tries)-1].Before(since)
		})
	}
	env["H_received"] = got
	env["H_sent_since"] = sentSince
	env["H_not_sent_since"] = func(since time.Time) bool { return !sentSince(since) }
	env["H_added_since"] = func(since time.Time) bool { return !p.added.Before(since) }
	env["H_consented"] = func() bool { return p.consented }
	env["H_consented_since"] = func(since time.Time) bool {
		return slices.ContainsFunc(p.consents, func(at time.Time) bool { return !at.Before(since) })
	}
	env["H_suppressed"] = func() bool { return len(p.reasons) > 0 || p.domainOut }
	env["H_sample"] = func(percent float64, seed ...string) bool {
		sum := sha256.Sum256([]byte(strings.Join(seed, "") + "\x00" + p.key))
		return float64(binary.BigEndian.Uint64(sum[:8]))/(1<<64) < percent/100
	}
	for name, kinds := range map[string][]string{"bounced": {"bounce", "soft_bounce"}, "complained": {"complaint"}, "unsubscribed": {"unsubscribe"}, "opened": {"open"}, "clicked": {"click"}} {
		env["H_"+name] = func(id ...string) bool {
			if name == "unsubscribed" && len(id) == 0 {
				return slices.Contains(p.reasons, "unsubscribe")
			}
			return slices.ContainsFunc(p.events, func(h happening) bool {
				return slices.Contains(kinds, h.kind) && (len(id) == 0 || h.campaign == id[0])
			})
		}
		env["H_"+name+"_since"] = func(since time.Time) bool {
			return slices.ContainsFunc(p.events, func(h happening) bool { return slices.Contains(kinds, h.kind) && !h.at.Before(since) })
		}
	}
}

// historyCall writes a call of the history for the machine, times as constants and percentages as they are.
func (o *oracle) historyCall(n *ast.CallNode) string {
	var args []string
	for _, arg := range n.Arguments {
		text := arg.String()
		switch name := n.Callee.String(); {
		case strings.HasSuffix(name, "_since"):
			text = o.constant(sinces[text])
		case name == "sample" && len(args) == 0:
			text = "float(" + text + ")"
		}
		args = append(args, text)
	}
	return "H_" + n.Callee.String() + "(" + strings.Join(args, ", ") + ")"
}

// placeLeaf compares what fields say of a prefecture.
func (w *world) placeLeaf() string {
	arg := ""
	for _, f := range w.schema.Fields {
		if (f.Type == "text" || f.Type == "number") && w.rnd.IntN(4) == 0 {
			arg = w.reference(f)
		}
	}
	not, op := pick(w.rnd, []string{"", "not "}), pick(w.rnd, []string{"==", "!="})
	return fmt.Sprintf(pick(w.rnd, []string{
		"prefecture(%[1]s) %[3]s %[4]q", "prefecture(%[1]s) %[2]sin [%[4]q, %[5]q]", "region(%[1]s) %[3]s %[6]q", "region(%[1]s) %[2]sin [%[6]q, \"北海道\"]",
		"has(prefecture(%[1]s))", "region(%[1]s) %[3]s nil", "prefecture(%[1]s) %[3]s prefecture()", "%[4]q %[3]s prefecture(%[1]s)",
	})+" ", arg, not, op, pick(w.rnd, []string{"東京", "Tokyo", "東京都", "13", "京都府"}), pick(w.rnd, []string{"大阪", "Kyoto", "30"}), pick(w.rnd, []string{"関東", "Kinki", "九州・沖縄"}))
}

func prefectureOf(v any) any {
	if p, ok := place(v); ok {
		return p.Name
	}
	return nil
}

func regionOf(v any) any {
	if p, ok := place(v); ok {
		return p.Region.Name
	}
	return nil
}

func place(v any) (*prefecture.Prefecture, bool) {
	if v == nil {
		return nil, false
	}
	return prefecture.Of(fmt.Sprint(v))
}

// place writes prefecture(...) and region(...) for the machine.
func (o *oracle) place(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallNode)
	if !ok {
		return "", false
	}
	f, ok := map[string]string{"prefecture": "P", "region": "R"}[call.Callee.String()]
	if !ok {
		return "", false
	}
	of := "F[" + strconv.Quote(o.pref) + "]"
	if len(call.Arguments) == 1 {
		of = o.ref(call.Arguments[0])
	}
	return f + "(" + of + ")", true
}

// placeNames is a comparison of places with their names written in full.
func (o *oracle) placeNames(n *ast.BinaryNode) (string, bool) {
	left, right := n.Left, n.Right
	if _, ok := left.(*ast.StringNode); ok {
		left, right = right, left
	}
	a, ok := o.place(left)
	if !ok {
		return "", false
	}
	if b, ok := o.place(right); ok {
		return "(" + a + " != nil and " + b + " != nil and " + a + n.Operator + b + ")", true
	}
	full := func(n ast.Node) string {
		name := n.(*ast.StringNode).Value
		if r, ok := prefecture.RegionOf(name); ok && strings.HasPrefix(a, "R(") {
			return strconv.Quote(r.Name)
		}
		p, _ := prefecture.Of(name)
		return strconv.Quote(p.Name)
	}
	var names []string
	if array, ok := right.(*ast.ArrayNode); ok {
		for _, item := range array.Nodes {
			names = append(names, full(item))
		}
		return "(" + a + " in [" + strings.Join(names, ", ") + "])", true
	}
	return "(" + a + " != nil and " + a + " " + n.Operator + " " + full(right) + ")", true
}
