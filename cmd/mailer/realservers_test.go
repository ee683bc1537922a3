package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/japanese"

	"mailer/internal/address"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/suppression"
)

// A small world of real servers:
//
//	mailer -> mail.shop.example (Postfix: submission, own mailboxes, incoming mail) -> Dovecot
//	              |        ^
//	              v        | what it bounces later
//	          mx.kokyaku.test (Postfix: other people's mailboxes) -> Dovecot
//
// A domain's mailboxes tell their owners' fate by how they are refused.
const (
	ourDomain   = "shop.example"
	hereDomain  = "honten.example"   // mailboxes of the relay itself: it refuses unknown users while mailer talks to it
	idnDomain   = "xn--r8jz45g.test" // the same, 例え.test in the list
	awayDomain  = "kokyaku.test"     // the other host refuses unknown users: the relay writes the report
	laterDomain = "tonari.test"      // the other host takes everything and finds out later: it writes the report
)

// fate is what becomes of a recipient.
type fate struct {
	name   string
	domain string
	number int
	exists bool
	quota  string

	state      delivery.State
	reason     string
	reply      string // part of it
	suppressed bool
}

var fates = []fate{
	{name: "here", domain: hereDomain, number: 100, exists: true, state: delivery.Accepted},
	{name: "idn", domain: idnDomain, number: 10, exists: true, state: delivery.Accepted},
	{name: "away", domain: awayDomain, number: 100, exists: true, state: delivery.Accepted},
	{name: "later", domain: laterDomain, number: 60, exists: true, state: delivery.Accepted},

	{name: "gone.here", domain: hereDomain, number: 30, state: delivery.Failed, reason: "userunknown", reply: "User unknown in virtual mailbox table", suppressed: true},
	{name: "full.here", domain: hereDomain, number: 3, exists: true, quota: "1K", state: delivery.Failed, reason: "mailboxfull", reply: "552 5.2.2"},
	{name: "gone.away", domain: awayDomain, number: 14, state: delivery.Bounced, reason: "userunknown", reply: "User unknown in virtual mailbox table", suppressed: true},
	{name: "blocked.away", domain: awayDomain, number: 4, state: delivery.Bounced, reason: "blocked", reply: "blocked using bl.example"},
	{name: "gone.later", domain: laterDomain, number: 12, state: delivery.Bounced, reason: "userunknown", reply: "User doesn't exist", suppressed: true},
	{name: "full.later", domain: laterDomain, number: 4, exists: true, quota: "1K", state: delivery.Bounced, reason: "mailboxfull", reply: "Quota exceeded"},
}

// person is a row of the list.
type person struct {
	fate
	address string // as Parse has it
	cell    string // as the list has it
	mailbox string // where its mail lies
	name    string
	id      string
}

// tricky are names that are hard on some step between the list and the letter: bytes that look like a backslash in CP932,
// characters that only CP932 has, half width, full-width spaces, and what means something to YAML, templates, Markdown,
// HTML and mail headers.
var tricky = []string{
	"山田 太郎", "表 能十予", "髙橋 﨑美", "①番 ㈱商店", "ﾔﾏﾀﾞ ﾊﾅｺ", "佐藤　ソフィア", "O'Neil \"Bob\" <b>, Jr.", "{{.会員番号}}", "**太字** [x](http://x.example)",
	"=?utf-8?B?QQ==?=", "a: b # c", "田中 一郎; 二郎", "Ada Lovelace", "寿限無寿限無五劫の擦り切れ海砂利水魚の水行末雲来末風来末",
}

