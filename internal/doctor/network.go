package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/dmarc"
	"mailer/internal/message"
	"mailer/internal/zone"
)

func (d *Domain) fromDomain(ctx context.Context) []Finding {
	const check = "from_domain"
	if d.From == "" {
		return nil
	}
	f := d.finding(check, d.From, Fail, "")
	f.Own = true
	f.Why = "Receivers refuse mail whose sender could not be answered, and people answer newsletters. Microsoft asks bulk senders for a From that can receive."
	if !strings.Contains(d.From, ".") {
		f.Found = d.From + " is a single label: no domain of the Internet."
		f.Do = "Set sender: from: in mailer.yaml to an address in your domain."
		return []Finding{f}
	}
	m, host, err := zone.Receives(ctx, d.Resolver, d.From)
	postmaster := "See that postmaster@" + d.From + " and abuse@" + d.From + " reach you (RFC 2142): complaints of other servers go there."
	f.Publish = []Record{{Name: d.From, Type: "MX", Value: "10 mail." + d.From, Zone: d.zoneOf(ctx, d.From), Note: "the name of your own mail server in place of mail." + d.From}}
	switch m {
	case zone.Unclear:
		return d.unknown(check, d.From, err)
	case zone.Exchanged:
		f.Level, f.Own, f.Publish = Pass, false, nil
		f.Found = d.From + " receives mail at " + host + "."
		f.Do = postmaster
	case zone.Implicit:
		f.Level, f.Own = Warn, false
		f.Found = d.From + " has no MX record, only an address: mail for it goes to that server, if it takes any."
		f.Do = "Publish an MX record. " + postmaster
	case zone.NullMX:
		f.Found = d.From + " says that it takes no mail (null MX, RFC 7505): receivers refuse mail from it (550 5.7.27)."
		f.Do = "Replace the null MX by your mail server, or send from a domain that takes mail."
	case zone.Dangling:
		f.Found = "The MX of " + d.From + " lead nowhere: " + host + " has no address."
		f.Do = "Correct the MX record."
	case zone.Nowhere:
		f.Found = d.From + " has neither MX nor address: it cannot receive mail."
		f.Do = "Publish an MX record. " + postmaster
	case zone.Absent:
		f.Found = d.From + " does not exist in the DNS (NXDOMAIN)."
		f.Do = "Look for a slip in the name (sender: from: of mailer.yaml), and whether the domain was renewed in time."
		f.Publish = nil
	}
	return []Finding{f}
}

func (d *Domain) freemail(context.Context) []Finding {
	if d.From == "" {
		return nil
	}
	f := d.finding("freemail", d.From, Pass, "From is in a domain of your own.")
	f.Why = "The providers of mailboxes for everybody tell receivers to refuse mail in their name that others send (Gmail, Yahoo and Outlook by DMARC, docomo and others by their own filters)."
	if message.IsFreemail(d.From) {
		f.Level, f.Own = Fail, true
		f.Found = d.From + " is a provider of mailboxes for everybody: only its own servers may send in its name."
		f.Do = "Send from a domain of your own; the address at " + d.From + " may stand in reply_to."
		foreign := func(r Relay) bool { return !strings.HasSuffix(zone.Clean(r.Host), "."+d.From) }
		if len(d.Relays) > 0 && !slices.ContainsFunc(d.Relays, foreign) {
			f.Level, f.Own = Warn, false
			f.Found += " Your relay is one of them: mail arrives, but such accounts are for some hundred messages a day, and are closed for more."
		}
	}
	return []Finding{f}
}

