package doctor

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailer/internal/dkim"
	"mailer/internal/spf"
	"mailer/internal/zone"
)

// Patience is how long a send waits for the DNS, whatever the DNS does.
const Patience = 2 * time.Second

// Asked is what the checks before a send found out about a domain.
type Asked struct {
	Findings []Finding `json:"findings"`
	Silent   string    `json:"-"` // why some of it is not known: a name server failed, or time was up
}

// Keep reports whether the same need not be asked again for a while. Who mends a failure wants to see that it is mended.
func (a Asked) Keep() bool { return a.Silent == "" && Worst(a.Findings) != Fail }

// Preflight is the part of Check that decides whether mail of this From arrives at all: can From be answered, does SPF cover the
// relay, do the keys that sign match their records, does DMARC let the mail pass. It takes no longer than Patience.
func (d *Domain) Preflight(ctx context.Context) Asked {
	ctx, stop := context.WithTimeout(ctx, Patience)
	defer stop()
	w := &witness{Resolver: d.Resolver}
	e := *d
	e.Resolver, e.Client = w, nil
	e.Keys = nil
	for _, k := range d.Keys { // one that does not sign this From says nothing about its mail: the relay may sign
		if k.signs(d.From) {
			e.Keys = append(e.Keys, k)
		}
	}
	checks := []func(context.Context) []Finding{e.fromDomain, e.envelopeMX, e.dmarc, e.dmarcAlignment}
	if len(e.Relays) > 0 {
		checks = append(checks, e.spf)
	}
	if len(e.Keys) > 0 {
		checks = append(checks, e.dkimRecord)
	}
	if len(d.Keys) > 0 {
		all := e
		all.Keys = d.Keys
		checks = append(checks, all.dkimAlignment)
	}
	found := sideBySide(ctx, checks)
	if len(e.Keys) == 0 {
		found = append(found, e.unproven(ctx, w, found)...)
	}
	e.soften(ctx, found)
	if Worst(found) == Fail {
		if why := d.inner(ctx); why != "" {
			return Asked{Silent: why + "; name one that has the public DNS in mailer.yaml: dns: {servers: [ADDRESS]}"}
		}
	}
	return Asked{found, w.why()}
}

// inner says why the name server does not show what receivers see: it knows no Internet, or has a view of the domain for its own network.
func (d *Domain) inner(ctx context.Context) string {
	if d.Resolver.Lookup(ctx, "com", zone.NS).State == zone.Missing {
		return "the name server knows no com"
	}
	hosts := []string{d.From}
	for _, r := range d.Resolver.Lookup(ctx, d.From, zone.MX).Records {
		hosts = append(hosts, r.Host)
	}
	for _, host := range hosts[:min(len(hosts), 4)] {
		for _, r := range d.Resolver.Lookup(ctx, host, zone.A).Records {
			if r.IP.IsPrivate() {
				return "the name server has " + host + " at " + r.IP.String() + ", as only a network's own does"
			}
		}
	}
	return ""
}

// signs reports whether a key signs mail of a From: that of its own domain, and of those below it.
func (k Key) signs(from string) bool {
	return k.Domain == from || strings.HasSuffix(from, "."+k.Domain)
}

// soften lets pass what is wrong and keeps no mail from arriving: a key beside one that is right, and an alignment that DMARC does
// not hang on (where it does, dmarc_alignment fails).
func (d *Domain) soften(ctx context.Context, found []Finding) {
	right := slices.ContainsFunc(d.Keys, func(k Key) bool {
		p := dkim.Lookup(ctx, d.Resolver, k.Domain, k.Selector)
		return k.Private != nil && p.Err == nil && p.Key != nil && p.Key.Kind == "rsa" && p.Key.Matches(k.Private)
	})
	for i, f := range found {
		if f.Check == "dkim_alignment" || f.Check == "dkim_record" && right {
			found[i].Own = false
		}
	}
}

// sideBySide runs checks at once, and returns what they found in their order.
func sideBySide(ctx context.Context, checks []func(context.Context) []Finding) []Finding {
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { found[i] = check(ctx) })
	}
	all.Wait()
	return slices.Concat(found...)
}

