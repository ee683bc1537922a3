package main

import (
	"database/sql"
	"fmt"
	"net/smtp"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// The three servers, each once as the user's relay and once as the host of the recipients.
const (
	inPostfix   = "postfix"
	inExim      = "exim"
	inOpenSMTPD = "opensmtpd"
)

var mailServers = []string{inPostfix, inExim, inOpenSMTPD}

// Where the recipients of a relay's mail live: the first labels of their domains.
const (
	atHost    = ""        // at another server: its name is the first label
	atBare    = "bare"    // there too, and the relay does not tell it the size at MAIL
	atAlien   = "alien"   // a domain whose mail goes there, though it is not that server's
	atHome    = "home"    // the relay's own mailboxes, in Dovecot
	atBox     = "box"     // the relay's own mailboxes, in files
	atScript  = "script"  // a host that refuses by script
	atDown    = "down"    // a host that is down
	atNowhere = "nowhere" // the name servers know no such domain,
	atNull    = "null"    // or say that it takes no mail (RFC 7505),
	atEmpty   = "empty"   // or that it has no host,
	atBroken  = "broken"  // or have a fault
)

// bodies are the sizes of what some recipients get; the hosts take no more than hostLimit, and Exim by itself no more
// than eximLimit.
const (
	hostLimit = 16 << 10
	eximLimit = 50 << 10
	boxLimit  = 8 << 10
)

var bodies = map[string]int{"grown": boxLimit / 2, "big": hostLimit + boxLimit, "huge": eximLimit + hostLimit}

// bounceWay is a way in which mail comes back: who refuses whom, and what the report means.
type bounceWay struct {
	name, at string
	servers  string // relays, or relays>hosts; * is each of them
	verdict  string // status/reply reason hardness scope
}

// Where the same refusal has several codes or reasons, the servers say so: OpenSMTPD tells only that it gave up, Exim
// gives hardly any status.
var bounceWays = []bounceWay{
	{"gone", atHost, "*>postfix", "5.1.1/550 userunknown hard address"},
	{"gone", atHost, "*>exim", "5.0.0/550 userunknown hard address"},
	{"gone", atHost, "*>opensmtpd", "5.0.0/550 userunknown hard address"},
	{"lost", atHost, "*>exim", "5.0.0/550 userunknown hard address"},     // "Unrouteable address"
	{"gone", atBare, "*>opensmtpd", "5.2.4/524 mailererror soft domain"}, // the words are also those for an alias that leads to itself
	{"stale", atHost, "*>*", "5.1.1/550 userunknown hard address"},
	{"moved", atHost, "*>postfix", "5.0.0/550 userunknown hard address"},
	{"moved", atHost, "*>exim", "5.0.0/550 userunknown hard address"},
	{"moved", atHost, "*>opensmtpd", "5.1.1/550 userunknown hard address"},
	{"gone", atHome, "postfix,exim", "5.1.1/550 userunknown hard address"},
	{"gone", atHome, "opensmtpd", "4.4.7/ expired soft domain"}, // its LMTP client tries again whatever it was told
	{"gone", atBox, "postfix", "5.1.1/ userunknown hard address"},
	{"gone", atBox, "exim", "5.0.0/ userunknown hard address"},

	{"full", atHost, "*>postfix,opensmtpd", "5.2.2/552 mailboxfull soft address"},
	{"full", atHost, "*>exim", "5.2.2/550 mailboxfull soft address"},
	{"full", atBare, "*>opensmtpd", "4.4.7/ expired soft domain"},
	{"full", atHome, "postfix,exim", "5.2.2/552 mailboxfull soft address"},
	{"full", atHome, "opensmtpd", "4.4.7/ expired soft domain"},
	{"grown", atHost, "*>*", "5.2.2/552 mailboxfull soft address"},
	{"grown", atBox, "postfix", "5.2.2/ mailboxfull soft address"},
	{"grown", atBox, "exim", "5.0.0/ mailboxfull soft address"},

	{"big", atHost, "postfix>*", "5.3.4/ emailtoolarge soft content"}, // it believes what EHLO says
	{"big", atHost, "exim>exim", "5.0.0/552 emailtoolarge soft content"},
	{"big", atHost, "exim>postfix", "5.3.4/552 emailtoolarge soft content"},
	{"big", atHost, "exim>opensmtpd", "5.3.4/554 emailtoolarge soft content"},
	{"big", atHost, "opensmtpd>*", "5.0.0/ emailtoolarge soft content"},
	{"big", atBare, "postfix,exim>postfix", "5.3.4/552 emailtoolarge soft content"},
	{"big", atBare, "postfix,exim>exim", "5.0.0/552 emailtoolarge soft content"},
	{"big", atBare, "postfix,exim>opensmtpd", "5.3.4/554 emailtoolarge soft content"},
	{"huge", atHost, "exim>postfix", "5.0.0/ onhold soft address"}, // of its own limit Exim says nothing to us

	{"policy", atHost, "*>postfix", "5.7.1/554 policyviolation soft content"},
	{"policy", atHost, "*>exim", "5.0.0/550 policyviolation soft content"},
	{"policy", atHost, "*>opensmtpd", "5.7.1/550 policyviolation soft content"},
	{"content", atHost, "*>postfix", "5.7.1/550 spamdetected soft content"}, // "message content rejected"
	{"content", atHost, "*>exim", "5.0.0/550 policyviolation soft content"},
	{"content", atHost, "*>opensmtpd", "5.7.1/554 policyviolation soft content"},
	{"spam", atScript, "*", "5.7.1/554 spamdetected soft content"},
	{"listed", atHost, "*>postfix", "5.7.1/554 blocked soft our_host"},
	{"listed", atHost, "*>exim", "5.0.0/550 blocked soft our_host"},
	{"anyone", atAlien, "*>postfix", "5.7.1/554 norelaying soft relay"},
	{"anyone", atAlien, "*>exim", "5.0.0/550 norelaying soft relay"},
	{"anyone", atAlien, "*>opensmtpd", "5.0.0/550 userunknown hard address"}, // "Invalid recipient": to the letter what it says of a user

	{"grey", atHost, "postfix,exim>postfix", "4.2.0/450 systemerror soft domain"}, // they say what the last try was told
	{"grey", atHost, "postfix>exim", "4.0.0/451 systemerror soft domain"},
	{"grey", atHost, "exim>exim", "5.0.0/451 systemerror soft domain"},
	{"grey", atHost, "postfix,exim>opensmtpd", "4.7.1/451 systemerror soft domain"},
	{"grey", atHost, "opensmtpd>*", "4.4.7/ expired soft domain"},
	{"later", atScript, "postfix", "4.3.0/451 systemerror soft domain"},
	{"later", atScript, "exim", "4.3.0/451 expired soft domain"},
	{"later", atScript, "opensmtpd", "4.4.7/ expired soft domain"},
	{"anyone", atDown, "postfix", "4.4.1/ networkerror soft domain"},
	{"anyone", atDown, "exim", "5.0.0/ expired soft domain"}, // OpenSMTPD lets nothing expire while it counts a route as down
	{"anyone", atBroken, "postfix", "4.4.3/ networkerror soft domain"},
	{"anyone", atBroken, "exim", "5.0.0/ expired soft domain"},
	{"anyone", atBroken, "opensmtpd", "4.4.7/ expired soft domain"},
	{"anyone", atNowhere, "postfix", "5.4.4/ hostunknown hard domain"},
	{"anyone", atNowhere, "exim,opensmtpd", "5.0.0/ hostunknown hard domain"},
	{"anyone", atEmpty, "postfix", "5.4.4/ hostunknown hard domain"},
	{"anyone", atEmpty, "exim", "5.0.0/ hostunknown hard domain"},
	{"anyone", atEmpty, "opensmtpd", "4.4.7/ expired soft domain"},
	{"anyone", atNull, "postfix", "5.1.0/ notaccept hard domain"},
	{"anyone", atNull, "exim", "5.0.0/ notaccept hard domain"},
	{"anyone", atNull, "opensmtpd", "4.4.7/ expired soft domain"}, // it looks for a host without a name
}

// refusals are what the host that refuses by script says, which none of the servers does when asked.
var refusals = map[string]string{
	"RCPT later": "451 4.3.0 <%s>: Error: queue file write error",
	". spam":     "554 5.7.1 Message rejected as spam",
}

// Three real servers bounce in every way that there is, because three real servers refuse in every way that there is;
// the reports go through Postfix to Dovecot, and are read there.
//
//	the test -> Postfix, Exim, OpenSMTPD -> Postfix, Exim, OpenSMTPD of the recipients -> Dovecot with full mailboxes
//	                 |          |               |                   a host that is down, domains that no name server knows
//	                 v          v               v
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
			t.Errorf("%s: %d reports about %s", d.relay, seen[id], d.address)
		}
	}
	w.sync()
}

