// Package resolver asks the DNS.
//
// It asks the servers of mailer.yaml or the system's, over UDP and, for an answer that was cut, over TCP. A question that is
// lost is asked once more, a server that answers nothing useful is passed over. Answers are kept for the resolver's lifetime,
// which is one command's. What it cannot find out is Unknown and never missing.
//
// With Authoritative it asks the servers that have the zone, whose answers are what is published now: no cache stands between.
// A server that does not have the zone it is named for (a lame one) says nothing about it.
package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"

	"mailer/internal/zone"
)

// Options of New. The zero value asks the system's servers.
type Options struct {
	Servers       []string      // addresses, with or without a port
	Timeout       time.Duration // of one question to one server; 2 s when zero
	Authoritative bool          // ask the servers of the zone itself
}

// Resolver is a zone.Resolver. It may be used by many goroutines.
type Resolver struct {
	servers       []netip.AddrPort
	system        *net.Resolver // where the system does not say which servers it asks
	timeout       time.Duration
	authoritative bool
	good          atomic.Int32  // the server that answered last
	busy          chan struct{} // a place for each question on its way

	mu    sync.Mutex
	known map[question]*answer
}

const (
	atOnce   = 16   // questions on their way; a home router drops more
	maxChain = 8    // aliases that are followed
	udpSize  = 1232 // of EDNS: what no network cuts into fragments (DNS flag day 2020)
)

type question struct {
	name   string
	t      zone.Type
	direct bool // to the zone's own servers
}

type answer struct {
	done chan struct{}
	zone.Answer
	cut bool // whoever asked had no more time
}

// New makes a resolver. It asks nothing yet.
func New(o Options) (*Resolver, error) {
	r := &Resolver{timeout: o.Timeout, authoritative: o.Authoritative, busy: make(chan struct{}, atOnce), known: map[question]*answer{}}
	if r.timeout <= 0 {
		r.timeout = 2 * time.Second
	}
	servers := o.Servers
	if len(servers) == 0 {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		switch {
		case err != nil: // Windows, Plan 9: Go knows how to ask there
			r.system = net.DefaultResolver
			if r.authoritative {
				return nil, errors.New("the system does not say which name servers it asks; name some in mailer.yaml: dns: {servers: [ADDRESS]}")
			}
			return r, nil
		case len(conf.Servers) == 0:
			conf.Servers = []string{"127.0.0.1"} // resolv.conf(5)
		}
		servers = conf.Servers
	}
	for _, s := range servers {
		at, err := zone.Server(s)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, at)
	}
	return r, nil
}

// Lookup asks for records. A question that was answered is not asked again. It takes no longer than its context has.
func (r *Resolver) Lookup(ctx context.Context, name string, t zone.Type) zone.Answer {
	ascii, ok := Name(name)
	if !ok { // such a name cannot be there, and nobody needs to be asked
		return zone.Answer{Name: zone.Clean(name), Type: t, State: zone.Missing}
	}
	return r.lookup(ctx, question{ascii, t, r.authoritative})
}

// Name is a name as it is asked for: lower case, A-labels. It is none with an empty label, one of more than 63 bytes, or more
// than 253 in all.
func Name(name string) (string, bool) {
	name = zone.Clean(name)
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		labels := strings.Split(zone.Clean(strings.NewReplacer("。", ".", "．", ".", "｡", ".").Replace(name)), ".")
		for i, l := range labels {
			if !strings.ContainsFunc(l, func(r rune) bool { return r >= 0x80 }) {
				continue // _dmarc and such are no host names, and no business of IDNA's
			}
			a, err := idna.Lookup.ToASCII(l)
			if err != nil {
				return name, false
			}
			labels[i] = a
		}
		name = strings.Join(labels, ".")
	}
	if name == "" || len(name) > 253 {
		return name, false
	}
	for l := range strings.SplitSeq(name, ".") {
		if l == "" || len(l) > 63 {
			return name, false
		}
	}
	return name, true
}