// unproven is mail for which surely nothing stands: no key of ours, none that the relay may sign with, and no SPF.
func (d *Domain) unproven(ctx context.Context, w *witness, found []Finding) []Finding {
	if len(d.Relays) == 0 {
		return nil
	}
	tree := spf.Inspect(ctx, d.Resolver, d.Envelope)
	if len(tree.Root.Records) == 1 && tree.Root.Err == nil {
		if slices.ContainsFunc(tree.Problems, func(p spf.Problem) bool { return p.Kind.Breaks() }) {
			return nil // a receiver may find the relay before it comes to what breaks the record
		}
		for _, f := range found {
			if f.Check == "spf" && f.Subject != d.Envelope && f.Level != Fail {
				return nil // it is covered, or perhaps
			}
		}
	}
	for _, r := range d.Relays {
		if s, known := serviceOf(r.Host); known && s.own {
			return nil // it sends with a return path of its own
		}
	}
	if d.mayHaveKeys(ctx) || w.why() != "" {
		return nil
	}
	f := d.finding("authentication", d.From, Fail, "Nothing shows that this mail is yours: SPF does not cover the relay, mailer.yaml has no DKIM key for it, and none is published.")
	f.Why, f.Own = whyAuthenticate, true
	f.Do = "Make a key with mailer dkim keygen, and mend SPF. Where the relay signs in the name of another domain, --force sends."
	return []Finding{f}
}

// mayHaveKeys reports whether keys may be published for From or a domain above it. Their names are not known, but where there is
// one, _domainkey above it exists as well (RFC 8020).
func (d *Domain) mayHaveKeys(ctx context.Context) bool {
	for name := d.From; strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
		if d.Resolver.Lookup(ctx, "_domainkey."+name, zone.TXT).State != zone.Missing {
			return true
		}
	}
	return false
}

// witness notes whether an answer was missing.
type witness struct {
	zone.Resolver
	silent atomic.Pointer[string]
}

func (w *witness) Lookup(ctx context.Context, name string, t zone.Type) zone.Answer {
	a := w.Resolver.Lookup(ctx, name, t)
	if a.State == zone.Unknown && t != zone.SOA { // which only says how to write a name; some systems cannot ask for it
		why := errText(a.Err)
		w.silent.CompareAndSwap(nil, &why)
	}
	return a
}

func (w *witness) why() string {
	if s := w.silent.Load(); s != nil {
		return Reason(*s)
	}
	return ""
}

// Hash names what Preflight looks at: whoever edits one of it asks again.
func (d *Domain) Hash(servers []string) string {
	type key struct {
		Domain, Selector, Err string
		Public                []byte
	}
	of := struct {
		Version        int // of the checks: raise it when they judge otherwise
		From, Envelope string
		Keys           []key
		Relays         []Relay
		Servers        []string
	}{2, d.From, d.Envelope, nil, d.Relays, servers}
	for _, k := range d.Keys {
		one := key{Domain: k.Domain, Selector: k.Selector}
		if k.Err != nil {
			one.Err = k.Err.Error()
		}
		if k.Private != nil {
			var err error
			if one.Public, err = x509.MarshalPKIXPublicKey(k.Private.Public()); err != nil {
				one.Err = err.Error()
			}
		}
		of.Keys = append(of.Keys, one)
	}
	text, err := json.Marshal(of)
	if err != nil { // strings and addresses only
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Reserved reports whether a domain belongs to nobody: those for examples and tests (RFC 2606, RFC 6761; the registry of jp has some
// too). Mail of them never leaves a rehearsal.
func Reserved(domain string) bool {
	for _, r := range []string{"example.com", "example.net", "example.org", "example.jp", "example.co.jp", "example.ne.jp", "example.or.jp", "example", "test", "invalid", "localhost"} {
		if domain = zone.Clean(domain); domain == r || strings.HasSuffix(domain, "."+r) {
			return true
		}
	}
	return domain == ""
}

// Private reports whether a domain is one that networks use among themselves (RFC 6762 appendix G, RFC 8375, ICANN for internal). What
// receivers on the Internet ask of a sender does not hold there.
func Private(domain string) bool {
	domain = zone.Clean(domain)
	last := domain[strings.LastIndexByte(domain, '.')+1:]
	return domain == "home.arpa" || strings.HasSuffix(domain, ".home.arpa") ||
		slices.Contains([]string{"local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "onion"}, last)
}