type bounceServer struct {
	name string
	port int
}

// bouncedDelivery is a message that a relay took and cannot bring anywhere.
type bouncedDelivery struct {
	bounceWay
	relay   string
	address string // of the recipient
	told    string // whom the report is about
}

// deliveries are those that go this way.
func (b bounceWay) deliveries() []bouncedDelivery {
	relays, hosts, _ := strings.Cut(b.servers, ">")
	kinds := strings.Join(mailServers, ",")
	var all []bouncedDelivery
	for _, relay := range strings.Split(strings.Replace(relays, "*", kinds, 1), ",") {
		for _, host := range strings.Split(strings.Replace(hosts, "*", kinds, 1), ",") {
			labels := slices.DeleteFunc([]string{b.at, host, relay, "test"}, func(label string) bool { return label == "" })
			address := b.name + "@" + strings.Join(labels, ".")
			d := bouncedDelivery{bounceWay: b, relay: relay, address: address, told: address}
			if b.name == "moved" && host != inExim { // Exim asks where the mail would go before it takes it
				d.told = forwarded(address, host)
			}
			all = append(all, d)
		}
	}
	return all
}

// forwarded is where a host sends the mail of its mailbox "moved": to another host, where nobody is.
func forwarded(address, host string) string {
	return strings.Replace(strings.Replace(address, "moved@", "gone@", 1), host+".", next(host)+".", 1)
}