// lookup asks, or waits for whoever is asking already.
func (r *Resolver) lookup(ctx context.Context, q question) zone.Answer {
	for {
		if err := ctx.Err(); err != nil {
			return zone.Answer{Name: q.name, Type: q.t, Err: err}
		}
		r.mu.Lock()
		a, asked := r.known[q]
		if !asked {
			a = &answer{done: make(chan struct{})}
			r.known[q] = a
		}
		r.mu.Unlock()
		if !asked {
			a.Answer = r.find(ctx, q, nil)
			if a.State == zone.Unknown && ctx.Err() != nil {
				a.cut = true // the next one may have more time
				r.mu.Lock()
				delete(r.known, q)
				r.mu.Unlock()
			}
			close(a.done)
			return a.Answer
		}
		select {
		case <-a.done:
			if !a.cut {
				return a.Answer
			}
		case <-ctx.Done():
			return zone.Answer{Name: q.name, Type: q.t, Err: ctx.Err()}
		}
	}
}

// find asks the servers, and follows aliases that they leave to us. chain are those that led here.
func (r *Resolver) find(ctx context.Context, q question, chain []string) zone.Answer {
	var a zone.Answer
	var more string
	switch {
	case q.direct:
		a, more = r.askZone(ctx, q)
	case r.system != nil:
		return r.askSystem(ctx, q)
	default:
		a, more = r.askServers(ctx, q)
	}
	if more == "" {
		return a
	}
	chain = append(slices.Clip(chain), q.name)
	if slices.Contains(chain, more) || len(chain) > maxChain {
		a.State, a.Err = zone.Unknown, fmt.Errorf("%s is an alias (CNAME) that leads in a circle", q.name)
		return a
	}
	name, ok := Name(more)
	if !ok {
		a.State = zone.Missing
		return a
	}
	// Not through the answers that are kept: two names that lead to each other would wait for each other.
	end := r.find(ctx, question{name, q.t, q.direct}, chain)
	end.Name, end.Aliases = a.Name, append(a.Aliases, end.Aliases...)
	return end
}

// askServers asks the recursive servers, beginning with the one that answered last. more is an alias that was not followed.
func (r *Resolver) askServers(ctx context.Context, q question) (a zone.Answer, more string) {
	a = zone.Answer{Name: q.name, Type: q.t}
	first := int(r.good.Load())
	lost := make([]bool, len(r.servers))
	errs := make([]error, len(r.servers))
	for try := range 2 {
		for n := range r.servers {
			i := (first + n) % len(r.servers)
			if try > 0 && !lost[i] {
				continue
			}
			server := r.servers[i]
			m, err := r.exchange(ctx, server, q, true)
			if err == nil {
				a, more, err = read(a, server.String(), m)
			}
			if err == nil {
				r.good.Store(int32(i))
				return a, more
			}
			var network net.Error
			lost[i] = errors.As(err, &network)
			errs[i] = fmt.Errorf("%s: %w", server, err)
			if ctx.Err() != nil {
				return zone.Answer{Name: q.name, Type: q.t, Err: errors.Join(errs...)}, ""
			}
		}
	}
	return zone.Answer{Name: q.name, Type: q.t, Err: errors.Join(errs...)}, ""
}

// askZone asks the servers of the zone that a name is in. They are found upwards from it.
func (r *Resolver) askZone(ctx context.Context, q question) (a zone.Answer, more string) {
	a = zone.Answer{Name: q.name, Type: q.t}
	var errs []error
	for at := q.name; ; {
		ns := r.lookup(ctx, question{at, zone.NS, false})
		if ns.State == zone.Unknown {
			errs = append(errs, fmt.Errorf("name servers of %s: %w", at, ns.Err))
		}
		if ns.State == zone.Found && len(ns.Aliases) == 0 { // the target's servers are not the alias's
			a, more, err := r.askOf(ctx, q, ns)
			if err == nil {
				return a, more
			}
			errs = append(errs, err)
			break
		}
		_, up, ok := strings.Cut(at, ".")
		if !ok {
			break
		}
		at = up
	}
	if len(errs) == 0 {
		errs = append(errs, fmt.Errorf("no zone above %s has name servers", q.name))
	}
	a.Err = errors.Join(errs...)
	return a, ""
}

