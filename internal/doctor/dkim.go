package doctor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mailer/internal/campaign"
	"mailer/internal/dkim"
	"mailer/internal/dmarc"
	"mailer/internal/message"
	"mailer/internal/zone"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// commonSelectors are looked for when nobody says which key signs: those that services and guides use.
var commonSelectors = []string{"default", "dkim", "mail", "google", "selector1", "selector2", "s1", "s2", "k1", "k2", "k3", "key1", "smtp", "mandrill", "pm", "mx", "20230601"}

func (d *Domain) dkimRecord(ctx context.Context) []Finding {
	const check = "dkim_record"
	if d.From == "" && len(d.Keys) == 0 {
		return nil
	}
	if len(d.Keys) == 0 {
		return d.searchKeys(ctx)
	}
	var all []Finding
	for _, k := range d.Keys {
		if k.Err != nil {
			f := d.finding(check, dkim.Name(k.Domain, k.Selector), Fail, "The key "+k.File+" cannot be read: "+errText(k.Err)+".")
			f.Why, f.Own = "Without it no message is signed. "+whyAuthenticate, true
			f.Do = "Put the file back, or make a new key with mailer dkim keygen under a new selector."
			all = append(all, f)
			continue
		}
		all = append(all, d.judgeKey(ctx, k, dkim.Lookup(ctx, d.Resolver, k.Domain, k.Selector))...)
	}
	if f, only := d.onlyEd25519(); only {
		all = append(all, f)
	}
	return all
}

// searchKeys looks where keys commonly are.
func (d *Domain) searchKeys(ctx context.Context) []Finding {
	const check = "dkim_record"
	answers := make([]zone.Answer, len(commonSelectors))
	var asked sync.WaitGroup
	for i, s := range commonSelectors {
		asked.Go(func() { answers[i] = d.Resolver.Lookup(ctx, dkim.Name(d.From, s), zone.TXT) })
	}
	asked.Wait()
	var all []Finding
	var silent []Finding
	for i, s := range commonSelectors {
		switch answers[i].State {
		case zone.Found:
			// What stands there may be an old key that was revoked, or a wildcard's: that says nothing about the key that signs.
			if p := dkim.Lookup(ctx, d.Resolver, d.From, s); p.Err == nil && p.Key != nil && !p.Key.Revoked {
				all = append(all, d.judgeKey(ctx, Key{Domain: d.From, Selector: s}, p)...)
			}
		case zone.Unknown:
			silent = d.unknown(check, d.From, answers[i].Err)
		}
	}
	if len(all) > 0 {
		return all
	}
	if silent != nil {
		return silent
	}
	f := d.finding(check, d.From, Unknown, "No DKIM key is known: none is in mailer.yaml, none was named, and none is published under the usual selectors.")
	f.Why = whyAuthenticate
	f.Do = "Make a key with mailer dkim keygen; or, where the relay signs for you, name the selector that its DKIM-Signature has (s=) with --selector."
	return []Finding{f}
}

// onlyEd25519 is the case that all keys that sign are of the kind that the large receivers do not verify.
func (d *Domain) onlyEd25519() (Finding, bool) {
	for _, k := range d.Keys {
		if k.Private == nil {
			return Finding{}, false
		}
		if _, ok := k.Private.Public().(ed25519.PublicKey); !ok {
			return Finding{}, false
		}
	}
	f := d.finding("dkim_record", d.Keys[0].Domain, Warn, "Only Ed25519 keys sign.")
	f.Why = "Gmail and Microsoft do not verify Ed25519 signatures (RFC 8463): to them the mail is not signed. " + whyAuthenticate
	f.Do = "Make an RSA key beside it: mailer dkim keygen."
	return f, true
}