// people is the list: those who are gone from the relay's own domain stand together, as in a list that was sorted.
func people() []person {
	var all []person
	for _, f := range fates {
		for i := range f.number {
			p := person{fate: f, id: fmt.Sprintf("%06d", len(all)+1)}
			p.name = tricky[len(all)%len(tricky)]
			if len(all) >= len(tricky) {
				p.name += fmt.Sprint(" ", len(all))
			}
			local := fmt.Sprintf("%s.%d", f.name, i)
			p.mailbox = local + "@" + f.domain
			domain := f.domain
			switch i % 5 {
			case 1:
				local = "N.O_" + strings.ToUpper(local) // only the case of the mailbox differs
				p.mailbox = strings.ToLower(local) + "@" + f.domain
			case 2:
				local += "+tag-" + fmt.Sprint(i)
			case 3:
				domain = strings.ToUpper(domain[:1]) + domain[1:]
			}
			p.address, p.cell = local+"@"+f.domain, local+"@"+domain
			if f.domain == idnDomain {
				p.cell = local + "＠例え.test"
			}
			all = append(all, p)
		}
	}
	return all
}

// realWorld is the servers, the workspace and the program.
type realWorld struct {
	t       *testing.T
	people  []person
	byKey   map[string]person
	ca      *mailtest.CA
	dovecot *mailtest.DovecotServer
	relay   *mailtest.PostfixServer
	other   *mailtest.PostfixServer
	submit  int // port
	inbound int // port for mail to our domain

	dir, bin string
	config   string
	env      []string
	records  map[string]string // DKIM keys in DNS
}

const (
	relayPassword = `p%ss "word" ü`
	imapPassword  = `im\ap p@ss`
)

func newRealWorld(t *testing.T) *realWorld {
	t.Helper()
	w := &realWorld{t: t, people: people(), byKey: map[string]person{}, ca: mailtest.NewCA(t)}
	for _, p := range w.people {
		w.byKey[address.Key(p.address)] = p
	}
	if len(w.byKey) != len(w.people) {
		t.Fatalf("%d people share %d addresses", len(w.people), len(w.byKey))
	}
	w.startServers()
	w.dir, w.bin = t.TempDir(), binary(t)
	w.env = []string{"MAILER_RELAY_PASSWORD=" + relayPassword, "MAILER_IMAP_PASSWORD=" + imapPassword}
	w.makeWorkspace()
	return w
}

// startServers leaves Postfix's limits as they come: after 20 refused commands without a message between them it says 421
// and hangs up. Only its second of silence before each of those replies is left out.
func (w *realWorld) startServers() {
	users := []mailtest.User{
		{Address: "news@" + ourDomain, Password: relayPassword},
		{Address: "bounce@" + ourDomain, Password: imapPassword},
	}
	boxes := map[string]string{} // texthash tables of the mailboxes that a host knows
	boxes[ourDomain] = "news@" + ourDomain + " x\nbounce@" + ourDomain + " x\n"
	blocked := ""
	for _, p := range w.people {
		if p.exists || p.reason == "blocked" {
			users = append(users, mailtest.User{Address: p.mailbox, Quota: p.quota})
			boxes[p.domain] += strings.ToLower(p.mailbox) + " x\n"
		}
		if p.reason == "blocked" {
			blocked += strings.ToLower(p.mailbox) + " 550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example\n"
		}
	}
	w.dovecot = mailtest.StartDovecot(w.t, w.ca, users)
	ports := mailtest.FreePorts(w.t, 3)
	w.submit, w.inbound = ports[0], ports[1]
	otherHost := fmt.Sprintf(" smtp:[127.0.0.1]:%d\n", ports[2])
	w.relay = mailtest.StartPostfix(w.t, mailtest.Postfix{
		Host: "mail." + ourDomain, CA: w.ca,
		Main: fmt.Sprintf(`
myorigin = %[1]s
virtual_mailbox_domains = %[1]s %[2]s %[3]s
virtual_mailbox_maps = texthash:$config_directory/mailboxes
virtual_transport = lmtp:unix:%[4]s
transport_maps = texthash:$config_directory/transport
smtpd_sasl_type = dovecot
smtpd_sasl_path = %[5]s
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 2
smtpd_restriction_classes = room
room = check_policy_service unix:%[6]s
`, ourDomain, hereDomain, idnDomain, w.dovecot.LMTP, w.dovecot.SASL, w.dovecot.Quota),
		Tables: map[string]string{
			"mailboxes": boxes[ourDomain] + boxes[hereDomain] + boxes[idnDomain],
			"transport": awayDomain + otherHost + laterDomain + otherHost,
			"room":      hereDomain + " room\n",
		},
		SMTPD: []mailtest.Listener{
			{Port: w.submit, Options: []string{"smtpd_tls_security_level = encrypt", "smtpd_sasl_auth_enable = yes",
				"smtpd_relay_restrictions = permit_sasl_authenticated, reject",
				"smtpd_recipient_restrictions = reject_unlisted_recipient, check_recipient_access texthash:$config_directory/room"}},
			{Port: w.inbound, Options: []string{"smtpd_tls_security_level = none", "smtpd_relay_restrictions = reject_unauth_destination"}},
		},
	})
	w.other = mailtest.StartPostfix(w.t, mailtest.Postfix{
		Host: "mx." + awayDomain,
		Main: fmt.Sprintf(`
virtual_mailbox_domains = %[1]s
virtual_mailbox_maps = texthash:$config_directory/mailboxes
virtual_transport = lmtp:unix:%[3]s
relay_domains = %[2]s
relay_transport = lmtp:unix:%[3]s
transport_maps = texthash:$config_directory/transport
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:$config_directory/blocked
`, awayDomain, laterDomain, w.dovecot.LMTP),
		Tables: map[string]string{
			"mailboxes": boxes[awayDomain],
			"blocked":   blocked,
			"transport": fmt.Sprintf("%s smtp:[127.0.0.1]:%d\n", ourDomain, w.inbound),
		},
		SMTPD: []mailtest.Listener{{Port: ports[2]}},
	})
}

