package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/dkim"
	"mailer/internal/dmarc"
	"mailer/internal/spf"
	"mailer/internal/zone"
)

func (d *Domain) dmarc(ctx context.Context) []Finding {
	const check = "dmarc"
	if d.From == "" {
		return nil
	}
	a := dmarc.Discover(ctx, d.Resolver, d.From)
	own := a.Steps[0]
	if own.Answer.State == zone.Unknown {
		return d.unknown(check, d.From, own.Answer.Err)
	}
	f := d.finding(check, d.From, Fail, "")
	f.Why = whyDMARC
	for _, s := range a.Steps {
		if s.Record != nil {
			f.Detail = append(f.Detail, "_dmarc."+s.Domain+": "+clip(s.Record.Text))
			f.Detail = append(f.Detail, evidence(s.Answer)...)
		}
	}
	switch {
	case own.Many > 1:
		f.Found = fmt.Sprintf("There are %d DMARC records at _dmarc.%s: receivers take none of them (RFC 9989 section 4.10).", own.Many, d.From)
		f.Do = "Keep one and delete the others."
		for _, r := range own.Answer.Texts("v=DMARC1") {
			f.Detail = append(f.Detail, "found: "+clip(r.Text))
		}
	case own.Near != "":
		f.Found = "The record at _dmarc." + d.From + " is not seen as one: it does not begin with v=DMARC1; (found: " + clip(own.Near) + ")."
		f.Do = "Correct the record: v=DMARC1 first, without quotation marks, tags parted by semicolons."
		f.Publish = []Record{d.txt(ctx, "_dmarc."+d.From, "v=DMARC1; p=none; rua=mailto:dmarc@"+a.Organizational, "replace what is there")}
	case own.Record != nil && !own.Record.Applies():
		f.Found = "Receivers leave the record at _dmarc." + d.From + " out of account: " + strings.Join(own.Record.Faults, "; ") + "."
		f.Do = "Correct the record (RFC 9989 section 4.10.1)."
		f.Publish = []Record{d.txt(ctx, "_dmarc."+d.From, "v=DMARC1; p=none; rua=mailto:dmarc@"+a.Organizational, "replace what is there")}
	case a.Record != nil:
		return []Finding{d.judgePolicy(ctx, f, a)}
	case a.Err != nil:
		return d.unknown(check, d.From, a.Err)
	default:
		f.Found = "There is no DMARC record at _dmarc." + d.From + ", nor above it."
		f.Do = "Publish the record below: p=none changes nothing about your mail, and the reports show who sends in your name. When they show that all your own mail passes: p=quarantine, later p=reject."
		f.Publish = []Record{d.txt(ctx, "_dmarc."+d.From, "v=DMARC1; p=none; rua=mailto:dmarc@"+a.Organizational, "the mailbox dmarc@"+a.Organizational+" must exist; it gets a report a day from each large receiver")}
	}
	return []Finding{f}
}

// judgePolicy judges a record that holds.
func (d *Domain) judgePolicy(ctx context.Context, f Finding, a dmarc.Applied) Finding {
	r := a.Record
	f.Level = Pass
	f.Found = fmt.Sprintf("The policy for mail that fails is %s (%s= at _dmarc.%s).", a.Policy, a.Tag, a.At)
	var why, do []string
	warn := func(found, reason, what string) {
		f.Level, f.Found = Warn, f.Found+" "+found
		why = append(why, reason)
		if what != "" {
			do = append(do, what)
		}
	}
	if f.Publish == nil && (a.Policy == dmarc.None || r.Percent < 100 || len(r.RUA) == 0 || len(r.Faults) > 0 || r.Test) {
		f.Publish = []Record{d.txt(ctx, "_dmarc."+a.At, nextRecord(a), "replace what is there")}
	}
	switch {
	case len(r.Faults) > 0 && !r.HasP:
		warn("The record has mistakes, and counts as p=none: "+strings.Join(r.Faults, "; ")+".", "What receivers cannot read they leave out; with a wrong policy nothing but p=none is left (RFC 9989 section 4.10.1).", "Correct the record.")
	case len(r.Faults) > 0:
		warn("A part of the record is left out of account: "+strings.Join(r.Faults, "; ")+".", "What receivers cannot read they leave out (RFC 9989 section 4.7).", "Correct the record.")
	case !r.HasP && a.Tag == "p":
		warn("The record has no p=.", "Receivers that still go by RFC 7489 leave such a record out of account.", "Add p=none.")
	}
	if a.Asked == dmarc.None && !r.Test {
		warn("That protects nobody from mail in your name.", "p=none meets what Gmail, Yahoo and Microsoft want today; forged mail in your name still arrives, and harms your reputation.",
			"Read the reports for some weeks; when all your own mail passes, go to p=quarantine, later to p=reject.")
	}
	if r.Test {
		warn("It is marked as a test (t=y), so that "+string(a.Asked)+" counts as "+string(a.Policy)+".", "Under t=y receivers apply the policy one level softer (RFC 9989 section 4.7).", "Take t=y out when the reports show that all your mail passes.")
	}
	if r.Percent < 100 {
		warn(fmt.Sprintf("pct=%d: older receivers apply it to a part of the mail only.", r.Percent), "RFC 9989 took pct out: newer receivers apply the policy to all mail. BIMI wants it absent or 100.", "Take pct out.")
	} else if len(r.Removed) > 0 {
		warn("It has tags that RFC 9989 took out: "+strings.Join(r.Removed, ", ")+".", "Newer receivers do not read them.", "Take them out.")
	}
	if r.SP == dmarc.None && r.P.Stricter(dmarc.None) && a.Tag != "sp" {
		warn("sp=none leaves all subdomains open.", "Whoever forges mail takes a subdomain then.", "Take sp=none out, or set it to the same as p=.")
	}
	if len(r.RUA) == 0 {
		warn("Nobody gets the reports: there is no rua=.", "Without the daily reports you do not see who sends in your name, and whether your own mail passes.", "Add rua=mailto: and a mailbox.")
	}
	f.Why, f.Do = strings.Join(why, " "), strings.Join(do, " ")
	return f
}

