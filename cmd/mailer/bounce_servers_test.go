package main

import (
	"database/sql"
	"fmt"
	"net/smtp"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// bounceWay is a way in which mail comes back: who refuses what, and what the report means.
type bounceWay struct {
	name   string // local part of the recipient
	domain string // in front of the server's own; "" is the host that refuses by script
	size   int    // of the message's body
	reason string
	by     map[string]string // reasons of the servers that say something else
	scope  string
	hard   bool
	except string // the server that does not come to this end in a test's time
}

var bounceWays = []bounceWay{
	{name: "gone", reason: bounce.UserUnknown, scope: bounce.ScopeAddress, hard: true},
	{name: "full", reason: bounce.MailboxFull, scope: bounce.ScopeAddress},
	{name: "big", size: 20 << 10, reason: bounce.EmailTooLarge, scope: bounce.ScopeContent},
	{name: "huge", size: 80 << 10, reason: bounce.EmailTooLarge, scope: bounce.ScopeContent}, // Exim's own limit
	{name: "policy", reason: bounce.PolicyViolation, scope: bounce.ScopeContent},
	{name: "spam", reason: bounce.SpamDetected, scope: bounce.ScopeContent},
	{name: "relay", reason: bounce.NoRelaying, scope: bounce.ScopeRelay},
	{name: "later", reason: bounce.SystemError, scope: bounce.ScopeDomain, // Postfix says what the last try was told
		by: map[string]string{"exim": bounce.Expired, "opensmtpd": bounce.Expired}},
	{name: "anyone", domain: "down.", reason: bounce.NetworkError, scope: bounce.ScopeDomain, except: "opensmtpd", // it lets nothing expire while it counts a route as down
		by: map[string]string{"exim": bounce.Expired}},
	{name: "anyone", domain: "nowhere.", reason: bounce.HostUnknown, scope: bounce.ScopeDomain, hard: true},
}

// refusals are what the host of the recipients' domains says.
var refusals = map[string]string{
	"RCPT gone":   "550 5.1.1 <%s>: Recipient address rejected: User unknown in virtual mailbox table",
	"RCPT full":   "552 5.2.2 <%s>: Mailbox is full",
	"RCPT policy": "550 5.7.1 <%s>: Recipient address rejected: not allowed by the policy of this site",
	"RCPT relay":  "554 5.7.1 <%s>: Relay access denied",
	"RCPT later":  "451 4.3.0 <%s>: Error: queue file write error",
	". big":       "552 5.3.4 Error: message file too big",
	". huge":      "552 5.3.4 Error: message file too big",
	". spam":      "554 5.7.1 Message rejected as spam",
}

// Three real servers bounce in every way that there is; the reports go through Postfix to Dovecot, and are read there.
//
//	the test -> Postfix, Exim, OpenSMTPD -> a host that refuses, one that is down, one that no name server knows
//	                 |
//	                 v
//	          Postfix of shop.example -> Dovecot <- bounces sync
func TestRealBounces(t *testing.T) {
	w := newBounceServers(t)
	for _, s := range w.servers {
		w.send(s)
	}
	w.await(len(w.sent), 2*time.Minute)
	reports := w.dovecot.Mail(t)["bounce@"+ourDomain]
	seen := map[int64]int{}
	for _, raw := range reports {
		seen[w.check(raw)]++
	}
	for id, d := range w.sent {
		if seen[id] != 1 {
			t.Errorf("%s: %d reports about %s", d.server, seen[id], d.address)
		}
	}
	w.sync()
}

type bounceServer struct {
	name string
	port int
}

// bouncedDelivery is a message that a server took and cannot bring anywhere.
type bouncedDelivery struct {
	bounceWay
	server, address string
}

// bounceServers are the servers and a workspace whose deliveries they bounce.
type bounceServers struct {
	killWorkspace
	keys    delivery.Keys
	dovecot *mailtest.DovecotServer
	servers []bounceServer
	sent    map[int64]bouncedDelivery
}

func newBounceServers(t *testing.T) *bounceServers {
	t.Helper()
	w := &bounceServers{killWorkspace: killWorkspace{t: t, dir: t.TempDir(), bin: binary(t)}, sent: map[int64]bouncedDelivery{}}
	ca := mailtest.NewCA(t)
	w.dovecot = mailtest.StartDovecot(t, ca, []mailtest.User{{Address: "bounce@" + ourDomain, Password: "secret"}})
	away := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"8BITMIME", "ENHANCEDSTATUSCODES"}, Reply: func(c mailtest.Command) *mailtest.Reply {
		local, _, _ := strings.Cut(c.Address, "@")
		if text := refusals[c.Verb+" "+local]; strings.Contains(text, "%s") {
			return &mailtest.Reply{Text: fmt.Sprintf(text, c.Address)}
		} else if text != "" {
			return &mailtest.Reply{Text: text}
		}
		return nil
	}})
	ports := mailtest.FreePorts(t, 4)
	inbound, down := ports[0], ports[3]
	mailtest.StartPostfix(t, mailtest.Postfix{
		Host: "postfix.example",
		Main: fmt.Sprintf(`
virtual_mailbox_domains = %[1]s
virtual_mailbox_maps = texthash:$config_directory/mailboxes
virtual_transport = lmtp:unix:%[2]s
transport_maps = texthash:$config_directory/transport
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
maximal_queue_lifetime = 2s
bounce_queue_lifetime = 1h
`, ourDomain, w.dovecot.LMTP),
		Tables: map[string]string{
			"mailboxes": "bounce@" + ourDomain + " x\n",
			"transport": fmt.Sprintf("postfix.test smtp:[127.0.0.1]:%d\ndown.postfix.test smtp:[127.0.0.1]:%d\n"+
				"nowhere.postfix.test error:5.4.4 Host or domain name not found. Name service error for name=nowhere.postfix.test type=AAAA: Host not found\n", away.Port, down),
		},
		SMTPD: []mailtest.Listener{{Port: inbound, Options: []string{"mynetworks = 127.0.0.0/8", "smtpd_relay_restrictions = permit_mynetworks, reject", "smtpd_reject_unlisted_recipient = no"}}},
	})
	names := mailtest.NoNames(t)
	routes := func(server string) []mailtest.Route {
		return []mailtest.Route{{Domains: ourDomain, Port: inbound}, {Domains: server + ".test", Port: away.Port},
			{Domains: "down." + server + ".test", Port: down}, {Domains: "nowhere." + server + ".test"}}
	}
	mailtest.StartExim(t, "exim.example", ports[1], names, routes("exim"))
	mailtest.StartOpenSMTPD(t, "opensmtpd.example", ports[2], names, routes("opensmtpd"))
	w.servers = []bounceServer{{"postfix", inbound}, {"exim", ports[1]}, {"opensmtpd", ports[2]}}
	w.makeWorkspace(ca)
	return w
}

