package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/relay"
)

// Carrier is a relay to check. What is empty is not checked.
type Carrier struct {
	Relay     config.Relay
	Server    relay.Server // how it is talked to
	Largest   int64        // bytes of the largest message of late
	LargestOf string       // the campaign that it is of
	Now       func() time.Time
	Tell      func(relay.Step)                                             // each step as it happens; may be nil
	Lookup    func(ctx context.Context, host string) ([]netip.Addr, error) // nil: as a send does, by the system
}

const (
	whyTLS   = "Without TLS everybody on the way can read and alter the mail and the login. Gmail takes mail over TLS only, and tells its readers where it was missing."
	whyRelay = "All mail of this relay leaves through here."
)

func (c *Carrier) finding(check string, level Level, format string, args ...any) Finding {
	return Finding{Area: "relay", Check: check, Subject: c.Relay.Name, Level: level, Found: fmt.Sprintf(format, args...)}
}

// Check connects as a send would and judges what it finds. The error is why it could not come to the end, for the exit code:
// the findings say it as well.
func (c *Carrier) Check(ctx context.Context) ([]Finding, error) {
	tell := c.Tell
	if tell == nil {
		tell = func(relay.Step) {}
	}
	all := c.reach(ctx)
	p, conn, err := relay.NewDialer(c.Server).Probe(ctx, tell)
	if ctx.Err() != nil {
		return all, ctx.Err()
	}
	if conn != nil {
		conn.Close() // whatever it says to QUIT
	}
	return append(all, c.judge(p, err)...), err
}

// judge says what a probe means, as far as it came.
func (c *Carrier) judge(p relay.Profile, err error) []Finding {
	all := c.broken(err)
	if p.Address == "" {
		return all
	}
	doubts := map[string][]relay.Doubt{}
	for _, d := range p.Doubts(relay.Use{Connections: c.Relay.Connections, Hello: c.Relay.Hello}, c.Now()) {
		doubts[d.Rule] = append(doubts[d.Rule], d)
	}
	failed := func(check string) bool {
		return slices.ContainsFunc(all, func(f Finding) bool { return f.Check == check })
	}
	if p.Greeting == "" && err != nil { // it said nothing yet that could be judged
		return all
	}
	if !failed("relay_tls") {
		all = append(all, c.security(p, doubts))
	}
	if !failed("relay_login") && err == nil {
		all = append(all, c.login(p, doubts))
	}
	if err == nil {
		all = append(all, c.offers(p, doubts)...)
		all = append(all, c.limits(p, doubts)...)
		all = append(all, c.roundTrip(p))
	}
	return all
}

// broken is the finding about what ended a probe.
func (c *Carrier) broken(err error) []Finding {
	var de *relay.DialError
	if !errors.As(err, &de) {
		if err == nil {
			return nil
		}
		f := c.finding("relay_reach", Fail, "The relay could not be tried: %s.", err)
		f.Why, f.Do = whyRelay, "Mend that first."
		return []Finding{f}
	}
	check := map[delivery.Phase]string{delivery.PhaseStartTLS: "relay_tls", delivery.PhaseAuth: "relay_login"}[de.Phase]
	if check == "" {
		check = "relay_reach"
	}
	f := c.finding(check, Fail, "%s.", strings.TrimSuffix(de.Error(), "."))
	f.Own = de.Config
	f.Why = whyRelay
	switch {
	case check == "relay_login":
		f.Do = "Check username, password and auth of the relay in mailer.yaml; many services want a password or a key that is made for SMTP alone."
		if !de.Config {
			f.Do = "Try again later: the relay did not say that the login is wrong."
		}
	case check == "relay_tls" && de.Config:
		f.Why += " " + whyTLS
		f.Do = "Use the name that the certificate is for as host, or put the authority's certificate into ca_file; where it is out of date, tell whoever runs the relay."
	case de.Config:
		f.Do = "Mend host, port and tls of the relay in mailer.yaml."
	case de.Phase == delivery.PhaseConnect:
		f.Do = "Check host and port in mailer.yaml; many networks block port 25 and let 587 and 465 through. If they are right, the relay is away: try again later."
	default:
		f.Do = "Read what the relay said; if it does not want this machine, ask whoever runs it."
	}
	return []Finding{f}
}