// askOf asks the servers of a zone, one after the other until one has it.
func (r *Resolver) askOf(ctx context.Context, q question, ns zone.Answer) (a zone.Answer, more string, err error) {
	var errs []error
	for _, host := range ns.Records {
		var addresses []netip.Addr
		for _, kind := range []zone.Type{zone.A, zone.AAAA} {
			if name, ok := Name(host.Host); ok {
				for _, rec := range r.lookup(ctx, question{name, kind, false}).Records {
					addresses = append(addresses, rec.IP)
				}
			}
		}
		if len(addresses) == 0 {
			errs = append(errs, fmt.Errorf("%s: it has no address", host.Host))
		}
		for _, ip := range addresses {
			var m *dns.Msg
			for range 2 {
				m, err = r.exchange(ctx, r.at(ip), q, false)
				var network net.Error
				if !errors.As(err, &network) || ctx.Err() != nil {
					break
				}
			}
			if err == nil && !m.Authoritative {
				err = fmt.Errorf("it does not have the zone %s", ns.Name)
			}
			if err == nil {
				a, more, err = read(zone.Answer{Name: q.name, Type: q.t}, host.Host+" ("+ip.String()+")", m)
			}
			if err == nil {
				return a, more, nil
			}
			errs = append(errs, fmt.Errorf("%s (%s): %w", host.Host, ip, err))
		}
	}
	return a, "", errors.Join(errs...)
}

// at is where a server of a zone is reached: port 53, or that of a server of ours on the same address.
func (r *Resolver) at(ip netip.Addr) netip.AddrPort {
	for _, s := range r.servers {
		if s.Addr() == ip {
			return s
		}
	}
	return netip.AddrPortFrom(ip, 53)
}

// exchange asks one server. A reply that says nothing about the name is an error.
func (r *Resolver) exchange(ctx context.Context, server netip.AddrPort, q question, recurse bool) (*dns.Msg, error) {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, stop := context.WithTimeout(ctx, r.timeout)
	defer stop()
	ask := new(dns.Msg)
	ask.SetQuestion(dns.Fqdn(presented(q.name)), dns.StringToType[string(q.t)])
	ask.RecursionDesired = recurse
	ask.SetEdns0(udpSize, false)
	m, err := send(ctx, "udp", server, ask)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers) {
		ask.Extra = nil // an old server that does not know EDNS (RFC 6891 section 7)
		m, err = send(ctx, "udp", server, ask)
	}
	if err == nil && m.Truncated {
		m, err = send(ctx, "tcp", server, ask)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, errors.New(dns.RcodeToString[m.Rcode])
	}
	return m, nil
}

// send puts a question to a server and waits for its answer, and for nobody else's, until the context ends.
func send(ctx context.Context, network string, server netip.AddrPort, ask *dns.Msg) (*dns.Msg, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	c := &dns.Conn{Conn: raw, UDPSize: 4096}
	if err := c.WriteMsg(ask); err != nil {
		return nil, err
	}
	for {
		m, err := c.ReadMsg()
		switch {
		case err != nil && m != nil && m.Truncated && m.Id == ask.Id: // cut within a record
			return m, nil
		case err != nil && ctx.Err() == nil && network == "udp" && m != nil:
			continue // rubbish that somebody sent to the port
		case err != nil:
			return nil, err
		case !m.Response || m.Id != ask.Id || !sameQuestion(m, ask): // late, or forged
			if network == "tcp" {
				return nil, errors.New("it answered another question")
			}
			continue
		}
		return m, nil
	}
}

