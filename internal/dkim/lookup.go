package dkim

import (
	"context"
	"errors"
	"strings"

	"mailer/internal/zone"
)

// Published is what the DNS has under a selector.
type Published struct {
	Name   string
	Answer zone.Answer
	Key    *Key  // nil when there is no record
	Err    error // why the record is no key: an *Error
	Stray  string
}

// ErrNone is that there is no record at all.
var ErrNone = errors.New("there is no such record")

// Name is where the key of a selector stands.
func Name(domain, selector string) string { return selector + "._domainkey." + domain }

// Lookup reads the record of a selector. Where there is none it looks at the names under which panels and people put it by
// mistake; Stray is the one where it is. Unknown answers have neither a Key nor an Err.
func Lookup(ctx context.Context, r zone.Resolver, domain, selector string) Published {
	p := Published{Name: zone.Clean(Name(domain, selector))}
	p.Answer = r.Lookup(ctx, p.Name, zone.TXT)
	switch {
	case p.Answer.State == zone.Unknown:
	case p.Answer.Void():
		p.Err = ErrNone
		p.Stray = stray(ctx, r, zone.Clean(domain), zone.Clean(selector))
	default:
		p.Key, p.Err = choose(p.Answer.Records)
	}
	return p
}

// choose makes one key of the TXT records of a name. A verifier may take any of several (RFC 6376 section 3.6.2.2).
func choose(records []zone.Record) (*Key, error) {
	if len(records) == 1 {
		return Parse(records[0].Text)
	}
	var keys, pieces int
	for _, r := range records {
		switch {
		case strings.Contains(unspaced(r.Text), "p="):
			keys++
		case looksLikePiece(r.Text):
			pieces++
		}
	}
	if keys == 1 && pieces > 0 {
		return &Key{Kind: "rsa"}, wrong("Publish ONE TXT record with the whole value. Where it must be cut, the pieces are strings of the same record: \"first part\" \"second part\".",
			"the key is cut into %d TXT records; verifiers do not put those together, as their order is not kept", len(records))
	}
	return &Key{Kind: "rsa"}, wrong("Keep the record of the key that signs, and delete the others.", "there are %d TXT records under this name; verifiers expect one", len(records))
}

// looksLikePiece reports whether a text is nothing but a part of a base64 text.
func looksLikePiece(s string) bool {
	s = unspaced(s)
	return len(s) >= 16 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
}

// stray looks for a key record under the names that it gets by mistake: with the zone added by the panel a second time, without
// ._domainkey, with a slip in it, or in the zone above.
func stray(ctx context.Context, r zone.Resolver, domain, selector string) string {
	names := []string{
		Name(domain, selector) + "." + domain,
		selector + "." + domain,
		selector + ".domainkey." + domain,
		selector + "._domainkeys." + domain,
		selector + "_domainkey." + domain,
		"_domainkey." + selector + "." + domain,
		"_domainkey." + domain,
	}
	if _, parent, ok := strings.Cut(domain, "."); ok && strings.Contains(parent, ".") {
		names = append(names, Name(domain, selector)+"."+parent, Name(parent, selector))
	}
	for _, name := range names {
		for _, rec := range r.Lookup(ctx, name, zone.TXT).Records {
			if k, err := Parse(rec.Text); err == nil && k.Public != nil {
				return name
			}
		}
	}
	return ""
}