// knock is how one address of the relay answers.
type knock struct {
	addr netip.Addr
	took time.Duration
	err  error
}

// knockTime bounds the wait for one address.
const knockTime = 10 * time.Second

// reach asks where the relay's name leads and whether each of its addresses answers: a send takes any.
func (c *Carrier) reach(ctx context.Context) []Finding {
	if c.Server.Net != nil {
		return nil
	}
	lookup := c.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*knockTime)
	defer cancel()
	found, err := lookup(ctx, c.Relay.Host)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		f := c.finding("relay_reach", Fail, "There is no host %s: %s.", c.Relay.Host, err)
		f.Why, f.Do, f.Own = whyRelay, "Correct host of the relay in mailer.yaml.", true
		return []Finding{f}
	case err != nil:
		f := c.finding("relay_reach", Unknown, "Where %s leads could not be found out: %s.", c.Relay.Host, err)
		f.Why, f.Do = whyRelay, "Nothing is known to be wrong with the relay. Look at this machine's network and name servers, and try again."
		return []Finding{f}
	}
	knocks := make([]knock, len(found))
	var all sync.WaitGroup
	for i, addr := range found {
		all.Go(func() {
			began := time.Now()
			d := net.Dialer{Timeout: knockTime}
			conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(addr.Unmap().String(), strconv.Itoa(c.Relay.Port)))
			knocks[i] = knock{addr.Unmap(), time.Since(began), err}
			if err == nil {
				conn.Close()
			}
		})
	}
	all.Wait()
	return []Finding{c.answered(knocks)}
}

// answered judges the addresses together.
func (c *Carrier) answered(knocks []knock) Finding {
	var detail []string
	var up, down, noWay int
	for _, k := range knocks {
		switch {
		case k.err == nil:
			up++
			detail = append(detail, fmt.Sprintf("%s: answered after %s", k.addr, k.took.Round(100*time.Microsecond)))
			continue
		case k.addr.Is6() && (errors.Is(k.err, syscall.ENETUNREACH) || errors.Is(k.err, syscall.EHOSTUNREACH) || errors.Is(k.err, syscall.EADDRNOTAVAIL)):
			noWay++ // this machine has no IPv6: no fault of the relay's
		default:
			down++
		}
		detail = append(detail, fmt.Sprintf("%s: %s", k.addr, k.err))
	}
	where := fmt.Sprintf("port %d of %s", c.Relay.Port, c.Relay.Host)
	f := c.finding("relay_reach", Pass, "%s answers.", firstUp(where))
	switch {
	case up == 0:
		f = c.finding("relay_reach", Fail, "%s does not answer.", firstUp(where))
		f.Why, f.Do = whyRelay, "Check host and port in mailer.yaml; many networks block port 25 and let 587 and 465 through. If they are right, the relay is away: try again later."
	case down > 0:
		f = c.finding("relay_reach", Warn, "%d of %d addresses of %s do not answer on port %d.", down, len(knocks), c.Relay.Host, c.Relay.Port)
		f.Why = "A connection that begins with an address that is dead waits for it first."
		f.Do = "Tell whoever runs the relay. A dead IPv6 address is often this machine's own network: try it from another one."
	case noWay > 0:
		f.Found += " This machine has no IPv6, and the relay has; nothing is lost by that."
	}
	f.Detail = detail
	return f
}