// bounceServers are the servers and a workspace whose deliveries they bounce.
type bounceServers struct {
	killWorkspace
	keys       delivery.Keys
	dovecot    *mailtest.DovecotServer
	names      string         // the name server
	servers    []bounceServer // the relays
	hosts      map[string]int // the hosts' ports
	away, down int            // the ports of a host that refuses by script, and of none
	sent       map[int64]bouncedDelivery
}

func newBounceServers(t *testing.T) *bounceServers {
	t.Helper()
	w := &bounceServers{killWorkspace: killWorkspace{t: t, dir: t.TempDir(), bin: binary(t)}, sent: map[int64]bouncedDelivery{}}
	ca := mailtest.NewCA(t)
	w.dovecot = mailtest.StartDovecot(t, ca, w.mailboxes())
	w.names = mailtest.NoNames(t)
	w.away = mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"8BITMIME", "ENHANCEDSTATUSCODES"}, Reply: func(c mailtest.Command) *mailtest.Reply {
		local, _, _ := strings.Cut(c.Address, "@")
		if text := refusals[c.Verb+" "+local]; strings.Contains(text, "%s") {
			return &mailtest.Reply{Text: fmt.Sprintf(text, c.Address)}
		} else if text != "" {
			return &mailtest.Reply{Text: text}
		}
		return nil
	}}).Port
	ports := mailtest.FreePorts(t, 2*len(mailServers)+1)
	w.down = ports[2*len(mailServers)]
	w.hosts = map[string]int{}
	for i, kind := range mailServers {
		w.servers = append(w.servers, bounceServer{kind, ports[2*i]})
		w.hosts[kind] = ports[2*i+1]
	}
	w.startPostfix()
	w.startExim()
	w.startOpenSMTPD()
	w.makeWorkspace(ca)
	return w
}