// nextRecord is the record that would be right, one step further on the way from none to quarantine to reject.
func nextRecord(a dmarc.Applied) string {
	r := a.Record
	next := map[dmarc.Policy]dmarc.Policy{dmarc.None: dmarc.Quarantine, dmarc.Quarantine: dmarc.Quarantine, dmarc.Reject: dmarc.Reject}[r.P]
	if !r.HasP || len(r.RUA) == 0 && r.P == dmarc.None {
		next = dmarc.None // nobody has seen reports yet
	}
	tags := []string{"v=DMARC1", "p=" + string(next)}
	if r.SP != "" && r.SP != dmarc.None {
		tags = append(tags, "sp="+string(r.SP))
	}
	if r.NP != "" {
		tags = append(tags, "np="+string(r.NP))
	}
	if r.PSD != "u" {
		tags = append(tags, "psd="+r.PSD)
	}
	if r.StrictDKIM {
		tags = append(tags, "adkim=s")
	}
	if r.StrictSPF {
		tags = append(tags, "aspf=s")
	}
	tags = append(tags, "rua="+uriList(r.RUA, "mailto:dmarc@"+a.Organizational))
	if len(r.RUF) > 0 {
		tags = append(tags, "ruf="+uriList(r.RUF, ""))
	}
	return strings.Join(tags, "; ")
}

func uriList(uris []dmarc.URI, otherwise string) string {
	var all []string
	for _, u := range uris {
		all = append(all, u.Text)
	}
	if len(all) == 0 {
		return otherwise
	}
	return strings.Join(all, ",")
}

// way is how one of the two proofs stands for a From.
type way int

const (
	no way = iota
	perhaps
	yes
)

// aligned is whether an identifier speaks for From. Perhaps: one is below the other, and the DMARC record is below the upper one.
// RFC 9989 takes them for two Organizational Domains then, receivers that go by the public suffix list for one. Without any record
// there is nothing that parts them.
func (d *Domain) aligned(ctx context.Context, identifier string, strict bool) (way, error) {
	ok, err := dmarc.Aligned(ctx, d.Resolver, d.From, identifier, strict)
	lower, upper := d.From, zone.Clean(identifier)
	if len(lower) < len(upper) {
		lower, upper = upper, lower
	}
	switch {
	case err != nil:
		return perhaps, err
	case ok:
		return yes, nil
	case strict || upper == "" || !strings.HasSuffix(lower, "."+upper):
		return no, nil
	}
	w := yes
	for _, s := range dmarc.WalkTree(ctx, d.Resolver, lower).Steps {
		switch {
		case s.Record == nil:
		case s.Record.PSD != "u":
			return no, nil
		default:
			w = perhaps
		}
	}
	return w, nil
}