func (d *Domain) judgeKey(ctx context.Context, k Key, p dkim.Published) []Finding {
	f := d.finding("dkim_record", p.Name, Fail, "")
	f.Why, f.Own = whyAuthenticate, k.Private != nil
	f.Detail = evidence(p.Answer)
	var bad *dkim.Error
	switch {
	case p.Answer.State == zone.Unknown:
		return d.unknown(f.Check, f.Subject, p.Answer.Err)
	case errors.Is(p.Err, dkim.ErrNone):
		d.noKey(ctx, &f, k, p)
		return []Finding{f}
	case errors.As(p.Err, &bad):
		f.Found = "The key record is broken: " + bad.What + "."
		f.Do = bad.Do
		f.Detail = append(f.Detail, "found: "+clip(p.Key.Text))
	case p.Key.Revoked:
		f.Found = "The key is revoked: its record says p= and nothing behind it (RFC 6376 section 3.6.1)."
		f.Do = "Sign with the key that took its place, or publish this one again if that was a mistake."
	case k.Private != nil && !p.Key.Matches(k.Private):
		f.Found = "The record is another key's: it does not match " + keyFile(k) + ", so that every signature fails."
		f.Do = "Publish the record of the key that signs, or sign with the key that is published. A new key wants a new selector."
		f.Detail = append(f.Detail, "found: "+clip(p.Key.Text))
	default:
		f.Own = false
		return []Finding{weakKey(f, p)}
	}
	f.Publish = d.keyRecord(ctx, k, p.Name, "replace what is there")
	if len(f.Publish) > 0 {
		f.Do = strings.TrimSpace(f.Do + " The right record is below.")
	}
	return []Finding{f}
}

func (d *Domain) noKey(ctx context.Context, f *Finding, k Key, p dkim.Published) {
	f.Publish = d.keyRecord(ctx, k, p.Name, "")
	f.Do = "Publish the record that mailer dkim show prints, and wait until it can be seen."
	if k.Private == nil {
		f.Do = "Ask whoever signs (the relay) for the record, and publish it."
	}
	switch {
	case p.Stray != "":
		f.Found = "There is no key record at " + p.Name + "; it is at " + p.Stray + ", where nobody looks for it."
		f.Do = "Move it. Many panels add the zone's name themselves: there only the part before it is typed in."
	case len(p.Answer.Aliases) > 0:
		f.Found = "The CNAME at " + p.Name + " leads to " + p.Answer.Aliases[len(p.Answer.Aliases)-1] + ", which has no key record."
		f.Do = "Ask the service for the name that it leads to now, and correct the CNAME."
	case p.Answer.State == zone.Empty:
		f.Found = "There is no key record at " + p.Name + ": the name exists, without a TXT record."
	default:
		f.Found = "There is no key record at " + p.Name + "."
	}
}

// weakKey judges a record that verifiers take.
func weakKey(f Finding, p dkim.Published) Finding {
	key := p.Key
	f.Level, f.Why = Pass, ""
	f.Found = fmt.Sprintf("The record is there: %s, %d bits.", strings.ToUpper(key.Kind[:1])+key.Kind[1:], key.Bits)
	if key.Kind == "rsa" {
		f.Found = fmt.Sprintf("The record is there: RSA, %d bits.", key.Bits)
	}
	var why, do []string
	warn := func(found, reason, what string) {
		f.Level, f.Found = Warn, strings.TrimSuffix(f.Found, ".")+"; "+found+"."
		why, do = append(why, reason), append(do, what)
	}
	switch {
	case key.Kind == "rsa" && key.Bits < dkim.GoodBits:
		warn("that is short", "Signers should use 2048 bits or more (RFC 8301 section 3.2); Gmail recommends 2048.", "Make a key of 2048 bits under a new selector: mailer dkim keygen.")
	case key.Bits > dkim.MaxBits:
		warn("that is more than verifiers need to take", "Verifiers need to take no more than 4096 bits (RFC 8301 section 3.2).", "Make a key of 2048 bits under a new selector: mailer dkim keygen.")
	}
	if key.Test {
		warn("it is marked as a test (t=y)", "Under t=y receivers may treat signed mail as if it were not signed (RFC 6376 section 3.6.1).", "Take t=y out of the record.")
	}
	for _, odd := range key.Oddities {
		if strings.HasPrefix(odd, "v=") {
			f.Detail = append(f.Detail, odd)
			continue
		}
		warn(odd, "What one verifier forgives another does not.", "Publish the record that mailer dkim show prints.")
	}
	if len(key.Hashes) == 0 {
		f.Detail = append(f.Detail, "It has no h=; h=sha256 would say that older hashes are not to be taken. Nobody asks for it.")
	}
	if ttl := p.Answer.TTL(); ttl > 24*time.Hour {
		warn(fmt.Sprintf("its TTL is %s", ttl), "A key that must be withdrawn stays in caches as long as its TTL says.", "Set the TTL to an hour, or a day at most.")
	}
	f.Why, f.Do = strings.Join(why, " "), strings.Join(do, " ")
	return f
}