// hosted are the domains of the recipients that live at a server.
func hosted(host string) []string {
	var domains []string
	for _, relay := range mailServers {
		domains = append(domains, host+"."+relay+".test", atBare+"."+host+"."+relay+".test")
	}
	return domains
}

// next is the host after this one.
func next(host string) string {
	return mailServers[(slices.Index(mailServers, host)+1)%len(mailServers)]
}

// hostUsers are who lives at a server. Of them Dovecot does not know stale.
var hostUsers = []string{"stale", "full", "grown", "big", "policy", "content", "grey", "listed"}

// mailboxes are what Dovecot has: our own, and those of the servers that leave mailboxes to it.
func (w *bounceServers) mailboxes() []mailtest.User {
	users := []mailtest.User{{Address: "bounce@" + ourDomain, Password: "secret"}}
	for _, kind := range mailServers {
		users = append(users, mailtest.User{Address: "full@" + atHome + "." + kind + ".test", Quota: "1K", Full: true})
		for _, domain := range hosted(kind) {
			for _, name := range hostUsers {
				switch name {
				case "stale":
				case "full", "grown":
					users = append(users, mailtest.User{Address: name + "@" + domain, Quota: "1K", Full: name == "full"})
				default:
					users = append(users, mailtest.User{Address: name + "@" + domain})
				}
			}
		}
	}
	return users
}

// routes are the ways of a relay.
func (w *bounceServers) routes(relay string) []mailtest.Route {
	at := "." + relay + ".test"
	routes := []mailtest.Route{{Domains: atScript + at, Port: w.away}, {Domains: atDown + at, Port: w.down}}
	for _, place := range []string{atNowhere, atNull, atEmpty, atBroken} {
		routes = append(routes, mailtest.Route{Domains: place + at})
	}
	for _, host := range mailServers {
		port := w.hosts[host]
		routes = append(routes, mailtest.Route{Domains: host + at, Port: port, Limit: strconv.Itoa(eximLimit)},
			mailtest.Route{Domains: atBare + "." + host + at, Port: port, Bare: true}, mailtest.Route{Domains: atAlien + "." + host + at, Port: port})
	}
	if relay != inPostfix { // which is ours
		routes = append(routes, mailtest.Route{Domains: ourDomain, Port: w.servers[0].port})
	}
	return routes
}

// forwards are the ways of a host, whose mail is its reports and what it forwards.
func (w *bounceServers) forwards(host string) []mailtest.Route {
	routes := []mailtest.Route{{Domains: ourDomain, Port: w.servers[0].port}}
	for _, relay := range mailServers {
		routes = append(routes, mailtest.Route{Domains: next(host) + "." + relay + ".test", Port: w.hosts[next(host)]})
	}
	return routes
}

// transportTable is how Postfix spells routes.
func transportTable(routes []mailtest.Route) string {
	var table strings.Builder
	for _, r := range routes {
		switch {
		case r.Port == 0:
			fmt.Fprintf(&table, "%s dns\n", r.Domains)
		case r.Bare:
			fmt.Fprintf(&table, "%s bare:[127.0.0.1]:%d\n", r.Domains, r.Port)
		default:
			fmt.Fprintf(&table, "%s smtp:[127.0.0.1]:%d\n", r.Domains, r.Port)
		}
	}
	return table.String()
}

// impatient is a Postfix that tries again every second.
const impatient = `
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
`