// envelopeMX is about the return path's domain, where it is not From's.
func (d *Domain) envelopeMX(ctx context.Context) []Finding {
	const check = "envelope_mx"
	if d.Envelope == "" || d.Envelope == d.From {
		return nil
	}
	m, host, err := zone.Receives(ctx, d.Resolver, d.Envelope)
	f := d.finding(check, d.Envelope, Fail, "")
	f.Own = true
	f.Why = "Bounces go to the return path: where it cannot receive, dead addresses stay on the list, and some receivers refuse the mail itself (450 4.1.8, 550 5.1.8)."
	f.Do = "Publish an MX record that leads to the server of the bounce mailbox, or correct bounces: return_path: in mailer.yaml."
	f.Publish = []Record{{Name: d.Envelope, Type: "MX", Value: "10 mail." + d.From, Zone: d.zoneOf(ctx, d.Envelope), Note: "the server of the bounce mailbox in place of mail." + d.From}}
	switch m {
	case zone.Unclear:
		return d.unknown(check, d.Envelope, err)
	case zone.Exchanged:
		f.Level, f.Own, f.Do, f.Publish = Pass, false, "", nil
		f.Found = "Bounces to " + d.Envelope + " arrive at " + host + "."
	case zone.Implicit:
		f.Level, f.Own = Info, false
		f.Found = d.Envelope + " has no MX record: bounces go to the address of that name."
	case zone.NullMX:
		f.Found = d.Envelope + " says that it takes no mail (null MX): bounces are lost."
	case zone.Dangling:
		f.Found = "The MX of " + d.Envelope + " lead nowhere: " + host + " has no address."
	case zone.Nowhere:
		f.Found = d.Envelope + " has neither MX nor address: bounces are lost."
	case zone.Absent:
		f.Found = d.Envelope + " does not exist in the DNS: bounces are lost."
	}
	return []Finding{f}
}

// ptr is about the addresses of relays of the user's own; services see to theirs.
func (d *Domain) ptr(ctx context.Context) []Finding {
	var all []Finding
	for _, r := range d.Relays {
		if _, service := serviceOf(r.Host); service {
			continue
		}
		for _, ip := range r.Addresses {
			all = append(all, d.reverse(ctx, r, ip.Unmap()))
		}
	}
	return all
}

func (d *Domain) reverse(ctx context.Context, r Relay, ip netip.Addr) Finding {
	f := d.finding("ptr", ip.String(), Fail, "")
	f.Why = "Gmail and Microsoft want of every sending address a reverse name (PTR) that leads back to it, and refuse others (550 5.7.25, 4.7.23); many filters mistrust names that look like those of dial-up lines."
	f.Do = "The reverse name is set by whoever gave you the address, in the panel of the server or on request. It should be the name that the server says in EHLO."
	name := zone.Reverse(ip)
	hello := zone.Clean(r.Hello)
	if local(ip) {
		f.Level = Info
		f.Found = ip.String() + " is an address of a local network: receivers see another one, which is not known."
		f.Do = "Give the address that receivers see with --ip."
		return f
	}
	if hello != "" {
		f.Publish = []Record{{Name: name, Type: "PTR", Value: hello + ".", Note: "set by whoever gave you the address"}}
	}
	a := d.Resolver.Lookup(ctx, name, zone.PTR)
	if a.State == zone.Unknown {
		return d.unknown("ptr", ip.String(), a.Err)[0]
	}
	if a.Void() {
		f.Found = ip.String() + " of " + r.words() + " has no reverse name (PTR)."
		return f
	}
	var names, confirmed []string
	var unknown error
	for _, rec := range a.Records[:min(len(a.Records), 10)] {
		names = append(names, rec.Host)
		ok, err := d.leadsTo(ctx, rec.Host, ip)
		if ok {
			confirmed = append(confirmed, rec.Host)
		}
		if err != nil {
			unknown = err
		}
	}
	switch {
	case len(confirmed) == 0 && unknown != nil:
		return d.unknown("ptr", ip.String(), unknown)[0]
	case len(confirmed) == 0:
		f.Found = "The reverse name of " + ip.String() + " does not lead back to it: " + strings.Join(names, ", ") + "."
		f.Do = "Publish the address of that name, or have the reverse name changed. " + f.Do
		kind := "A"
		if ip.Is6() {
			kind = "AAAA"
		}
		f.Publish = append(f.Publish, Record{Name: names[0], Type: kind, Value: ip.String(), Zone: d.zoneOf(ctx, names[0])})
	case hello != "" && !slices.Contains(confirmed, hello):
		f.Level = Warn
		f.Found = "The reverse name of " + ip.String() + " is " + strings.Join(confirmed, ", ") + "; the server says " + hello + " in EHLO."
		f.Do = "Make the two the same: hello: of the relay in mailer.yaml, or the server's own setting, or the reverse name."
	case slices.ContainsFunc(confirmed, func(n string) bool { return generic(n, ip) }):
		f.Level = Warn
		f.Found = "The reverse name of " + ip.String() + " looks like one that a provider gave to a customer's line: " + strings.Join(confirmed, ", ") + "."
		f.Publish = nil
	default:
		f.Level, f.Do, f.Publish = Pass, "", nil
		f.Found = ip.String() + " is " + confirmed[0] + ", and that name leads back to it."
	}
	return f
}

