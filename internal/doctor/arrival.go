package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailer/internal/arrival"
	"mailer/internal/dmarc"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/publicsuffix"
)

// judgement is what is made of a message that arrived.
type judgement struct {
	t         *RoundTrip
	sent, got arrival.Mail
	raw       []byte
	at, seen  time.Time // sent, and found in the mailbox, by our own clock

	differences []arrival.Difference
	signatures  []*msgauth.Verification // of the message as it arrived
}

// signaturesRead bounds the signatures that are verified: each costs a lookup.
const signaturesRead = 10

func (j *judgement) all(ctx context.Context) []Finding {
	j.differences = arrival.Compare(j.sent, j.got)
	lookup := (&Domain{Resolver: j.t.Resolver}).lookupTXT(ctx)
	j.signatures, _ = msgauth.VerifyWithOptions(bytes.NewReader(j.raw), &msgauth.VerifyOptions{LookupTXT: lookup, MaxVerifications: signaturesRead})
	var all []Finding
	for _, one := range []Finding{j.dkim(), j.alignment(ctx), j.headers(), j.unsubscribe(), j.tls(), j.returnPath(), j.delay(), j.results()} {
		if one.Level.Worse(Info) && one.Why == "" {
			one.Why = whyArrival
		}
		all = append(all, one)
	}
	return all
}

// changes are the differences that a signature of ours minds, in words.
func (j *judgement) changes() []string {
	var all []string
	for _, d := range j.differences {
		all = append(all, d.Text)
	}
	return all
}

// ours reports whether a signature is by a key of ours.
func (j *judgement) ours(v *msgauth.Verification) bool {
	return slices.ContainsFunc(j.t.Signers, func(d string) bool { return strings.EqualFold(d, v.Domain) })
}

func (j *judgement) dkim() Finding {
	const check = "arrival_dkim"
	changes := j.changes()
	var good, unknown, bad *msgauth.Verification
	var others []string
	for _, v := range j.signatures {
		switch {
		case !j.ours(v) && v.Err == nil:
			others = append(others, v.Domain)
		case !j.ours(v):
		case v.Err == nil:
			good = v
		case msgauth.IsTempFail(v.Err):
			unknown = v
		default:
			bad = v
		}
	}
	signed := len(j.sent.All("DKIM-Signature")) > 0
	f := j.t.finding(check, Pass, "")
	f.Why = whyAuthenticate
	f.Detail = changes
	byOthers := ""
	if len(others) > 0 {
		byOthers = " Signed on the way as well, and valid: d=" + strings.Join(others, ", d=") + "."
	}
	switch {
	case !signed && len(others) > 0:
		f.Found = "We do not sign; a signature that was added on the way is valid: d=" + strings.Join(others, ", d=") + "."
	case !signed:
		f.Level, f.Found = Warn, "Nobody signs the mail: we have no key, and none was used on the way."
		f.Do = "Make a key with mailer dkim keygen, or turn on signing at the relay."
	case good != nil && bad == nil && unknown == nil:
		f.Found = "Our signature is still valid: d=" + good.Domain + "." + byOthers
	case good != nil:
		f.Level, f.Found = Warn, "One of our signatures is still valid, another is not"+why(bad, unknown)+"."+byOthers
		f.Do = "Look at its key's record: mailer doctor domain."
	case bad == nil && unknown != nil:
		f.Level, f.Found = Unknown, "Whether our signature is still valid is not known: the DNS did not give its key"+why(unknown)+"."
		f.Do = doAsk
	case bad == nil:
		f.Level, f.Found = Fail, "Our signature was taken out on the way."+byOthers
		f.Do = "Look which server does that; a relay that signs itself often does. Then let it sign for your own domain, and take dkim: out of mailer.yaml."
	case isKey(bad.Err):
		f.Level, f.Found = Fail, "The record of our key does not verify the signature"+why(bad)+"."+byOthers
		f.Do = "Mend the record: mailer doctor domain prints it."
	case len(changes) == 0:
		f.Level, f.Found = Fail, "Our signature is not valid, though nothing seems to have changed on the way"+why(bad)+"."+byOthers
		f.Do = "The record is likely that of another key: mailer doctor domain compares them."
	default:
		f.Level, f.Found = Fail, "Our signature broke on the way"+why(bad)+": "+strings.Join(changes, "; ")+"."+byOthers
		f.Do = "Turn off what changes the mail (footers, link tracking, re-encoding, scanners that rewrite) at the relay; where that cannot be, let the relay sign instead."
	}
	if f.Level == Fail && len(others) > 0 && slices.ContainsFunc(others, func(d string) bool { return strings.EqualFold(d, j.t.From) }) {
		f.Level = Warn // DMARC still passes by that one
	}
	return f
}

