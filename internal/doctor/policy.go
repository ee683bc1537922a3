package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"mailer/internal/dmarc"
	"mailer/internal/zone"
)

// tagged are the tags of a record such as v=STSv1; id=1.
func tagged(text string) map[string]string {
	tags := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if name, value, ok := strings.Cut(part, "="); ok {
			tags[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
	return tags
}

// policyRecord reads the one record with a version at a name. Done is the finding where that decides already.
func (d *Domain) policyRecord(ctx context.Context, check, name, version, what string) (zone.Record, []Finding) {
	a := d.Resolver.Lookup(ctx, name, zone.TXT)
	records := a.Texts(version)
	switch {
	case a.State == zone.Unknown:
		return zone.Record{}, d.unknown(check, name, a.Err)
	case len(records) == 0 && len(a.Records) > 0:
		f := d.finding(check, name, Fail, "The record does not begin with "+version+"; and counts as none (found: "+clip(a.Records[0].Text)+").")
		f.Why, f.Do = what, "Correct the record or delete it."
		return zone.Record{}, []Finding{f}
	case len(records) == 0:
		f := d.finding(check, name, Info, "There is no record. "+what)
		return zone.Record{}, []Finding{f}
	case len(records) > 1:
		f := d.finding(check, name, Fail, fmt.Sprintf("There are %d records; with more than one all count as none.", len(records)))
		f.Why, f.Do = what, "Keep one."
		return zone.Record{}, []Finding{f}
	}
	return records[0], nil
}

// largest is how much of a policy or a picture is read.
const largest = 64 << 10

// mtaSTS is about mail to the domain: answers and bounces.
func (d *Domain) mtaSTS(ctx context.Context) []Finding {
	const check = "mta_sts"
	if d.From == "" {
		return nil
	}
	name := "_mta-sts." + d.From
	const what = "MTA-STS (RFC 8461) makes others encrypt mail to you: answers and bounces. It is not needed for sending."
	record, done := d.policyRecord(ctx, check, name, "v=STSv1", what)
	if done != nil {
		return done
	}
	fail := func(level Level, found, do string) []Finding {
		f := d.finding(check, d.From, level, found)
		f.Why, f.Do = what+" A broken policy can keep that mail away.", do
		return []Finding{f}
	}
	if id := tagged(record.Text)["id"]; id == "" || len(id) > 32 {
		return fail(Fail, "The record has no valid id= (found: "+clip(record.Text)+").", "Give it an id of up to 32 letters and digits, a new one for each change of the policy.")
	}
	if d.Client == nil {
		return []Finding{d.finding(check, d.From, Pass, "The record is there; the policy itself was not fetched.")}
	}
	url := "https://mta-sts." + d.From + "/.well-known/mta-sts.txt"
	status, body, err := d.fetch(ctx, url)
	switch {
	case noAnswer(err) || ctx.Err() != nil:
		return d.unknown(check, d.From, cmp.Or(ctx.Err(), err))
	case err != nil:
		return fail(Fail, "The policy cannot be fetched: "+errText(err)+".", "Serve "+url+" with a valid certificate, or delete the record.")
	case status != http.StatusOK:
		return fail(Fail, fmt.Sprintf("%s answers with status %d.", url, status), "Serve the policy there, without a redirect (RFC 8461 section 3.3), or delete the record.")
	}
	policy, mx := stsPolicy(body)
	mode := policy["mode"]
	level := Warn
	if mode == "enforce" {
		level = Fail
	}
	switch {
	case policy["version"] != "STSv1" || policy["max_age"] == "" || !slices.Contains([]string{"enforce", "testing", "none"}, mode):
		return fail(Fail, "The policy lacks version: STSv1, mode: or max_age:.", "Correct "+url+".")
	case mode != "none" && len(mx) == 0:
		return fail(level, "The policy names no mx.", "Add a line mx: for each mail server to "+url+".")
	}
	hosts := d.Resolver.Lookup(ctx, d.From, zone.MX)
	for _, h := range hosts.Records {
		if mode != "none" && !slices.ContainsFunc(mx, func(p string) bool { return stsMatches(p, h.Host) }) {
			return fail(level, "The mail server "+h.Host+" is not in the policy (mode: "+mode+").", "Add mx: "+h.Host+" to "+url+", and change id= of the record.")
		}
	}
	return []Finding{d.finding(check, d.From, Pass, "The policy is in force (mode: "+mode+").")}
}

// stsPolicy takes a policy file apart (RFC 8461 section 3.2).
func stsPolicy(body string) (values map[string]string, mx []string) {
	values = map[string]string{}
	for line := range strings.Lines(body) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key = strings.ToLower(key); {
		case !ok:
		case key == "mx":
			mx = append(mx, zone.Clean(value))
		default:
			values[key] = value
		}
	}
	return values, mx
}

// stsMatches reports whether a pattern is for a host: *. stands for one label (RFC 8461 section 4.1).
func stsMatches(pattern, host string) bool {
	rest, wild := strings.CutPrefix(pattern, "*.")
	if !wild {
		return pattern == host
	}
	_, parent, _ := strings.Cut(host, ".")
	return rest == parent
}

func (d *Domain) tlsReports(ctx context.Context) []Finding {
	const check = "tls_rpt"
	if d.From == "" {
		return nil
	}
	name := "_smtp._tls." + d.From
	record, done := d.policyRecord(ctx, check, name, "v=TLSRPTv1", "TLS reports (RFC 8460) tell when others could not send to you encrypted. They are not needed for sending.")
	if done != nil {
		for i := range done {
			if done[i].Level == Fail { // nothing is lost but reports
				done[i].Level = Warn
			}
		}
		return done
	}
	for rua := range strings.SplitSeq(tagged(record.Text)["rua"], ",") {
		if rua = strings.TrimSpace(rua); !strings.HasPrefix(rua, "mailto:") && !strings.HasPrefix(rua, "https:") {
			f := d.finding(check, name, Warn, "rua= has no mailto: or https: address (found: "+clip(record.Text)+").")
			f.Why, f.Do = "Without it nobody sends the reports (RFC 8460 section 3).", "Correct or delete the record."
			f.Publish = []Record{d.txt(ctx, name, "v=TLSRPTv1; rua=mailto:tls@"+d.From, "replace what is there")}
			return []Finding{f}
		}
	}
	return []Finding{d.finding(check, name, Pass, "Reports about encryption are asked for.")}
}

func (d *Domain) bimi(ctx context.Context) []Finding {
	const check = "bimi"
	if d.From == "" {
		return nil
	}
	const what = "BIMI shows your logo beside your mail, at Gmail, Apple, Yahoo and some others; it is not needed for sending."
	name := "default._bimi." + d.From
	a := dmarc.Discover(ctx, d.Resolver, d.From)
	if d.Resolver.Lookup(ctx, name, zone.TXT).Void() && a.Organizational != d.From {
		name = "default._bimi." + a.Organizational
	}
	record, done := d.policyRecord(ctx, check, name, "v=BIMI1", what)
	if done != nil {
		return done
	}
	tags := tagged(record.Text)
	fail := func(found, do string) []Finding {
		f := d.finding(check, name, Fail, found)
		f.Why, f.Do = what, do
		return []Finding{f}
	}
	logo, mark := tags["l"], tags["a"]
	_, hasLogo := tags["l"]
	switch {
	case hasLogo && logo == "" && mark == "":
		return []Finding{d.finding(check, name, Pass, "The domain says that it shows no logo (l= is empty).")}
	case !strings.HasPrefix(logo, "https://"):
		return fail("l= is no https address of a logo (found: "+clip(record.Text)+").", "Publish the logo as SVG (Tiny PS) under an https address, and name it in l=.")
	case mark != "" && !strings.HasPrefix(mark, "https://"):
		return fail("a= is no https address of a certificate (found: "+clip(record.Text)+").", "Name the certificate's PEM file in a=, under https.")
	case a.Known() && (a.Record == nil || a.Policy == dmarc.None || a.Record.Percent < 100 || a.Record.SP == dmarc.None):
		return fail("The logo is not shown: BIMI wants a DMARC policy of quarantine or reject, for all mail and subdomains.", "Go on to p=quarantine first: see dmarc.")
	}
	if d.Client != nil {
		if status, body, err := d.fetch(ctx, logo); noAnswer(err) || ctx.Err() != nil {
			return d.unknown(check, name, cmp.Or(ctx.Err(), err))
		} else if err != nil || status != http.StatusOK {
			return fail("The logo "+logo+" cannot be fetched"+reason(status, err)+".", "Put it back, or correct l=.")
		} else if !strings.Contains(body, "tiny-ps") {
			return fail("The logo "+logo+` is not SVG Tiny PS (baseProfile="tiny-ps").`, "Convert it: receivers show no other kind.")
		}
	}
	f := d.finding(check, name, Pass, "The logo's record is right.")
	if mark == "" {
		f.Level = Info
		f.Found = "The logo's record is right, without a certificate (a=): Gmail and Apple show it only with one."
	}
	return []Finding{f}
}

func reason(status int, err error) string {
	if err != nil {
		return ": " + err.Error()
	}
	return fmt.Sprintf(": status %d", status)
}

// fetch gets a small file. A redirect is not followed: it is a status like others.
func (d *Domain) fetch(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := d.direct().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, largest))
	return resp.StatusCode, string(text), err
}