// keyRecord is the record of a key that we have.
func (d *Domain) keyRecord(ctx context.Context, k Key, name, note string) []Record {
	if k.Private == nil {
		return nil
	}
	value, err := message.DNSRecord(k.Private)
	if err != nil {
		return nil
	}
	return []Record{d.txt(ctx, name, value, note)}
}

func keyFile(k Key) string {
	if k.File == "" {
		return "the key that signs"
	}
	return k.File
}

// evidence is how an answer came about, and how long it is kept.
func evidence(a zone.Answer) []string {
	var all []string
	from := a.Name
	for _, to := range a.Aliases {
		all = append(all, from+" is a CNAME of "+to)
		from = to
	}
	if a.State == zone.Found {
		all = append(all, fmt.Sprintf("%s says so; TTL %s", a.Server, a.TTL()))
	}
	return all
}

// clip keeps evidence to a line or two.
func clip(s string) string {
	if r := []rune(s); len(r) > 160 {
		return string(r[:157]) + "..."
	}
	return s
}

func (d *Domain) dkimAlignment(ctx context.Context) []Finding {
	const check = "dkim_alignment"
	if d.From == "" || len(d.Keys) == 0 {
		return nil
	}
	applied := dmarc.Discover(ctx, d.Resolver, d.From)
	if !applied.Known() {
		return d.unknown(check, d.From, applied.Err)
	}
	strict := applied.Record != nil && applied.Record.StrictDKIM
	var aligned, maybe, not []string
	var unknown error
	for _, k := range d.Keys {
		w, err := d.aligned(ctx, k.Domain, strict)
		switch {
		case err != nil:
			unknown = err
		case w == yes:
			aligned = append(aligned, k.Domain)
		case w == perhaps:
			maybe = append(maybe, k.Domain)
		default:
			not = append(not, k.Domain)
		}
	}
	not = slices.Compact(not)
	switch {
	case len(aligned) > 0:
		f := d.finding(check, d.From, Pass, "The signature's d="+aligned[0]+" is aligned with From ("+d.From+").")
		if len(not) > 0 {
			f.Detail = []string{"not aligned, and of no use to DMARC: d=" + strings.Join(not, ", d=")}
		}
		return []Finding{f}
	case unknown != nil:
		return d.unknown(check, d.From, unknown)
	case len(maybe) > 0:
		f := d.finding(check, d.From, Warn, "")
		d.parted(ctx, &f, maybe[0])
		return []Finding{f}
	}
	f := d.finding(check, d.From, Fail, "No key's d= is aligned with From ("+d.From+"): d="+strings.Join(not, ", d=")+".")
	if strict {
		f.Found += " The DMARC record of " + applied.At + " wants the very same name (adkim=s)."
	}
	f.Why, f.Own = whyAligned, d.signs()
	f.Do = "Make a key for " + d.From + " (mailer dkim keygen --domain " + d.From + ") and put it into mailer.yaml; where the relay signs, set up " + d.From + " as a domain of your own there."
	return []Finding{f}
}

// signs reports whether we sign ourselves.
func (d *Domain) signs() bool {
	return slices.ContainsFunc(d.Keys, func(k Key) bool { return k.Private != nil })
}

// sampleText is signed like a newsletter.
const sampleText = "---\nsubject: A test of the signature\n---\nHello,\n\nthis is signed and not sent.\n\n{{.unsubscribe_url}}\n"