// why is the reason of the first signature that has one.
func why(all ...*msgauth.Verification) string {
	for _, v := range all {
		if v != nil && v.Err != nil {
			return " (" + strings.TrimPrefix(v.Err.Error(), "dkim: ") + ")"
		}
	}
	return ""
}

// isKey reports whether a verification failed for its key and not for the message.
func isKey(err error) bool {
	return msgauth.IsPermFail(err) && (strings.Contains(err.Error(), "key") || strings.Contains(err.Error(), "record"))
}

// passing are the domains of valid signatures.
func (j *judgement) passing() []string {
	var all []string
	for _, v := range j.signatures {
		if v.Err == nil {
			all = append(all, v.Domain)
		}
	}
	return all
}

// fromDomain is the domain of From as it arrived.
func (j *judgement) fromDomain() string {
	if a, err := mail.ParseAddress(j.got.Get("From")); err == nil {
		return strings.ToLower(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
	}
	value := strings.Trim(j.got.Get("From"), "<> ")
	return strings.ToLower(strings.Trim(value[strings.LastIndexByte(value, '@')+1:], "<> "))
}

func (j *judgement) alignment(ctx context.Context) Finding {
	const check = "arrival_alignment"
	from := j.fromDomain()
	applied := dmarc.Discover(ctx, j.t.Resolver, from)
	strictDKIM, strictSPF := applied.Record != nil && applied.Record.StrictDKIM, applied.Record != nil && applied.Record.StrictSPF
	var unknown error
	if !applied.Known() && len(j.passing()) > 0 {
		unknown = applied.Err // strict or relaxed is not known
	}
	for _, d := range j.passing() {
		ok, err := dmarc.Aligned(ctx, j.t.Resolver, from, d, strictDKIM)
		if ok {
			return j.t.finding(check, Pass, "The mail passes DMARC by DKIM: d=%s is aligned with From (%s).", d, from)
		}
		if err != nil {
			unknown = err
		}
	}
	own, told, _ := j.receiver()
	spf, found := own.Of("spf")
	if !told || !found {
		spf, _ = j.got.ReceivedSPF()
	}
	if spf.Value == "pass" && spf.Domain != "" {
		ok, err := dmarc.Aligned(ctx, j.t.Resolver, from, spf.Domain, strictSPF)
		if ok {
			f := j.t.finding(check, Warn, "The mail passes DMARC by SPF alone: %s is aligned with From (%s), and no valid signature is.", spf.Domain, from)
			f.Why = whyAligned + " SPF ends at the first server that forwards the mail."
			f.Do = "Sign with a key of the From domain: see arrival_dkim."
			return f
		}
		if err != nil {
			unknown = err
		}
	}
	for _, v := range j.signatures {
		if msgauth.IsTempFail(v.Err) {
			unknown = v.Err
		}
	}
	if unknown != nil {
		f := j.t.finding(check, Unknown, "Whether the mail passes DMARC is not known: the DNS gave no answer that says anything: %s.", errText(unknown))
		f.Do = doAsk
		return f
	}
	if spf.Value == "" && len(j.sent.All("DKIM-Signature")) == 0 {
		f := j.t.finding(check, Unknown, "No valid signature is aligned with From (%s); whether SPF passes, the receiver does not tell.", from)
		f.Why = whyAligned
		f.Do = "Sign with a key of the From domain (mailer dkim keygen), and check the domain's records: mailer doctor domain."
		return f
	}
	f := j.t.finding(check, Fail, "Neither a valid signature nor SPF, as far as the receiver told it, is aligned with From (%s).", from)
	if valid := j.passing(); len(valid) > 0 {
		f.Detail = append(f.Detail, "valid, and of another domain: d="+strings.Join(valid, ", d="))
	}
	if spf.Value != "" {
		f.Detail = append(f.Detail, fmt.Sprintf("SPF: %s for %s", spf.Value, spf.Domain))
	}
	f.Why = whyAligned
	f.Do = "Sign with a key of the From domain, and see that it survives the way: see arrival_dkim, and mailer doctor domain."
	return f
}

func (j *judgement) headers() Finding {
	const check = "arrival_headers"
	f := j.t.finding(check, Pass, "From, Date, Message-ID and the other fields came as they were sent.")
	var does []string
	for _, d := range j.differences {
		level, do := Warn, "Look which server does that; at a relay it can often be turned off."
		switch strings.ToLower(d.Field) {
		case "", "list-unsubscribe", "list-unsubscribe-post", "dkim-signature":
			continue // other checks tell that
		case "from":
			level, do = Fail, "Relays and lists rewrite a From that they do not know: set the address up as a sender of yours at the relay."
		case "message-id":
			do = "The relay gives messages an id of its own, as Amazon SES does: a bounce is then known by its return path and by the ENVID only, so keep {token} in bounces.return_path, and leave the signing of Message-ID to the relay."
		case "date":
			if d.Kind != arrival.HeaderChanged {
				break
			}
			level, do = Info, "Nothing needs to be done, but where we sign, the signature covers it."
		}
		f.Detail = append(f.Detail, d.Text)
		if level.Worse(f.Level) {
			f.Level = level
		}
		if !slices.Contains(does, do) {
			does = append(does, do)
		}
	}
	if len(f.Detail) > 0 {
		f.Found = firstUp(strings.Join(f.Detail, "; ")) + "."
		f.Detail, f.Do = nil, strings.Join(does, " ")
		f.Why = "Readers, filters and bounces go by these fields, and our signature covers them. Gmail refuses mail that has one of From, Date or Message-ID twice (RFC 5322 section 3.6)."
	}
	return f
}

func (j *judgement) unsubscribe() Finding {
	const check = "arrival_list_unsubscribe"
	f := j.t.finding(check, Pass, "List-Unsubscribe and List-Unsubscribe-Post came as they were sent, and a valid signature covers them.")
	f.Why = whyOneClick
	var hurt []string
	for _, d := range j.differences {
		if name := strings.ToLower(d.Field); name == "list-unsubscribe" || name == "list-unsubscribe-post" {
			hurt = append(hurt, d.Text)
		}
	}
	oneClick := len(j.sent.All("List-Unsubscribe-Post")) > 0
	covered := func(name string) bool {
		return slices.ContainsFunc(j.signatures, func(v *msgauth.Verification) bool {
			return v.Err == nil && slices.ContainsFunc(v.HeaderKeys, func(k string) bool { return strings.EqualFold(k, name) })
		})
	}
	silent := slices.ContainsFunc(j.signatures, func(v *msgauth.Verification) bool { return msgauth.IsTempFail(v.Err) })
	switch {
	case len(hurt) > 0:
		f.Level, f.Found = Fail, firstUp(strings.Join(hurt, "; "))+"."
		f.Do = "Turn off the unsubscribe handling or the link tracking of the relay, which puts its own links in."
	case len(j.sent.All("List-Unsubscribe")) == 0:
		f.Level, f.Own, f.Found = Fail, true, "The mail has no List-Unsubscribe: there is no address to unsubscribe at."
		f.Do = "Set bounces.return_path, sender.unsubscribe_mailto or sender.unsubscribe_url in mailer.yaml."
	case silent:
		f.Level, f.Found = Unknown, "The fields came as they were sent; whether a valid signature covers them is not known: the DNS did not give the key."
		f.Do = doAsk
	case !covered("List-Unsubscribe") || oneClick && !covered("List-Unsubscribe-Post"):
		f.Level, f.Found = Fail, "The fields came as they were sent, but no valid signature covers them, and receivers then show no unsubscribe button (RFC 8058 section 4)."
		f.Do = "See arrival_dkim."
		if len(j.sent.All("DKIM-Signature")) == 0 {
			f.Level = Warn
		}
	case !oneClick:
		f.Level, f.Found = Info, "List-Unsubscribe came as it was sent, and a valid signature covers it; there is no one-click unsubscribe."
		f.Do = "Set sender.unsubscribe_url in mailer.yaml once there is a server for it: Gmail and Yahoo want it of bulk senders."
	}
	return f
}

func (j *judgement) hops() []arrival.Hop { return j.got.Hops(j.at) }

func (j *judgement) tls() Finding {
	const check = "arrival_tls"
	hops := j.hops()
	if len(hops) == 0 {
		return j.t.finding(check, Info, "No server on the way left a trace (Received), so how each hop was protected is not known.")
	}
	var clear, old, lines []string
	encrypted := 0
	for i, h := range hops {
		lines = append(lines, describe(i, h))
		switch h.Cover {
		case arrival.Clear:
			clear = append(clear, h.From+" to "+h.By)
		case arrival.Encrypted:
			encrypted++
			if h.Version == "TLS 1.0" || h.Version == "TLS 1.1" {
				old = append(old, fmt.Sprintf("%s to %s (%s)", h.From, h.By, h.Version))
			}
		}
	}
	f := j.t.finding(check, Pass, "%d of %d hops encrypted, none over a network in clear.", encrypted, len(hops))
	switch {
	case len(clear) > 0:
		f.Level, f.Found = Warn, "In clear: "+strings.Join(clear, ", ")+"."
		f.Why, f.Do = whyTLS, "Turn TLS on where the mail is taken or handed on (smtp_tls_security_level = may at least, for Postfix)."
	case len(old) > 0:
		f.Level, f.Found = Warn, "TLS of old: "+strings.Join(old, ", ")+"."
		f.Why, f.Do = "TLS 1.0 and 1.1 must not be used any more (RFC 8996); large receivers end such connections.", "Update that server."
	case encrypted == 0:
		f.Found = "No hop went over a network."
	}
	f.Detail = lines
	return f
}

func describe(i int, h arrival.Hop) string {
	from := h.From
	if from == "" {
		from = "inside"
	}
	line := fmt.Sprintf("%d. %s -> %s", i+1, from, h.By)
	switch {
	case h.Version != "" || h.Cipher != "":
		line += ", " + strings.TrimSpace(h.Version+" "+h.Cipher)
	default:
		line += ", " + string(h.Cover)
	}
	if h.With != "" {
		line += ", " + h.With
	}
	if h.Timed {
		line += ", after " + h.Delay.String()
	}
	return line
}

func (j *judgement) returnPath() Finding {
	const check = "arrival_return_path"
	ours := j.t.Message.Envelope.From
	path, ok := j.got.ReturnPath()
	f := j.t.finding(check, Pass, "The return path came as it was sent: %s.", ours)
	switch {
	case !ok:
		f.Level, f.Found = Info, "The receiver does not write down the return path (Return-Path), so whether it was kept is not known."
	case strings.EqualFold(path, ours) && !j.t.Signed:
		f.Level, f.Found = Info, "The return path came as it was sent, but it has no {token}: a bounce that quotes too little leads to no delivery."
		f.Do = "Put {token} into bounces.return_path if your mailbox takes addresses with a + or a whole domain."
	case strings.EqualFold(path, ours):
	case j.t.Signed && strings.Contains(strings.ToLower(path), strings.ToLower(ours[:strings.LastIndexByte(ours, '@')])):
		f.Found = "The return path was wrapped on the way (SRS or BATV) and still holds ours: " + path + "."
	default:
		f.Level = Warn
		f.Found = fmt.Sprintf("The return path was rewritten on the way: %s became %s.", ours, orNothing(path))
		f.Why = "Bounces go to whoever the return path names: they do not come to your mailbox, or come without the token, and dead addresses stay on the list."
		f.Do = "Set up a return path of your own at the relay (often named custom return path or bounce domain), or take the relay's bounces from its API or its forwarding."
		kept := !slices.ContainsFunc(j.differences, func(d arrival.Difference) bool { return strings.EqualFold(d.Field, "Message-ID") })
		if kept {
			f.Detail = []string{"Message-ID is kept: a bounce that quotes it still leads to its delivery, as does the ENVID where the servers can do DSN"}
		} else {
			f.Detail = []string{"Message-ID was changed as well: only the ENVID is left, where the servers can do DSN"}
		}
	}
	return f
}

func orNothing(s string) string {
	if s == "" {
		return "<>"
	}
	return s
}

const (
	slowMail = time.Minute      // a mail that takes longer was held up: greylisting, a queue, a filter
	skewed   = 30 * time.Second // clocks that differ by more confuse whoever reads the header
)

func (j *judgement) delay() Finding {
	const check = "arrival_delay"
	took := j.seen.Sub(j.at)
	f := j.t.finding(check, Pass, "The message was in the mailbox after %s.", took.Round(100*time.Millisecond))
	var slow, clocks []string
	for i, h := range j.hops() {
		if !h.Timed {
			continue
		}
		switch {
		case h.Delay < -skewed:
			clocks = append(clocks, fmt.Sprintf("the clock of %s is %s behind that of the hop before", h.By, -h.Delay))
		case h.Delay > took+skewed:
			clocks = append(clocks, fmt.Sprintf("the clock of %s is about %s ahead: the message cannot have taken that long", h.By, h.Delay-took.Round(time.Second)))
		case h.Delay > slowMail/2:
			slow = append(slow, fmt.Sprintf("hop %d, to %s, took %s", i+1, h.By, h.Delay))
		}
	}
	f.Detail = append(slow, clocks...)
	if took > slowMail {
		f.Level = Warn
		f.Why = "A message that waits is often greylisted or throttled; a campaign is many such messages."
		f.Do = "Look into the queue and the log of the server that took long."
	} else if len(clocks) > 0 {
		f.Level, f.Do = Info, "Let the server set its clock by NTP: a Date far off counts as a sign of spam."
	}
	return f
}

// families are receivers whose mailboxes and servers have different names.
var families = map[string]string{
	"gmail.com": "google.com", "googlemail.com": "google.com", "me.com": "icloud.com", "mac.com": "icloud.com", "office365.com": "outlook.com",
	"hotmail.com": "outlook.com", "live.com": "outlook.com", "yahoodns.net": "yahoo.com", "aol.com": "yahoo.com",
}

// owner is the domain that a server's name belongs to; "" where it is no name of the DNS.
func owner(host string) string {
	host = strings.ToLower(strings.Trim(host, ".[]"))
	if _, err := netip.ParseAddr(strings.TrimPrefix(host, "ipv6:")); err == nil || host == "" {
		return ""
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host // a name of one label, such as localhost
	}
	if f := families[d]; f != "" {
		return f
	}
	return d
}

// receiver are the results of whoever runs the mailbox.
func (j *judgement) receiver() (arrival.Results, bool, []string) {
	var owners []string
	add := func(host string) {
		if d := owner(host); d != "" {
			owners = append(owners, d)
		}
	}
	for _, h := range j.t.Hosts {
		add(h)
	}
	if hops := j.hops(); len(hops) > 0 { // the last server wrote its own name
		add(hops[len(hops)-1].By)
	}
	microsoft := slices.Contains(owners, "outlook.com")
	return j.got.Results(func(server string) bool {
		if server == "" {
			return microsoft
		}
		d := owner(server)
		return d != "" && slices.Contains(owners, d)
	})
}

func (j *judgement) results() Finding {
	const check = "arrival_results"
	own, ok, others := j.receiver()
	if !ok {
		f := j.t.finding(check, Info, "The receiver wrote no Authentication-Results that can be trusted, so its own verdict is not known.")
		if len(others) > 0 {
			f.Detail = append(f.Detail, "there are some of "+strings.Join(others, ", ")+", which does not look like the receiver: anybody can write them; if it is, name it with --receiver")
		}
		if spf, ok := j.got.ReceivedSPF(); ok {
			f.Detail = append(f.Detail, fmt.Sprintf("Received-SPF: %s for %s", spf.Value, spf.Domain))
			j.weigh(&f, spf)
		}
		return j.spam(f)
	}
	f := j.t.finding(check, Pass, "")
	var words []string
	for _, r := range own.All {
		line := r.Method + "=" + r.Value
		if r.Domain != "" {
			line += " for " + r.Domain
		}
		words = append(words, line)
		if r.Reason != "" {
			line += ": " + r.Reason
		}
		f.Detail = append(f.Detail, line)
	}
	name := own.Server
	if name == "" {
		name = "the receiver"
	}
	f.Found = name + " says " + strings.Join(words, ", ") + "."
	if len(own.All) == 0 {
		f.Level, f.Found = Info, name+" says that it did not look at SPF, DKIM and DMARC."
	}
	for _, method := range []string{"spf", "dkim", "dmarc", "compauth"} {
		if r, ok := own.Of(method); ok {
			j.weigh(&f, r)
		}
	}
	if arc, ok := j.got.ARC(); ok {
		if r, found := arc.Of("dmarc"); found {
			f.Detail = append(f.Detail, fmt.Sprintf("ARC, as %s found it before it forwarded the mail: dmarc=%s", arc.Server, r.Value))
		}
	}
	return j.spam(f)
}

// weigh takes one result into account.
func (j *judgement) weigh(f *Finding, r arrival.Result) {
	level, do := Pass, ""
	switch {
	case r.Method == "dmarc" && r.Value == "fail":
		level, do = Fail, "Neither SPF nor DKIM passed for a domain aligned with From: see arrival_dkim, arrival_alignment and mailer doctor domain."
	case r.Method == "dmarc" && r.Value == "none":
		level, do = Warn, "Publish a DMARC record: mailer doctor domain prints it."
	case r.Value == "temperror":
		level, do = Unknown, "The receiver's lookup failed: try again."
	case r.Method == "spf" && slices.Contains([]string{"fail", "hardfail", "softfail", "permerror"}, r.Value):
		level, do = Warn, fmt.Sprintf("The SPF record of %s does not cover the server that handed the mail in: mailer doctor domain.", r.Domain)
	case r.Method == "dkim" && slices.Contains([]string{"fail", "permerror", "policy"}, r.Value):
		level, do = Warn, "See arrival_dkim."
	case r.Method == "compauth" && r.Value == "fail":
		level, do = Warn, "Microsoft takes the mail for forged: see what it says of SPF, DKIM and DMARC."
	case r.Value == "none" || r.Value == "neutral":
		level, do = Info, ""
	}
	if level.Worse(f.Level) {
		f.Level = level
		f.Why = whyAligned
	}
	if do != "" && level.Worse(Info) {
		f.Do = strings.TrimSpace(f.Do + " " + do)
	}
}

func (j *judgement) spam(f Finding) Finding {
	s, ok := j.got.Spam()
	if !ok {
		return f
	}
	line := s.By
	if s.Score != "" {
		line += ": score " + s.Score
	}
	if s.Enough != "" {
		line += ", spam from " + s.Enough
	}
	f.Detail = append(f.Detail, line)
	if !s.Spam {
		return f
	}
	f.Found += " Its filter takes the message for spam."
	f.Detail = append(f.Detail, s.Text)
	if Warn.Worse(f.Level) {
		f.Level = Warn
	}
	f.Why = whyArrival
	f.Do = strings.TrimSpace(f.Do + " Look at the rules that gave points.")
	return f
}