// parted tells of domains that are perhaps aligned, and what makes it sure.
func (d *Domain) parted(ctx context.Context, f *Finding, identifier string) {
	upper := zone.Clean(identifier)
	if len(d.From) < len(upper) {
		upper = d.From
	}
	f.Level = Warn
	f.Found = identifier + " and From (" + d.From + ") are aligned only for receivers that go by the public suffix list: " + upper + " has no DMARC record."
	f.Why = "RFC 9989 finds what belongs together by the DMARC records above it. " + whyAligned
	f.Do = "Publish a DMARC record at _dmarc." + upper + "."
	f.Publish = []Record{d.txt(ctx, "_dmarc."+upper, "v=DMARC1; p=none; rua=mailto:dmarc@"+upper, "the mailbox dmarc@"+upper+" must exist")}
}

// dmarcAlignment says by what a message of this From passes.
func (d *Domain) dmarcAlignment(ctx context.Context) []Finding {
	const check = "dmarc_alignment"
	if d.From == "" || len(d.Keys) == 0 && d.Envelope == "" {
		return nil
	}
	a := dmarc.Discover(ctx, d.Resolver, d.From)
	if !a.Known() {
		return d.unknown(check, d.From, a.Err)
	}
	strict := a.Record
	if strict == nil {
		strict = &dmarc.Record{}
	}
	byDKIM, dkimLine := d.wayOfDKIM(ctx, strict.StrictDKIM)
	bySPF, spfLine := d.wayOfSPF(ctx, strict.StrictSPF)
	f := d.finding(check, d.From, Pass, "")
	f.Detail = []string{dkimLine, spfLine}
	switch {
	case byDKIM == yes && bySPF == yes:
		f.Found = "Mail of this From passes by DKIM and by SPF."
	case byDKIM == yes && bySPF == perhaps:
		f.Found = "Mail of this From passes by DKIM; whether by SPF too is not known."
	case byDKIM == yes:
		f.Found = "Mail of this From passes by DKIM alone."
	case bySPF == yes && byDKIM == perhaps:
		f.Found = "Mail of this From passes by SPF; whether by DKIM too is not known."
	case bySPF == yes:
		f.Level = Warn
		f.Found = "Mail of this From passes by SPF alone."
		f.Why = "SPF fails for whatever is forwarded, and then nothing is left. " + whyAuthenticate
		f.Do = "Sign with a key of " + d.From + ": see dkim_record."
	case byDKIM == perhaps || bySPF == perhaps:
		f.Level = Unknown
		f.Found = "Whether mail of this From passes is not known."
		f.Why, f.Do = whyAligned, "See dkim_record and spf."
	default:
		f.Level, f.Own = Fail, a.Policy.Stricter(dmarc.None) && !d.serviceSigns()
		f.Found = "Mail of this From passes neither by DKIM nor by SPF."
		f.Why = whyAligned
		if a.Policy.Stricter(dmarc.None) {
			f.Why = fmt.Sprintf("The domain itself asks receivers for p=%s: this mail is %s. ", a.Policy, map[dmarc.Policy]string{dmarc.Quarantine: "put into the spam folder", dmarc.Reject: "refused"}[a.Policy]) + whyAligned
		}
		f.Do = "Sign with a key of " + d.From + " whose record is published (see dkim_record), and take a return path in " + d.From + " (see spf_alignment)."
		if ok, _ := dmarc.Aligned(ctx, d.Resolver, d.From, d.Envelope, strict.StrictSPF); ok && d.Envelope != "" {
			f.Do = "Sign with a key of " + d.From + " whose record is published (see dkim_record), and mend the SPF record of the return path (see spf)."
		}
	}
	return []Finding{f}
}

// serviceSigns reports whether a relay is a service, which signs in the sender's name where that is set up there.
func (d *Domain) serviceSigns() bool {
	return slices.ContainsFunc(d.Relays, func(r Relay) bool { _, known := serviceOf(r.Host); return known })
}

// wayOfDKIM is yes when one key is aligned and its record right.
func (d *Domain) wayOfDKIM(ctx context.Context, strict bool) (way, string) {
	if len(d.Keys) == 0 {
		return perhaps, "DKIM: no key is known"
	}
	best, line := no, ""
	for _, k := range d.Keys {
		aligned, err := d.aligned(ctx, k.Domain, strict)
		p := dkim.Lookup(ctx, d.Resolver, k.Domain, k.Selector)
		w, said := no, ""
		switch {
		case err != nil || p.Answer.State == zone.Unknown:
			w, said = perhaps, "the DNS gave no answer"
		case aligned == no:
			said = "it is not aligned with From"
		case p.Err != nil:
			said = p.Err.Error()
		case p.Key.Revoked:
			said = "the key is revoked"
		case k.Err != nil || k.Private != nil && !p.Key.Matches(k.Private):
			said = "the record is not that of the key that signs"
		case p.Key.Test: // most verifiers pass over the flag
			w, said = perhaps, "aligned; the key is marked as a test (t=y)"
		case aligned == perhaps:
			w, said = perhaps, "aligned for receivers that go by the public suffix list only"
		default:
			w, said = yes, "aligned, and the record is right"
		}
		if line == "" || w > best {
			best, line = w, "DKIM: d="+k.Domain+", s="+k.Selector+": "+said
		}
	}
	return best, line
}