const realConfig = `
sender:
  from: 例題商店 <news@shop.example>
  organization: 例題商店株式会社
  postal_address: 東京都千代田区千代田1-1
timezone: Asia/Tokyo
relays:
  main:
    host: 127.0.0.1
    port: %d
    tls: starttls
    ca_file: %s
    auth: plain
    username: news@shop.example
    password_env: MAILER_RELAY_PASSWORD
    connections: 2
breakers:
  hard: off # one in twelve of this list is gone
bounces:
  return_path: bounce+{token}@shop.example
  mailbox:
    host: 127.0.0.1
    port: %d
    tls: implicit
    ca_file: %[2]s
    username: bounce@shop.example
    password_env: MAILER_IMAP_PASSWORD
`

const realCampaign = `---
subject: "{{.氏名}} 様へ、会員番号 {{.会員番号}} のお知らせ"
to_name: "{{.氏名}} 様"
---
# {{.氏名}} 様

会員番号は {{.会員番号}} です。

配信停止は [こちら]({{.unsubscribe_url}})、または {{.unsubscribe_url}} へ。
`

// makeWorkspace writes the files that a user would, makes the keys and imports the list.
func (w *realWorld) makeWorkspace() {
	w.write("ca.pem", string(w.ca.PEM))
	w.config = fmt.Sprintf(realConfig, w.submit, "ca.pem", w.dovecot.IMAPS)
	w.write("mailer.yaml", w.config)
	w.records = map[string]string{}
	for selector, args := range map[string][]string{"rsa2026": nil, "ed2026": {"--ed25519"}} {
		out := w.run(exitDone, append([]string{"dkim", "keygen", "--selector", selector}, args...)...)
		made := lastLine(w.t, out)
		w.records[made["name"].(string)] = made["record"].(string)
		if !strings.Contains(w.config, "dkim:") {
			w.config += "dkim:\n"
		}
		w.config += fmt.Sprintf("  - {domain: %s, selector: %s, key_file: %s}\n", ourDomain, selector, made["key_file"])
	}
	w.write("mailer.yaml", w.config)
	w.write("campaigns/oshirase.md", realCampaign)
	list, err := japanese.ShiftJIS.NewEncoder().String(csvOf(w.people))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("kaiin.csv", list)
	got := lastLine(w.t, w.run(exitDone, "import", filepath.Join(w.dir, "kaiin.csv"), "--list", "会員", "--consent-source", "入会届"))
	if got["created"] != float64(len(w.people)) || got["encoding"] != "cp932" {
		w.t.Fatalf("import: %v, want %d created from cp932", got, len(w.people))
	}
}

