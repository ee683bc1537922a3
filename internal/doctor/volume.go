package doctor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/dmarc"
	"mailer/internal/store"
	"mailer/internal/zone"
)

// FullestDay is how many messages the fullest 24 hours had at each provider, in all of history: who was a bulk sender once is one for
// good at Gmail. Receivers count all mail of an organizational domain together, so its subdomains and sisters count as well.
func FullestDay(ctx context.Context, st *store.Store, r zone.Resolver, from string) (map[string]int64, error) {
	walk, stop := context.WithTimeout(ctx, Patience) // what the database knows does not hang on the DNS
	defer stop()
	top := cmp.Or(dmarc.WalkTree(walk, r, from).Organizational(), from)
	var campaigns []int64
	err := st.Froms(ctx, func(id int64, froms []string) {
		if slices.ContainsFunc(froms, func(text string) bool {
			a, err := address.Parse(text)
			return err == nil && (a.Domain() == top || strings.HasSuffix(a.Domain(), "."+top))
		}) {
			campaigns = append(campaigns, id)
		}
	})
	if err != nil {
		return nil, err
	}
	sent := store.Sent{}
	for _, id := range campaigns {
		if err := st.AddSent(ctx, id, sent); err != nil {
			return nil, err
		}
	}
	return sent.Fullest(24 * time.Hour), nil
}

// WayOut says whether somebody who wants no more mail can say so, by mail as well: not all programs show the https address.
func WayOut(c config.Config) Finding {
	f := Finding{Area: "domain", Check: "unsubscribe_mailto", Level: Pass, Why: whyOneClick}
	to := cmp.Or(c.Sender.UnsubscribeMailto, c.Bounces.ReturnPathPattern)
	f.Subject = to
	switch {
	case to == "" && c.Sender.UnsubscribeURL == "":
		f.Level, f.Own = Fail, true
		f.Found = "Mail has no way to unsubscribe."
		f.Do = "Set bounces: return_path:, sender: unsubscribe_mailto: or sender: unsubscribe_url: in mailer.yaml; marketing mail is not sent without one."
	case to == "":
		f.Found, f.Level = "There is an https address to unsubscribe, and none for mail.", Info
		f.Do = "Set bounces: return_path: or sender: unsubscribe_mailto:, for mail programs that show that one only."
	case !c.Bounces.Mailbox.Configured():
		f.Level = Warn
		f.Found = "Who unsubscribes by mail writes to " + to + ", and mailer reads no mailbox."
		f.Why = "A wish that nobody reads is a complaint the next time. " + whyOneClick
		f.Do = "Configure bounces: mailbox: in mailer.yaml, and let mailer run or mailer bounces sync read it."
	default:
		f.Found, f.Why = "Who unsubscribes by mail writes to "+to+".", ""
	}
	return f
}