func (d *Domain) leadsTo(ctx context.Context, host string, ip netip.Addr) (bool, error) {
	t := zone.A
	if ip.Is6() {
		t = zone.AAAA
	}
	a := d.Resolver.Lookup(ctx, host, t)
	if a.State == zone.Unknown {
		return false, fmt.Errorf("%s of %s: %s", t, host, errText(a.Err))
	}
	return slices.ContainsFunc(a.Records, func(r zone.Record) bool { return r.IP == ip }), nil
}

// local addresses are seen by no receiver. RFC 6598 is what providers put whole towns behind.
func local(ip netip.Addr) bool {
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip)
}

var lineWords = regexp.MustCompile(`(^|[.-])(dyn|dynamic|dynamicip|dhcp|pool|ppp|pppoe|x?dsl|adsl|vdsl|ftth|cable|dial(up|in)?|client|cust(omer)?s?|broadband|residential|unassigned|generic|reverse)\d*([.-]|$)`)

// generic reports whether a name looks made from its address, or like that of a line.
func generic(name string, ip netip.Addr) bool {
	if lineWords.MatchString(name) {
		return true
	}
	if ip.Is6() {
		return false
	}
	b := ip.As4()
	digits := regexp.MustCompile(`\d+`).FindAllString(name, -1)
	in := 0
	for _, octet := range b[1:] { // three of the four, in whatever order
		if slices.ContainsFunc(digits, func(s string) bool { n, err := strconv.Atoi(s); return err == nil && n == int(octet) }) {
			in++
		}
	}
	hex := fmt.Sprintf("%02x%02x%02x%02x", b[0], b[1], b[2], b[3])
	whole := fmt.Sprintf("%03d%03d%03d%03d", b[0], b[1], b[2], b[3])
	return in == 3 && len(digits) >= 3 || strings.Contains(name, hex) || strings.Contains(name, whole)
}

// list is a blocklist that is asked over the DNS (RFC 5782).
type list struct {
	name, zone string
	codes      map[byte]string // by the last number of the answer
	third      byte            // number of the answers that are listings
	bits       bool            // the last number is a sum
	site       string
}

// As of November 2026.
var (
	zen = list{name: "Spamhaus ZEN", zone: "zen.spamhaus.org", site: "https://check.spamhaus.org/", codes: map[byte]string{
		2: "SBL: a known source of spam", 3: "CSS: spam or a badly kept list was seen from it", 4: "XBL: the machine was taken over", 5: "XBL", 6: "XBL", 7: "XBL",
		9: "DROP: a network of criminals", 10: "PBL: an address that is not to send mail itself, says its provider", 11: "PBL: an address that is not to send mail itself"}}
	dbl = list{name: "Spamhaus DBL", zone: "dbl.spamhaus.org", third: 1, site: "https://check.spamhaus.org/", codes: map[byte]string{
		2: "seen in spam", 4: "phishing", 5: "malware", 6: "botnet", 102: "an honest site that was broken into, seen in spam", 103: "a shortener or redirector, seen in spam",
		104: "an honest site that was broken into, phishing", 105: "an honest site that was broken into, malware", 106: "an honest site that was broken into, botnet"}}
	surbl = list{name: "SURBL", zone: "multi.surbl.org", bits: true, site: "https://surbl.org/surbl-analysis", codes: map[byte]string{
		8: "phishing", 16: "malware", 64: "seen in spam", 128: "a site that was broken into"}}
)