// makeWorkspace makes a workspace that sent each recipient one message.
func (w *bounceServers) makeWorkspace(ca *mailtest.CA) {
	w.t.Helper()
	w.write("ca.pem", string(ca.PEM))
	w.write("mailer.yaml", fmt.Sprintf(`
sender: {from: News <news@shop.example>}
bounces:
  return_path: "bounce+{token}@shop.example"
  mailbox: {host: 127.0.0.1, port: %d, tls: implicit, ca_file: ca.pem, username: bounce@shop.example, password_command: echo secret}
`, w.dovecot.IMAPS))
	path := filepath.Join(w.dir, "mailer.db")
	st, err := store.Open(w.t.Context(), path, store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer st.Close()
	if w.keys, err = st.TokenKeys(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at)
		VALUES (1, 'news', 'marketing', '', '{}', 'finished', 1, 2)`); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range w.servers {
		for _, way := range bounceWays {
			if way.except == s.name {
				continue
			}
			d := bouncedDelivery{way, s.name, way.name + "@" + way.domain + s.name + ".test"}
			id := int64(len(w.sent) + 1)
			w.sent[id] = d
			_, domain, _ := strings.Cut(d.address, "@")
			if _, err := db.Exec(`INSERT INTO deliveries (id, campaign, key, address, domain, state, attempts, updated_at)
				VALUES (?, 1, ?, ?, ?, 'accepted', 1, 1)`, id, d.address, d.address, domain); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// send hands a server its messages, as mailer would.
func (w *bounceServers) send(s bounceServer) {
	w.t.Helper()
	for id, d := range w.sent {
		if d.server != s.name {
			continue
		}
		body := strings.Repeat("The same line again and again.\r\n", 1+d.size/32)
		text := fmt.Sprintf("From: News <news@%s>\r\nTo: %s\r\nSubject: News\r\nDate: Thu, 01 Oct 2026 09:00:00 +0900\r\nMessage-ID: <%s@%[1]s>\r\n\r\n%s",
			ourDomain, d.address, w.keys.Sign(delivery.TokenMessageID, id), body)
		from := "bounce+" + w.keys.Sign(delivery.TokenBounce, id) + "@" + ourDomain
		if err := smtp.SendMail(fmt.Sprintf("127.0.0.1:%d", s.port), nil, from, []string{d.address}, []byte(text)); err != nil {
			w.t.Fatalf("%s takes no mail for %s: %v", s.name, d.address, err)
		}
	}
}

// await waits for that many reports.
func (w *bounceServers) await(n int, patience time.Duration) {
	w.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		have := len(w.dovecot.Mail(w.t)["bounce@"+ourDomain])
		if have >= n {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			w.t.Errorf("%d of %d reports came", have, n)
			return
		}
	}
}

// check compares what a report says with what befell its message, and returns that message's number.
func (w *bounceServers) check(raw []byte) int64 {
	w.t.Helper()
	v := bounce.Parse(raw)
	id := int64(0)
	for _, token := range v.Tokens {
		kind, of, err := w.keys.Verify(token.Text)
		if err != nil || kind != token.Kind {
			w.t.Errorf("token %s in %s: %v", token.Text, token.Where, err)
		} else if id != 0 && id != of {
			w.t.Errorf("one report names deliveries %d and %d", id, of)
		}
		id = of
	}
	d := w.sent[id]
	reason := d.reason
	if d.by[d.server] != "" {
		reason = d.by[d.server]
	}
	if v.Kind != bounce.KindBounce || v.Detail != "" || len(v.Bounces) != 1 {
		w.t.Errorf("%s, %s: %+v\n%s", d.server, d.address, v, raw)
		return id
	}
	got := v.Bounces[0]
	if got.Recipient != d.address || got.Action != bounce.ActionFailed || got.Reason != reason || got.Scope != d.scope || got.Hard != d.hard {
		w.t.Errorf("%s, %s: %+v, want %s, scope %s, hard %v\n%s", d.server, d.address, got, reason, d.scope, d.hard, raw)
	}
	return id
}

// sync reads the mailbox: nobody is suppressed but those whose address is dead.
func (w *bounceServers) sync() {
	w.t.Helper()
	var dead []string
	for _, d := range w.sent {
		if d.hard {
			dead = append(dead, d.address)
		}
	}
	out := w.run(exitDone, "--json", "bounces", "sync")
	sum := lastLine(w.t, out)
	for name, n := range map[string]int{"read": len(w.sent), "bounces": len(w.sent), "hard": len(dead), "suppressed": len(dead), "unmatched": 0, "forged": 0} {
		if sum[name] != float64(n) {
			w.t.Errorf("bounces sync: %s is %v, want %d", name, sum[name], n)
		}
	}
	db := openRaw(w.t, w.dir)
	defer db.Close()
	rows, err := db.Query("SELECT key FROM suppressions")
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var suppressed []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			w.t.Fatal(err)
		}
		suppressed = append(suppressed, key)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(suppressed)
	slices.Sort(dead)
	if !slices.Equal(suppressed, dead) {
		w.t.Errorf("suppressed are %q, want %q", suppressed, dead)
	}
}