// startPostfix starts the relay, which takes our bounces for Dovecot, too, and the host.
func (w *bounceServers) startPostfix() {
	w.t.Helper()
	postfix, err := user.Lookup("postfix")
	if err != nil {
		w.t.Fatal(err)
	}
	mailtest.StartPostfix(w.t, mailtest.Postfix{
		Host: "postfix.example", Names: w.names,
		Main: impatient + fmt.Sprintf(`
# Reports do not live longer either, and some must wait for Dovecot.
maximal_queue_lifetime = 8s
bounce_queue_lifetime = 8s
# A connection that is used again has forgotten the other side's SIZE.
smtp_connection_cache_on_demand = no
virtual_mailbox_domains = %[1]s
virtual_mailbox_maps = texthash:$config_directory/mailboxes
virtual_transport = lmtp:unix:%[2]s
transport_maps = texthash:$config_directory/transport
virtual_mailbox_base = $data_directory
virtual_minimum_uid = 1
virtual_uid_maps = static:%[3]s
virtual_gid_maps = static:%[4]s
`, ourDomain, w.dovecot.LMTP, postfix.Uid, postfix.Gid),
		Master: "bare unix - - n - - smtp -o { smtp_discard_ehlo_keywords = size }\n" +
			fmt.Sprintf("box unix - n n - - virtual -o virtual_mailbox_limit=%[1]d -o message_size_limit=%[1]d\n", boxLimit),
		Tables: map[string]string{
			"mailboxes": "bounce@" + ourDomain + " x\ngrown@" + atBox + ".postfix.test grown\n",
			"transport": transportTable(w.routes(inPostfix)) + atHome + ".postfix.test lmtp:unix:" + w.dovecot.LMTP + "\n" + atBox + ".postfix.test box\n",
		},
		Data:  map[string]string{"grown": strings.Repeat("\n", boxLimit-1)},
		SMTPD: []mailtest.Listener{{Port: w.servers[0].port, Options: []string{"mynetworks = 127.0.0.0/8", "smtpd_relay_restrictions = permit_mynetworks, reject", "smtpd_reject_unlisted_recipient = no"}}},
	})
	var mailboxes, aliases, access strings.Builder
	for _, domain := range hosted(inPostfix) {
		for _, name := range hostUsers {
			fmt.Fprintf(&mailboxes, "%s@%s x\n", name, domain)
		}
		fmt.Fprintf(&aliases, "moved@%[1]s %[2]s\n", domain, forwarded("moved@"+domain, inPostfix))
		fmt.Fprintf(&access, "policy@%[1]s REJECT\ngrey@%[1]s 450 4.2.0 Greylisted, see https://greylist.example/help/%[1]s.html\nlisted@%[1]s list\n", domain)
	}
	mailtest.StartPostfix(w.t, mailtest.Postfix{
		Host: "mx.postfix.example", Names: w.names,
		Main: impatient + fmt.Sprintf(`
virtual_mailbox_domains = %[1]s
virtual_mailbox_maps = texthash:$config_directory/mailboxes
virtual_alias_maps = texthash:$config_directory/aliases
virtual_transport = lmtp:unix:%[2]s
transport_maps = texthash:$config_directory/transport
message_size_limit = %[3]d
header_checks = regexp:$config_directory/headers
smtpd_relay_restrictions = reject_unauth_destination
smtpd_restriction_classes = list
list = reject_rbl_client bl.test
smtpd_recipient_restrictions = check_recipient_access texthash:$config_directory/access, check_policy_service inet:127.0.0.1:%[4]d
smtpd_error_sleep_time = 0
`, strings.Join(hosted(inPostfix), " "), w.dovecot.LMTP, hostLimit, w.dovecot.QuotaPort),
		Tables: map[string]string{
			"mailboxes": mailboxes.String(), "aliases": aliases.String(), "access": access.String(), "transport": transportTable(w.forwards(inPostfix)),
			"headers": "/^Subject: content/ REJECT\n",
		},
		SMTPD: []mailtest.Listener{{Port: w.hosts[inPostfix], Chroot: true}},
	})
}