// listed reads an answer: what it says of a listing, or why it says nothing.
func (l list) listed(a zone.Answer) (what []string, err error) {
	if a.State == zone.Unknown {
		return nil, fmt.Errorf("%s: %s", l.name, errText(a.Err))
	}
	for _, r := range a.Records {
		b := r.IP.Unmap().As4()
		switch {
		case b[0] != 127:
			return nil, fmt.Errorf("%s: the answer %s is none of its codes: the resolver answers for names that do not exist", l.name, r.IP)
		case b[1] == 255 && b[2] == 255, l.bits && b[3] == 1, !l.bits && b[2] == 1 && b[3] == 255:
			return nil, fmt.Errorf("%s: query refused (public resolver, or too many questions): %s", l.name, r.IP)
		case b[2] != l.third && !l.bits:
			what = append(what, "code "+r.IP.String())
		case l.bits:
			for bit := byte(1); bit != 0; bit <<= 1 {
				if text := l.codes[bit]; b[3]&bit != 0 && text != "" {
					what = append(what, text)
				}
			}
			if len(what) == 0 {
				what = append(what, "code "+r.IP.String())
			}
		case l.codes[b[3]] != "":
			what = append(what, l.codes[b[3]])
		default:
			what = append(what, "code "+r.IP.String())
		}
	}
	slices.Sort(what)
	return slices.Compact(what), nil
}

// blocklist asks for the addresses of the relays and for the domains that are in the mail.
func (d *Domain) blocklist(ctx context.Context) []Finding {
	var all []Finding
	var unknown []string
	asked, silent := 0, 0
	ask := func(l list, subject, name string) {
		asked++
		a := d.Resolver.Lookup(ctx, name+"."+l.zone, zone.A)
		what, err := l.listed(a)
		if err != nil {
			if unknown = append(unknown, Reason(err.Error())); a.State == zone.Unknown {
				silent++
			}
			return
		}
		if len(what) == 0 {
			return
		}
		f := d.finding("blocklist", subject, Fail, subject+" is on "+l.name+": "+strings.Join(what, "; ")+".")
		f.Why = "Receivers ask these lists before they take mail; Microsoft, Apple and many hosters refuse what is on them (550 5.7.1)."
		f.Do = "Find the cause first (a bought list, a form without confirmation, a machine that was broken into), then ask for removal at " + l.site + "."
		all = append(all, f)
	}
	seen := map[string]bool{}
	for _, r := range d.Relays {
		for _, ip := range r.Addresses {
			if ip = ip.Unmap(); local(ip) || seen[ip.String()] {
				continue
			}
			seen[ip.String()] = true
			name := strings.TrimSuffix(strings.TrimSuffix(zone.Reverse(ip), ".in-addr.arpa"), ".ip6.arpa")
			ask(zen, ip.String(), name)
		}
	}
	for _, domain := range d.domains() {
		ask(dbl, domain, domain)
		// SURBL lists registered domains; a walk that nobody answered leaves the name itself.
		if org := dmarc.WalkTree(ctx, d.Resolver, domain).Organizational(); org != "" && !seen[org] {
			seen[org] = true
			ask(surbl, org, org)
		}
	}
	if asked == 0 {
		return nil
	}
	if silent == asked { // then it is not the lists
		return d.unknown("blocklist", "", errors.New(unknown[0]))
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		f := d.finding("blocklist", "", Unknown, "Some blocklists gave no answer that says anything.")
		f.Why = "Blocklists do not answer public resolvers (8.8.8.8, 1.1.1.1 and others). That is no listing, and no clean bill either."
		f.Do = "Ask through a name server of your own or your provider's: --resolver, or dns: {servers: [ADDRESS]} in mailer.yaml."
		f.Detail = slices.Compact(unknown)
		all = append(all, f)
	}
	if len(all) == 0 {
		f := d.finding("blocklist", "", Pass, "Neither the addresses nor the domains are on Spamhaus or SURBL, as far as they were asked for.")
		f.Detail = append(d.domains(), d.addresses()...)
		all = append(all, f)
	}
	return all
}

// domains are those that stand in the mail.
func (d *Domain) domains() []string {
	var all []string
	add := func(name string) {
		if name = zone.Clean(name); strings.Contains(name, ".") && !slices.Contains(all, name) {
			if _, err := netip.ParseAddr(name); err != nil {
				all = append(all, name)
			}
		}
	}
	add(d.From)
	add(d.Envelope)
	for _, base := range []string{d.Tracking, d.OneClick} {
		if u, err := url.Parse(base); err == nil {
			add(u.Hostname())
		}
	}
	return all
}

func (d *Domain) addresses() []string {
	var all []string
	for _, r := range d.Relays {
		for _, ip := range r.Addresses {
			if !local(ip.Unmap()) {
				all = append(all, ip.Unmap().String())
			}
		}
	}
	return all
}
