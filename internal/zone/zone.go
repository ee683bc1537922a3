// Package zone says what an answer of the DNS is: what was found, or that there is nothing, or that nobody knows.
//
// The third is what checks get wrong. A server that fails, refuses or is silent says nothing about a record, and mail
// that goes out every day must not be stopped because a name server was slow. So a State that was never set is Unknown.
package zone

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Type is a type of record, as zone files write it.
type Type string

// The types that are asked for.
const (
	A     Type = "A"
	AAAA  Type = "AAAA"
	CNAME Type = "CNAME"
	MX    Type = "MX"
	NS    Type = "NS"
	PTR   Type = "PTR"
	SOA   Type = "SOA"
	TXT   Type = "TXT"
)

// State is what an answer amounts to.
type State int

// The states. Missing and Empty are the answers that RFC 2308 calls NXDOMAIN and NODATA; SPF counts both as void lookups
// (RFC 7208 section 4.6.4).
const (
	Unknown State = iota // no answer that says anything: SERVFAIL, REFUSED, a timeout, no network
	Found                // at least one record
	Empty                // the name exists, without a record of this type
	Missing              // the name does not exist
)

// Record is one record of an answer. Which fields are set follows from its type.
type Record struct {
	Text    string   // TXT: its strings joined without a space (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2)
	Strings []string // TXT: as published
	Host    string   // CNAME, MX, NS, PTR: a name in lower case without the last dot; "" is the root (null MX, RFC 7505)
	Pref    uint16   // MX
	IP      netip.Addr
	TTL     time.Duration
}

// Answer is what is known about one name and type.
type Answer struct {
	Name    string // that was asked for, in lower case, without the last dot
	Type    Type
	State   State
	Records []Record // of Type, in the order of the answer
	Aliases []string // the names that CNAME records led through, the first target first
	Server  string   // that answered
	Err     error    // why it is Unknown
}

// Void reports whether an answer counts as a void lookup.
func (a Answer) Void() bool { return a.State == Empty || a.State == Missing }

// TTL is the shortest of its records.
func (a Answer) TTL() time.Duration {
	var least time.Duration
	for i, r := range a.Records {
		if i == 0 || r.TTL < least {
			least = r.TTL
		}
	}
	return least
}

// Texts are the TXT records that begin with a tag such as v=spf1, which a space, a semicolon or the end must follow.
func (a Answer) Texts(tag string) []Record {
	var all []Record
	for _, r := range a.Records {
		if len(r.Text) < len(tag) || !strings.EqualFold(r.Text[:len(tag)], tag) {
			continue
		}
		if rest := r.Text[len(tag):]; rest == "" || rest[0] == ' ' || rest[0] == ';' {
			all = append(all, r)
		}
	}
	return all
}

// Resolver answers questions. An error is an Unknown answer with Err.
type Resolver interface {
	Lookup(ctx context.Context, name string, t Type) Answer
}

// Clean is a name as answers have it.
func Clean(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Reverse is the name under which the PTR records of an address stand (RFC 1035 section 3.5, RFC 3596 section 2.5).
func Reverse(ip netip.Addr) string {
	name, err := dns.ReverseAddr(ip.Unmap().WithZone("").String())
	if err != nil { // of no address at all
		return ""
	}
	return Clean(name)
}

// Unreverse is the address of a reverse name.
func Unreverse(name string) (netip.Addr, bool) {
	name = Clean(name)
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(rest, ".")
		slices.Reverse(parts)
		ip, err := netip.ParseAddr(strings.Join(parts, "."))
		return ip, err == nil && ip.Is4()
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	nibbles := strings.Split(rest, ".")
	if !ok || len(nibbles) != 32 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i, n := range nibbles {
		v := strings.IndexByte("0123456789abcdef", (n + " ")[0])
		if v < 0 || len(n) != 1 {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(v) << (4 * (i & 1))
	}
	return netip.AddrFrom16(b), true
}

// Server reads the address of a name server, with a port or without: 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53.
func Server(text string) (netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(text); err == nil && at.Port() > 0 {
		return at, nil
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not the address of a name server, such as 192.0.2.53 or 192.0.2.53:53", text)
	}
	return netip.AddrPortFrom(ip, 53), nil
}
