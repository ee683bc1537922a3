package doctor

import (
	"context"
	"crypto"
	"net/http"
	"net/netip"
	"strings"

	"mailer/internal/message"
	"mailer/internal/zone"
)

// Domain is what the checks of a From domain need to know. What is empty is not checked.
type Domain struct {
	Resolver zone.Resolver
	Client   *http.Client // for the checks that ask web servers; nil: they are left out

	From     string           // the domain of From, in ASCII
	Envelope string           // the domain of the return path; often the same
	Keys     []Key            // that sign
	Relays   []Relay          // that carry mail of this From
	Tracking string           // https base of links and pixels
	OneClick string           // https base of one-click unsubscribe
	Daily    map[string]int64 // messages in the fullest 24 hours, by provider

	Volume func(context.Context) (map[string]int64, error) // counts Daily, where that takes time
}

// Key is a DKIM key that signs.
type Key struct {
	Domain, Selector string
	Private          crypto.Signer // nil: only the record can be looked at
	File             string
	Err              error // why the file gives no key
}

// Relay is what is known of a relay that the mail leaves through.
type Relay struct {
	Name, Host string
	Hello      string       // the name in EHLO, when it is known and the relay is the user's own
	Addresses  []netip.Addr // from which it sends, as far as they are known
}

// words names it in a sentence. Addresses that belong to none of mailer.yaml go by the flag that gave them.
func (r Relay) words() string {
	if strings.HasPrefix(r.Name, "--") {
		return r.Name
	}
	return "the relay " + r.Name
}

// Check runs all checks of a domain, side by side, and returns what they found in the order of the checks.
func (d *Domain) Check(ctx context.Context) []Finding {
	checks := []func(context.Context) []Finding{
		d.fromDomain, d.freemail, d.envelopeMX,
		d.spf, d.spfAlignment, d.ptr, d.blocklist,
		d.dkimRecord, d.dkimAlignment, d.dkimSignature,
		d.dmarc, d.dmarcAlignment, d.dmarcReports,
		d.oneClick, d.trackingHost,
		d.mtaSTS, d.tlsReports, d.bimi,
	}
	if message.IsFreemail(d.From) { // what stands in its DNS is its owner's matter, and nothing for the user to publish
		checks = []func(context.Context) []Finding{d.freemail, d.ptr, d.blocklist, d.oneClick, d.trackingHost}
		if d.Envelope != d.From {
			checks = append(checks, d.envelopeMX)
		}
	}
	e := *d
	var failed error
	if d.Volume != nil {
		checks = append(checks, func(ctx context.Context) []Finding { e.Daily, failed = d.Volume(ctx); return nil })
	}
	found := sideBySide(ctx, checks)
	if failed != nil {
		f := d.finding("bulk", d.From, Unknown, "How much was sent in a day could not be counted: "+failed.Error()+".")
		f.Why = bulkWhy["gmail"]
		found = append(found, f)
	}
	return append(found, e.bulk(found)...)
}

// Who asks for what, as of November 2026: Google's sender guidelines (support.google.com/mail/answer/81126), Yahoo's
// (senders.yahooinc.com/best-practices) and Microsoft's for outlook.com (since 5 May 2025).
const (
	whyAuthenticate = "Gmail takes no mail without SPF or DKIM. Of those who send 5,000 messages a day Gmail, Yahoo and Microsoft want both, and Microsoft refuses the rest with 550 5.7.515."
	whyDMARC        = "Gmail, Yahoo and Microsoft want a DMARC record (p=none is enough) of everybody who sends them 5,000 messages a day; docomo shows its readers a warning where there is none."
	whyAligned      = "DMARC passes when SPF or DKIM passes for a domain that is aligned with From. Gmail, Yahoo and Microsoft want that of bulk senders; docomo shows a warning when DMARC fails."
	whyOneClick     = "Gmail and Yahoo want one-click unsubscribe (RFC 8058) in marketing mail of bulk senders, and that it is honoured within two days."
	doAsk           = "Nothing is known to be wrong. Try again; if it stays so, ask whoever runs the name servers, or try others with --resolver."
)

// finding begins a finding of the area.
func (d *Domain) finding(check, subject string, level Level, found string) Finding {
	return Finding{Area: "domain", Check: check, Subject: subject, Level: level, Found: found}
}

// unknown is the finding of a check to which the DNS gave no answer.
func (d *Domain) unknown(check, subject string, err error) []Finding {
	f := d.finding(check, subject, Unknown, "The DNS gave no answer that says anything: "+errText(err)+".")
	f.Why = "A name server that fails or is silent says nothing about the record: receivers try again later, and so should you."
	f.Do = doAsk
	return []Finding{f}
}

func errText(err error) string {
	if err == nil {
		return "nobody answered"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ") // joined errors
}

// txt is a TXT record to publish.
func (d *Domain) txt(ctx context.Context, name, value, note string) Record {
	return Record{Name: name, Type: "TXT", Value: value, Strings: message.SplitTXT(value), Zone: d.zoneOf(ctx, name), Note: note}
}

// zoneOf is the zone that holds a name: the one with an SOA record, or the last two labels where the DNS does not tell.
func (d *Domain) zoneOf(ctx context.Context, name string) string {
	for {
		_, parent, ok := strings.Cut(name, ".")
		if !ok || !strings.Contains(parent, ".") {
			return name
		}
		if name = parent; !strings.HasPrefix(name, "_") && d.Resolver.Lookup(ctx, name, zone.SOA).State == zone.Found {
			return name
		}
	}
}