func sameQuestion(m, ask *dns.Msg) bool {
	if len(m.Question) != 1 {
		// An error may come without its question.
		return len(m.Question) == 0 && m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	return m.Question[0].Qtype == ask.Question[0].Qtype && m.Question[0].Qclass == dns.ClassINET && sameName(m.Question[0].Name, ask.Question[0].Name)
}

// sameName compares names however their odd bytes are written.
func sameName(a, b string) bool {
	return bytes.Equal(wire(a), wire(b))
}

func wire(name string) []byte {
	var b [256]byte
	n, err := dns.PackDomainName(dns.Fqdn(strings.ToLower(name)), b[:], 0, nil, false)
	if err != nil {
		return []byte(name)
	}
	return b[:n]
}

// presented escapes what zone files give a meaning; the macros of SPF can make any name.
func presented(name string) string {
	return strings.ReplaceAll(name, `\`, `\\`)
}

// read takes the records out of a reply. more is the last alias of a chain that the server did not follow to its end.
func read(a zone.Answer, server string, m *dns.Msg) (full zone.Answer, more string, err error) {
	a.Server = server
	at := presented(a.Name)
	seen := []string{zone.Clean(at)}
	for a.Type != zone.CNAME { // the chain, in whatever order the server wrote it
		i := slices.IndexFunc(m.Answer, func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeCNAME && sameName(rr.Header().Name, at)
		})
		if i < 0 {
			break
		}
		at = m.Answer[i].(*dns.CNAME).Target
		name := zone.Clean(at)
		if slices.Contains(seen, name) || len(seen) > maxChain {
			return a, "", fmt.Errorf("%s is an alias (CNAME) that leads in a circle", a.Name)
		}
		seen = append(seen, name)
		a.Aliases = append(a.Aliases, name)
	}
	for _, rr := range m.Answer {
		if dns.TypeToString[rr.Header().Rrtype] == string(a.Type) && sameName(rr.Header().Name, at) {
			a.Records = append(a.Records, record(rr))
		}
	}
	negative, referral := false, false
	for _, rr := range m.Ns {
		negative = negative || rr.Header().Rrtype == dns.TypeSOA
		referral = referral || rr.Header().Rrtype == dns.TypeNS
	}
	switch {
	case len(a.Records) > 0:
		a.State = zone.Found
	case m.Rcode == dns.RcodeNameError:
		a.State = zone.Missing
	case len(a.Aliases) > 0 && !negative:
		return a, a.Aliases[len(a.Aliases)-1], nil
	case referral && !negative && !m.Authoritative: // RFC 2308 section 2.2: not "no data"
		return a, "", errors.New("it names other servers and does not ask them itself")
	default:
		a.State = zone.Empty
	}
	return a, "", nil
}

func record(rr dns.RR) zone.Record {
	rec := zone.Record{TTL: time.Duration(rr.Header().Ttl) * time.Second}
	switch v := rr.(type) {
	case *dns.CNAME:
		rec.Host = zone.Clean(v.Target)
	case *dns.A:
		rec.IP, _ = netip.AddrFromSlice(v.A)
		rec.IP = rec.IP.Unmap()
	case *dns.AAAA:
		rec.IP, _ = netip.AddrFromSlice(v.AAAA)
	case *dns.MX:
		rec.Host, rec.Pref = zone.Clean(v.Mx), v.Preference
	case *dns.NS:
		rec.Host = zone.Clean(v.Ns)
	case *dns.PTR:
		rec.Host = zone.Clean(v.Ptr)
	case *dns.SOA:
		rec.Host = zone.Clean(v.Ns)
	case *dns.TXT:
		for _, s := range v.Txt {
			s = literal(s)
			rec.Strings = append(rec.Strings, s)
			rec.Text += s
		}
	}
	return rec
}

// literal takes back the escapes that the library writes a TXT string with: \" and \\ and \195.
func literal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			out = append(out, s[i])
		case i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
			out = append(out, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			out = append(out, s[i+1])
			i++
		}
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