// firstUp begins a sentence; a key of mailer.yaml stays as it is.
func firstUp(s string) string {
	if word, _, _ := strings.Cut(s, " "); s == "" || strings.HasSuffix(word, ":") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// weigh makes the finding of a check out of the doubts about it.
func (c *Carrier) weigh(check string, good string, why, do string, level Level, doubts ...relay.Doubt) Finding {
	if len(doubts) == 0 {
		return c.finding(check, Pass, "%s", good)
	}
	var texts []string
	for _, d := range doubts {
		texts = append(texts, d.Text)
	}
	f := c.finding(check, level, "%s.", firstUp(strings.Join(texts, "; ")))
	f.Why, f.Do = why, do
	f.Detail = []string{good}
	return f
}

func (c *Carrier) security(p relay.Profile, doubts map[string][]relay.Doubt) Finding {
	s := p.Security
	if s == nil {
		return c.weigh("relay_tls", "In clear, on this machine only.", whyTLS, "Set tls: starttls (port 587) or tls: implicit (port 465).", Fail, doubts["tls"]...)
	}
	good := fmt.Sprintf("%s, %s; the certificate is for %s, issued by %s, until %s.", s.Version, s.Cipher, strings.Join(s.Names, ", "), s.Issuer, s.Expires.Format(time.DateOnly))
	f := c.weigh("relay_tls", good, whyTLS, "Tell whoever runs the relay to renew the certificate, or to look why it does not renew itself.", Warn, doubts["expiry"]...)
	if len(doubts["certificate"]) > 0 {
		f = c.weigh("relay_tls", good, whyTLS+" With a certificate that is not verified, anybody on the way can play the relay.",
			"Take insecure: true out; for an authority of your own, put its certificate into ca_file.", Warn, append(doubts["certificate"], doubts["expiry"]...)...)
	}
	if f.Level == Pass && weak(s) {
		f = c.finding("relay_tls", Warn, "The cipher is weak: %s, %s.", s.Version, s.Cipher)
		f.Why = "Ciphers without forward secrecy or with CBC are given up one after the other; a receiver or a library that no longer knows them ends the connection."
		f.Do = "Ask whoever runs the relay for TLS 1.3, or TLS 1.2 with ECDHE and GCM."
	}
	return f
}

// weak reports whether a cipher of TLS 1.2 lacks forward secrecy or authenticated encryption; TLS 1.3 has no weak ones.
func weak(s *relay.Security) bool {
	if s.Version == "TLS 1.3" {
		return false
	}
	return !strings.Contains(s.Cipher, "ECDHE") || !strings.Contains(s.Cipher, "GCM") && !strings.Contains(s.Cipher, "CHACHA20")
}

func (c *Carrier) login(p relay.Profile, doubts map[string][]relay.Doubt) Finding {
	if p.Login == "" {
		f := c.finding("relay_login", Info, "The relay was used without a login.")
		if !p.Loopback && c.Relay.Username != "" {
			f.Level, f.Own = Warn, true
			f.Why, f.Do = "A username is set and was not used: some relays take mail without a login and then refuse the recipients.", "Set auth of the relay in mailer.yaml to auto."
		}
		return f
	}
	f := c.weigh("relay_login", fmt.Sprintf("Logged in as %s by %s.", c.Relay.Username, p.Login), whyTLS, "Set tls: starttls (port 587) or tls: implicit (port 465).", Fail, doubts["login"]...)
	f.Own = f.Level == Fail
	return f
}

// wanted are the offers that matter, with what is lost without them.
var wanted = []struct{ name, loss string }{
	{"8BITMIME", "no 8BITMIME: text in 8 bits is re-encoded on the way, which would break DKIM; mailer sends 7 bits only"},
	{"SMTPUTF8", "no SMTPUTF8: addresses with letters beyond ASCII before the @ cannot be reached"},
	{"ENHANCEDSTATUSCODES", "no ENHANCEDSTATUSCODES: why an address was refused is read from words only"},
}

func (c *Carrier) offers(p relay.Profile, doubts map[string][]relay.Doubt) []Finding {
	var names, missing []string
	for _, o := range p.Offers {
		names = append(names, o.String())
	}
	for _, w := range wanted {
		if !p.Offered(w.name) {
			missing = append(missing, w.loss)
		}
	}
	good := "EHLO offers " + strings.Join(names, ", ") + "."
	if len(names) == 0 {
		good = "EHLO offers nothing."
	}
	f := c.finding("relay_offers", Pass, "%s", good)
	if doubts := slices.Concat(doubts["pipelining"], doubts["dsn"]); len(doubts) > 0 {
		f = c.weigh("relay_offers", good, "Nothing is lost on the way by that: it costs time, or knowledge of what became of a message.",
			"If the relay is yours, turn it on there; else nothing needs to be done.", Info, doubts...)
	}
	f.Detail = append(f.Detail, missing...)
	if c.Largest > 0 {
		f.Detail = append(f.Detail, fmt.Sprintf("the largest message of the newest campaigns has %d bytes: %s", c.Largest, c.LargestOf))
	}
	all := []Finding{f}
	if hello := doubts["hello"]; len(hello) > 0 {
		f := c.weigh("relay_offers", good, "Relays that look at the name refuse the mail or count it as a sign of spam.", "Set hello: of the relay in mailer.yaml to this host's full name.", Info, hello...)
		f.Detail = nil
		all = append(all, f)
	}
	switch {
	case p.Size > 0 && c.Largest > p.Size:
		f := c.finding("relay_offers", Fail, "The relay takes messages up to %d bytes, and those of %s have %d.", p.Size, c.LargestOf, c.Largest)
		f.Why, f.Do, f.Own = "A message that is too large is refused for every recipient.", "Make the campaign smaller: put large attachments and pictures on the web and link to them.", true
		all = append(all, f)
	case p.Size > 0 && c.Largest > p.Size/4*3:
		f := c.finding("relay_offers", Warn, "The relay takes messages up to %d bytes, and those of %s have %d already.", p.Size, c.LargestOf, c.Largest)
		f.Why, f.Do = "A message that is too large is refused for every recipient.", "Keep the next campaigns smaller."
		all = append(all, f)
	case len(doubts["size"]) > 0:
		f := c.weigh("relay_offers", good, "A message that is too large is refused for every recipient.", "If the relay is yours, raise its limit (message_size_limit of Postfix).", Warn, doubts["size"]...)
		f.Detail = nil
		all = append(all, f)
	}
	return all
}

// allowance is what a service lets through, as its manual or its users had it in November 2026.
type allowance struct {
	hosts       []string // or with a dot before it what the host ends in
	name        string
	rates       []pace.Rate
	connections int // at once
	perConn     int
	varies      string // the numbers hang on the plan or the account: where to look
}

const day = 24 * time.Hour

var allowances = []allowance{
	{hosts: []string{"smtp-relay.gmail.com"}, name: "the SMTP relay of Google Workspace", rates: []pace.Rate{{N: 10_000, Per: day}}, varies: "it counts recipients, for each user"},
	{hosts: []string{"smtp.gmail.com"}, name: "Gmail", rates: []pace.Rate{{N: 500, Per: day}}, varies: "2,000/d with Google Workspace"},
	{hosts: []string{"smtp.office365.com"}, name: "Exchange Online", rates: []pace.Rate{{N: 30, Per: time.Minute}, {N: 10_000, Per: day}}, connections: 3, varies: "it is not made for bulk mail"},
	{hosts: []string{".sendgrid.net"}, name: "SendGrid", perConn: 5000, varies: "the plan sets how many a day"},
	{hosts: []string{".mailgun.org"}, name: "Mailgun", perConn: 3, varies: "the plan sets how many an hour"},
	{hosts: []string{".xserver.jp"}, name: "Xserver", rates: []pace.Rate{{N: 1500, Per: time.Hour}, {N: 15_000, Per: day}}, varies: "the plan may say otherwise"},
	{hosts: []string{".lolipop.jp"}, name: "Lolipop", rates: []pace.Rate{{N: 1000, Per: time.Hour}, {N: 10_000, Per: day}}, varies: "100/h and 1,000/d with smaller plans, 50/d in a trial; all addresses together"},
	{hosts: []string{".amazonaws.com"}, name: "Amazon SES", varies: "the console shows the quota of each region, in recipients: 200/d and 1/s in the sandbox"},
}

func allowanceOf(host string) (allowance, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, a := range allowances {
		for _, h := range a.hosts {
			if host == h || h[0] == '.' && strings.HasSuffix(host, h) && (h != ".amazonaws.com" || strings.HasPrefix(host, "email-smtp.")) {
				return a, true
			}
		}
	}
	return allowance{}, false
}

// kept reports whether some rates keep within a limit: one of them over the same or a longer time that allows no more, or a
// shorter one that cannot reach it.
func kept(rates []pace.Rate, limit pace.Rate) bool {
	for _, r := range rates {
		fits := int64(r.N)
		if r.Per < limit.Per {
			fits = int64(r.N) * int64(limit.Per/r.Per)
		}
		if fits <= int64(limit.N) {
			return true
		}
	}
	return false
}

func (c *Carrier) limits(p relay.Profile, doubts map[string][]relay.Doubt) []Finding {
	f := c.finding("relay_limits", Pass, "%s", told(p.Limits))
	var wrong, do []string
	for _, d := range doubts["connections"] {
		wrong, do = append(wrong, d.Text), append(do, "set connections: to what the relay allows")
	}
	a, known := allowanceOf(c.Relay.Host)
	for _, limit := range a.rates {
		if !kept(c.Relay.Rates, limit) {
			wrong = append(wrong, fmt.Sprintf("%s lets %s through, and rates: does not keep within that", a.name, limit))
			do = append(do, fmt.Sprintf("put %s into rates: of the relay", limit))
		}
	}
	if a.connections > 0 && c.Relay.Connections > a.connections {
		wrong = append(wrong, fmt.Sprintf("%s takes %d connections at once, and %d are configured", a.name, a.connections, c.Relay.Connections))
		do = append(do, fmt.Sprintf("set connections: %d", a.connections))
	}
	if a.perConn > 0 && (c.Relay.MessagesPerConnection == 0 || c.Relay.MessagesPerConnection > a.perConn) {
		f.Detail = append(f.Detail, fmt.Sprintf("%s takes %d messages a connection: messages_per_connection: %d saves the refusals", a.name, a.perConn, a.perConn))
	}
	if known {
		f.Detail = append(f.Detail, a.name+": "+a.varies)
	}
	if !known && len(c.Relay.Rates) == 0 && !p.Loopback {
		f.Detail = append(f.Detail, "no rates: are set, and most services have a limit for the hour or the day: ask for yours")
	}
	if len(wrong) > 0 {
		f.Level, f.Found = Warn, firstUp(strings.Join(wrong, "; "))+"."
		f.Why = "Who goes beyond the limit of his relay is refused in the middle of a campaign, and often locked out for a day."
		f.Do = firstUp(strings.Join(do, "; ")) + ", unless your plan says otherwise."
	}
	return []Finding{f}
}

// told is what the relay itself says (RFC 9422).
func told(l relay.Limits) string {
	var all []string
	for _, one := range []struct {
		n    int
		what string
	}{{l.MailMax, "messages a connection"}, {l.RcptMax, "recipients a message"}, {l.RcptDomainMax, "domains a message"}} {
		if one.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", one.n, one.what))
		}
	}
	if len(all) == 0 {
		return "The relay tells no limits (LIMITS of RFC 9422)."
	}
	return "The relay takes " + strings.Join(all, ", ") + "; a send keeps to that by itself."
}

// farAway is a round trip that makes a send without PIPELINING slow.
const farAway = 200 * time.Millisecond

func (c *Carrier) roundTrip(p relay.Profile) Finding {
	f := c.finding("relay_round_trip", Pass, "A command and its reply take %s; one more connection is ready after %s.",
		p.RoundTrip.Round(10*time.Microsecond), p.Again.Round(100*time.Microsecond))
	if p.AgainErr != nil {
		f.Found = fmt.Sprintf("A command and its reply take %s.", p.RoundTrip.Round(10*time.Microsecond))
	}
	if p.RoundTrip > farAway && !p.Pipelined {
		f.Level = Warn
		f.Why = fmt.Sprintf("A message takes %d round trips without PIPELINING: %s on each connection.", relay.StepwiseTrips, (relay.StepwiseTrips * p.RoundTrip).Round(time.Millisecond))
		f.Do = "Use a relay that is nearer or offers PIPELINING, or more connections if it allows them."
	}
	return f
}