// startExim starts the relay and the host. That one asks Dovecot for the recipient before it takes mail.
func (w *bounceServers) startExim() {
	w.t.Helper()
	home := atHome + ".exim.test"
	dovecot := fmt.Sprintf(`
dovecot:
  driver = smtp
  protocol = lmtp
  hosts = 127.0.0.1
  port = %d
  allow_localhost
`, w.dovecot.LMTPPort)
	mailtest.StartExim(w.t, mailtest.Exim{
		Host: "exim.example", Port: w.servers[1].port, Names: w.names, Routes: w.routes(inExim),
		Routers: "home:\n  driver = accept\n  domains = " + home + "\n  transport = dovecot\n" +
			"box:\n  driver = accept\n  domains = " + atBox + ".exim.test\n  local_parts = grown\n  transport = box\n  cannot_route_message = Unknown user\n",
		Transports: dovecot + `
box:
  driver = appendfile
  file = /var/mail/grown
  user = Debian-exim
  quota = 1K
`,
	})
	mailtest.StartExim(w.t, mailtest.Exim{
		Host: "mx.exim.example", Port: w.hosts[inExim], Names: w.names, Routes: w.forwards(inExim),
		Main: "message_size_limit = " + strconv.Itoa(hostLimit) + "\ndomainlist local_domains = " + strings.Join(hosted(inExim), " : "),
		// The messages are those of the configuration that comes with Exim, where it has one.
		RCPT: `
  deny local_parts = policy
  defer local_parts = grey
    message = Greylisting in action, please try again later
  deny local_parts = listed
    dnslists = bl.test
    message = rejected because $sender_host_address is in a black list at $dnslist_domain\n$dnslist_text
  require message = relay not permitted
    domains = +local_domains
  require verify = recipient/callout=5s,defer_ok
`,
		Data: `
  deny condition = ${if eq{$h_subject:}{content}}
`,
		Routers: `
moved:
  driver = redirect
  domains = +local_domains
  local_parts = moved
  data = gone@${sg{$domain}{^exim}{` + next(inExim) + `}}
local:
  driver = accept
  domains = +local_domains
  local_parts = ` + strings.Join(hostUsers, " : ") + `
  transport = dovecot
  cannot_route_message = ${if eq{$local_part}{lost}{Unrouteable address}{Unknown user}}
`,
		Transports: dovecot,
	})
}

// contentFilter reads every line of every message, as the filters of spam do, and refuses some at the end (smtpd-filters(7)).
const contentFilter = `
bad=
while IFS= read -r line; do
	session=${line#filter|*|*|*|*|} token=${line#filter|*|*|*|*|*|}
	session=${session%%|*} text=${token#*|} token=${token%%|*}
	case $line in
	"config|ready")
		printf '%s\n' 'register|filter|smtp-in|data-line' 'register|filter|smtp-in|commit' 'register|ready' ;;
	filter\|*\|data-line\|*)
		printf '%s\n' "filter-dataline|$session|$token|$text"
		case $text in "Subject: content") bad="$bad $session" ;; esac ;;
	filter\|*\|commit\|*)
		case "$bad " in
		*" $session "*) bad="${bad%% $session*}${bad#* $session}"; echo "filter-result|$session|$token|reject|554 5.7.1 Message content is not wanted here" ;;
		*) echo "filter-result|$session|$token|proceed" ;;
		esac ;;
	esac
done
`