// dkimSignature signs a message as a send would and verifies it as a receiver would, through the DNS.
func (d *Domain) dkimSignature(ctx context.Context) []Finding {
	const check = "dkim_signature"
	var signers []message.Signer
	for _, k := range d.Keys {
		if k.Private != nil && k.signs(d.From) { // the others do not sign this From
			signers = append(signers, message.Signer{Domain: k.Domain, Selector: k.Selector, Key: k.Private})
		}
	}
	if len(signers) == 0 || d.From == "" {
		return nil
	}
	raw, err := signSample(d.From, signers)
	if err != nil {
		f := d.finding(check, d.From, Fail, "A sample could not be signed: "+err.Error()+".")
		f.Why, f.Do, f.Own = whyAuthenticate, "Make a new key with mailer dkim keygen.", true
		return []Finding{f}
	}
	results, err := msgauth.VerifyWithOptions(bytes.NewReader(raw), &msgauth.VerifyOptions{LookupTXT: d.lookupTXT(ctx)})
	if err != nil {
		f := d.finding(check, d.From, Fail, "The signature of a sample cannot be read: "+err.Error()+".")
		f.Why, f.Do, f.Own = whyAuthenticate, "Make a new key with mailer dkim keygen.", true
		return []Finding{f}
	}
	var all []Finding
	for i, v := range results {
		subject := dkim.Name(signers[min(i, len(signers)-1)].Domain, signers[min(i, len(signers)-1)].Selector)
		f := d.finding(check, subject, Pass, "A sample that was signed as campaigns are is verified through the DNS, its unsubscribe headers included.")
		covered := func(name string) bool {
			return slices.ContainsFunc(v.HeaderKeys, func(k string) bool { return strings.EqualFold(k, name) })
		}
		switch {
		case msgauth.IsTempFail(v.Err):
			all = append(all, d.unknown(check, subject, v.Err)...)
			continue
		case v.Err != nil:
			f.Level, f.Own = Fail, true
			f.Found = "A sample that was signed as campaigns are does not verify: " + strings.TrimPrefix(v.Err.Error(), "dkim: ") + "."
			f.Why, f.Do = whyAuthenticate, "Mend the key's record first: see dkim_record."
		case !covered("From") || !covered("List-Unsubscribe") || !covered("List-Unsubscribe-Post"):
			f.Level, f.Own = Fail, true
			f.Found = "The signature does not cover From, List-Unsubscribe and List-Unsubscribe-Post."
			f.Why, f.Do = whyOneClick, "Report this as a bug of mailer."
		}
		all = append(all, f)
	}
	return all
}

func signSample(domain string, signers []message.Signer) ([]byte, error) {
	doc, err := campaign.Parse("sample.txt", []byte(sampleText))
	if err != nil {
		return nil, err
	}
	t, err := message.Compile(campaign.Content{ID: "sample", Class: campaign.Marketing, Timezone: "UTC",
		Sender: campaign.Sender{From: "news@" + domain, Organization: "Example", PostalAddress: "Example"}, Variants: []campaign.Variant{{Document: doc}}}, signers)
	if err != nil {
		return nil, err
	}
	m, err := t.Render(message.Recipient{Address: "someone@example.com"}, message.Mark{MessageID: "sample@" + domain,
		UnsubscribeMailto: "mailto:unsubscribe@" + domain, UnsubscribeURL: "https://" + domain + "/u/sample", Date: time.Now()})
	return m.Raw, err
}

// silentDNS is an answer that says nothing: to be asked again.
type silentDNS struct{ err error }

func (e silentDNS) Error() string   { return errText(e.err) }
func (e silentDNS) Timeout() bool   { return true }
func (e silentDNS) Temporary() bool { return true }

func (d *Domain) lookupTXT(ctx context.Context) func(string) ([]string, error) {
	return func(name string) ([]string, error) {
		a := d.Resolver.Lookup(ctx, name, zone.TXT)
		if a.State == zone.Unknown {
			return nil, silentDNS{a.Err}
		}
		var all []string
		for _, r := range a.Records {
			all = append(all, r.Text)
		}
		return all, nil
	}
}