// wayOfSPF is yes when the return path is aligned and its record covers every relay.
func (d *Domain) wayOfSPF(ctx context.Context, strict bool) (way, string) {
	if d.Envelope == "" {
		return perhaps, "SPF: the domain of the return path is not known"
	}
	line := "SPF: return path in " + d.Envelope + ": "
	aligned, err := d.aligned(ctx, d.Envelope, strict)
	if err != nil {
		return perhaps, line + "the DNS gave no answer"
	}
	if aligned == no {
		return no, line + "it is not aligned with From"
	}
	a := d.Resolver.Lookup(ctx, d.Envelope, zone.TXT)
	switch {
	case a.State == zone.Unknown:
		return perhaps, line + "the DNS gave no answer"
	case len(spf.Select(a)) == 0:
		return no, line + "aligned, but there is no SPF record"
	case len(spf.Select(a)) > 1:
		return no, line + fmt.Sprintf("aligned, but there are %d SPF records, and one must be", len(spf.Select(a)))
	}
	tried := 0
	for _, r := range d.Relays {
		for _, ip := range r.Addresses {
			tried++
			switch res := d.check(ctx, r, ip); res.Verdict {
			case spf.Pass:
			case spf.TempError:
				return perhaps, line + "the DNS gave no answer"
			default:
				return no, line + fmt.Sprintf("aligned, but %s for %s: see spf", res.Verdict, ip)
			}
		}
	}
	if tried == 0 {
		return perhaps, line + "aligned; from which addresses the relay sends is not known"
	}
	if aligned == perhaps {
		return perhaps, line + "aligned for receivers that go by the public suffix list only"
	}
	return yes, line + "aligned, and it covers the relay"
}

func (d *Domain) dmarcReports(ctx context.Context) []Finding {
	const check = "dmarc_reports"
	if d.From == "" {
		return nil
	}
	a := dmarc.Discover(ctx, d.Resolver, d.From)
	if a.Record == nil || len(a.Record.RUA)+len(a.Record.RUF) == 0 {
		return nil // dmarc has said so, or does not know
	}
	var all []Finding
	uris := append(append([]dmarc.URI{}, a.Record.RUA...), a.Record.RUF...)
	authorized, unknown := dmarc.Authorizations(ctx, d.Resolver, a.At, uris)
	seen := map[string]bool{}
	for _, u := range authorized {
		if u.OK || seen[u.Name] {
			continue
		}
		seen[u.Name] = true
		f := d.finding(check, u.URI.Address, Fail, "Reports to "+u.URI.Address+" are not sent: "+u.URI.Domain()+" does not say that it takes reports about "+a.At+".")
		f.Why = "Without that consent receivers send no reports to another domain (RFC 9990 section 4), so that anybody could be flooded with them."
		f.Do = "Ask whoever runs " + u.URI.Domain() + " to publish the record below, or take an address in " + a.Organizational + "."
		f.Publish = []Record{d.txt(ctx, u.Name, "v=DMARC1;", "in the DNS of "+u.URI.Domain())}
		all = append(all, f)
	}
	for _, u := range authorized {
		domain := u.URI.Domain()
		if domain == "" || seen[domain] {
			continue
		}
		seen[domain] = true
		if mx := d.Resolver.Lookup(ctx, domain, zone.MX); mx.State == zone.Missing || len(mx.Records) > 0 && mx.Records[0].Host == "" {
			f := d.finding(check, u.URI.Address, Warn, "Nobody can receive reports at "+u.URI.Address+": "+domain+" takes no mail.")
			f.Why = "Without the daily reports you do not see who sends in your name."
			f.Do = "Put an address that exists into rua= of _dmarc." + a.At + "."
			all = append(all, f)
		}
	}
	if unknown != nil {
		all = append(all, d.unknown(check, d.From, unknown)...)
	}
	if len(all) > 0 {
		return all
	}
	f := d.finding(check, d.From, Pass, "Reports go to "+uriList(uris, "")+".")
	for _, u := range authorized {
		if u.Name != "" && u.OK {
			f.Detail = append(f.Detail, u.Name+" gives the consent")
		}
	}
	return []Finding{f}
}