// startOpenSMTPD starts the relay and the host. That one brings mail to Dovecot in a session of its own, but for the bare
// domains by its program for LMTP.
func (w *bounceServers) startOpenSMTPD() {
	w.t.Helper()
	mailtest.StartOpenSMTPD(w.t, mailtest.OpenSMTPD{
		Host: "opensmtpd.example", Port: w.servers[2].port, Names: w.names, Routes: w.routes(inOpenSMTPD),
		Conf: fmt.Sprintf(`
table everybody { "@" = "%s" }
action home lmtp "127.0.0.1:%d" rcpt-to virtual <everybody>
match from any for domain "%s" action home
`, mailtest.MailUser, w.dovecot.LMTPPort, atHome+".opensmtpd.test"),
	})
	var there, users []string
	for _, domain := range hosted(inOpenSMTPD) {
		for _, name := range hostUsers {
			if !strings.HasPrefix(domain, atBare) {
				there = append(there, strconv.Quote(name+"@"+domain))
			}
			users = append(users, fmt.Sprintf("%q = %q", name+"@"+domain, mailtest.MailUser))
		}
		users = append(users, fmt.Sprintf("%q = %q", "moved@"+domain, forwarded("moved@"+domain, inOpenSMTPD)))
	}
	mailtest.StartOpenSMTPD(w.t, mailtest.OpenSMTPD{
		Host: "mx.opensmtpd.example", Port: w.hosts[inOpenSMTPD], Names: w.names, Routes: w.forwards(inOpenSMTPD),
		Conf: fmt.Sprintf(`
smtp max-message-size "%d"
filter policy phase rcpt-to match rcpt-to regex { "^<?policy@" } reject "550 5.7.1 Recipient rejected by policy"
filter grey phase rcpt-to match rcpt-to regex { "^<?grey@" } reject "451 4.7.1 Greylisting in action, please come back later"
filter content proc-exec "/bin/sh %s"
filter all chain { policy, grey, content }
table domains { "%s" }
table there { %s }
table users { %s }
action "session" relay host "lmtp://127.0.0.1:%d"
action "program" lmtp "127.0.0.1:%[6]d" rcpt-to virtual <users>
match from any for domain <domains> rcpt-to <there> action "session"
match from any for domain <domains> rcpt-to regex "^(moved@|.*@bare)" action "program"
`, hostLimit, mailtest.FilterPath, strings.Join(hosted(inOpenSMTPD), `", "`), strings.Join(there, ", "), strings.Join(users, ", "), w.dovecot.LMTPPort),
		Listen: "filter all", Filter: contentFilter,
	})
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
	for _, way := range bounceWays {
		for _, d := range way.deliveries() {
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
		if d.relay != s.name {
			continue
		}
		body := strings.Repeat("The same line again and again.\r\n", 1+bodies[d.name]/32)
		text := fmt.Sprintf("From: News <news@%[1]s>\r\nTo: %[2]s\r\nSubject: %[3]s\r\nDate: Thu, 01 Oct 2026 09:00:00 +0900\r\nMessage-ID: <%[4]s@%[1]s>\r\n\r\n%[5]s",
			ourDomain, d.address, d.name, w.keys.Sign(delivery.TokenMessageID, id), body)
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
	if v.Kind != bounce.KindBounce || v.Detail != "" || len(v.Bounces) != 1 {
		w.t.Errorf("%s, %s: %+v\n%s", d.relay, d.address, v, raw)
		return id
	}
	got := v.Bounces[0]
	hardness := "soft"
	if got.Hard {
		hardness = "hard"
	}
	verdict := fmt.Sprintf("%s/%s %s %s %s", got.Status, got.Reply, got.Reason, hardness, got.Scope)
	if verdict != d.verdict || got.Recipient != d.told || got.Action != bounce.ActionFailed {
		w.t.Errorf("%s, %s: %s, %s %s, want %s, %s\n%s", d.relay, d.address, verdict, got.Action, got.Recipient, d.verdict, d.told, raw)
	}
	return id
}

// sync reads the mailbox: nobody is suppressed but those whose address is dead.
func (w *bounceServers) sync() {
	w.t.Helper()
	var dead []string
	for _, d := range w.sent {
		if strings.Contains(d.verdict, " hard ") {
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