// direct is the client without following redirects.
func (d *Domain) direct() *http.Client {
	c := *d.Client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// Who counts mail by the day, and what they want of those who send so much.
var bulkProviders = map[string]string{"gmail": "Gmail", "yahoo": "Yahoo", "microsoft": "Microsoft (outlook.com and its kin)"}

const (
	bulkFrom = 5000 // "close to 5,000 or more in 24 hours" at Gmail, counted for the domain and all below it
	bulkNear = 4000
)

// bulk looks at the other findings: whoever sends much must pass all of them.
func (d *Domain) bulk(all []Finding) []Finding {
	if len(d.Daily) == 0 {
		return nil
	}
	failed, unknown := bulkNeeds(all, d.OneClick != "")
	var found []Finding
	for _, p := range slices.Sorted(maps.Keys(bulkProviders)) {
		n := d.Daily[p]
		if n == 0 {
			continue
		}
		f := d.finding("bulk", bulkProviders[p], Pass, fmt.Sprintf("The fullest day of %s had %d messages; from 5,000 a day on you are a bulk sender there.", d.From, n))
		switch {
		case n < bulkNear:
			f.Level = Info
		case len(failed) > 0 && n >= bulkFrom:
			f.Level = Fail
			f.Found = fmt.Sprintf("The fullest day of %s had %d messages, and what is wanted of bulk senders is not all there: %s.", d.From, n, strings.Join(failed, ", "))
		case len(failed) > 0:
			f.Level = Warn
			f.Found = fmt.Sprintf("The fullest day of %s had %d messages, close to 5,000, and what is wanted of bulk senders is not all there: %s.", d.From, n, strings.Join(failed, ", "))
		case len(unknown) > 0:
			f.Level = Unknown
			f.Found = fmt.Sprintf("The fullest day of %s had %d messages; whether all that is wanted of bulk senders is there is not known: %s.", d.From, n, strings.Join(unknown, ", "))
		default:
			f.Found = fmt.Sprintf("The fullest day of %s had %d messages, and all that is wanted of bulk senders is there.", d.From, n)
		}
		f.Why = bulkWhy[p]
		if f.Level.Worse(Info) {
			f.Do = "Mend what the findings named there say."
		}
		found = append(found, f)
	}
	return found
}

var bulkWhy = map[string]string{
	"gmail":     "From about 5,000 messages in 24 hours (the domain and its subdomains together) Gmail wants SPF, DKIM, an aligned DMARC pass and one-click unsubscribe, and never takes that back; others are refused with 4.7.x and 5.7.x.",
	"yahoo":     "Yahoo wants SPF, DKIM, an aligned DMARC pass and one-click unsubscribe of bulk senders.",
	"microsoft": "Above 5,000 messages a day (subdomains count) Microsoft wants SPF, DKIM and an aligned DMARC pass, and refuses others with 550 5.7.515.",
}

// bulkNeeds are the checks that bulk senders must pass, by how they went.
func bulkNeeds(all []Finding, oneClick bool) (failed, unknown []string) {
	of := map[string]Level{}
	for _, f := range all {
		if was, ok := of[f.Check]; !ok || f.Level.Worse(was) {
			of[f.Check] = f.Level
		}
	}
	for _, check := range []string{"spf", "dkim_record", "dkim_alignment", "dkim_signature", "dmarc", "dmarc_alignment", "one_click"} {
		level, ran := of[check]
		switch {
		case check == "one_click" && !oneClick:
			failed = append(failed, check)
		case level == Fail:
			failed = append(failed, check)
		case level == Unknown || !ran && check != "dkim_signature":
			unknown = append(unknown, check)
		}
	}
	return failed, unknown
}