func csvOf(all []person) string {
	var b strings.Builder
	b.WriteString("会員番号,氏名,メールアドレス\r\n")
	for _, p := range all {
		fmt.Fprintf(&b, "%s,\"%s\",%s\r\n", p.id, strings.ReplaceAll(p.name, `"`, `""`), p.cell)
	}
	return b.String()
}

func (w *realWorld) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// run runs the program with --json and insists on its exit code.
func (w *realWorld) run(want int, args ...string) string {
	w.t.Helper()
	return w.runWith(nil, want, args...)
}

// runWith sets variables of the environment, too.
func (w *realWorld) runWith(env []string, want int, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.bin, append([]string{"-C", w.dir, "--json"}, args...)...)
	cmd.Env = slices.Concat(os.Environ(), w.env, env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != want {
		w.t.Fatalf("mailer %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// settle waits until neither host has mail on its way. Once the relay is empty, only what the other host reports can come
// back to it.
func (w *realWorld) settle() {
	w.t.Helper()
	const patience = time.Minute
	w.relay.WaitEmpty(w.t, patience)
	w.other.WaitEmpty(w.t, patience)
	w.relay.WaitEmpty(w.t, patience)
}

// recipient is a line of `campaigns recipients`.
type recipient struct {
	Address   string
	State     delivery.State
	Reason    string
	Reply     string
	MessageID string `json:"message_id"`
}

// recipients are those of the campaign by their address's key.
func (w *realWorld) recipients() map[string]recipient {
	w.t.Helper()
	all := map[string]recipient{}
	for r := range jsonLines[recipient](w.t, w.run(exitDone, "campaigns", "recipients", "oshirase")) {
		all[address.Key(r.Address)] = r
	}
	return all
}

// suppressed are the suppressions as "address reason blocks", in order.
func (w *realWorld) suppressed() []string {
	w.t.Helper()
	type line struct{ Address, Reason, Blocks string }
	var all []string
	for l := range jsonLines[line](w.t, w.run(exitDone, "suppressions", "list")) {
		all = append(all, l.Address+" "+l.Reason+" "+l.Blocks)
	}
	slices.Sort(all)
	return all
}

// dead are the suppressions that the fates ask for.
func (w *realWorld) dead() []string {
	var all []string
	for key, p := range w.byKey {
		if p.suppressed {
			all = append(all, key+" "+suppression.HardBounce+" "+suppression.BlocksAll)
		}
	}
	slices.Sort(all)
	return all
}

// jsonLines yields the objects of an output, but its summary.
func jsonLines[T any](t *testing.T, out string) func(func(T) bool) {
	return func(yield func(T) bool) {
		for line := range strings.Lines(out) {
			var head struct {
				MessageType string `json:"message_type"`
			}
			var v T
			if err := json.Unmarshal([]byte(line), &head); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if head.MessageType == "summary" {
				continue
			}
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if !yield(v) {
				return
			}
		}
	}
}

// difference tells how two lists differ.
func difference(got, want []string) string {
	count := map[string]int{}
	for _, s := range got {
		count[s]++
	}
	for _, s := range want {
		count[s]--
	}
	var text []string
	for _, s := range slices.Sorted(maps.Keys(count)) {
		switch n := count[s]; {
		case n > 0:
			text = append(text, "unexpected: "+s)
		case n < 0:
			text = append(text, "missing: "+s)
		}
	}
	return strings.Join(text, "\n")
}
