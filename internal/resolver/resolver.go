// Package resolver asks the DNS.
//
// It asks the servers of mailer.yaml or the system's, over UDP and, for an answer that was cut, over TCP. Answers are kept for
// its lifetime, which is one command's. What it cannot find out is Unknown and never missing.
package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"mailer/internal/zone"
)

// Options of New. The zero value asks the system's servers.
type Options struct {
	Servers []string      // host or host:port
	Timeout time.Duration // of one question to one server; 2 s when zero
}

// Resolver is a zone.Resolver. It may be used by many goroutines.
type Resolver struct {
	servers []string
	timeout time.Duration

	mu    sync.Mutex
	known map[question]*answer
}

type question struct {
	name string
	t    zone.Type
}

type answer struct {
	done chan struct{}
	zone.Answer
}

// New makes a resolver. It asks nothing yet.
func New(o Options) (*Resolver, error) {
	r := &Resolver{timeout: o.Timeout, known: map[question]*answer{}}
	if r.timeout <= 0 {
		r.timeout = 2 * time.Second
	}
	servers := o.Servers
	if len(servers) == 0 {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("find the system's name servers: %w", err)
		}
		servers = conf.Servers
	}
	for _, s := range servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(s, "53")
		}
		r.servers = append(r.servers, s)
	}
	return r, nil
}

// Lookup asks for records. A question that was answered is not asked again.
func (r *Resolver) Lookup(ctx context.Context, name string, t zone.Type) zone.Answer {
	name = zone.Clean(name)
	q := question{name, t}
	r.mu.Lock()
	a, asked := r.known[q]
	if !asked {
		a = &answer{done: make(chan struct{})}
		r.known[q] = a
	}
	r.mu.Unlock()
	if asked {
		select {
		case <-a.done:
			return a.Answer
		case <-ctx.Done():
			return zone.Answer{Name: name, Type: t, Err: ctx.Err()}
		}
	}
	a.Answer = r.ask(ctx, name, t)
	close(a.done)
	if a.State == zone.Unknown && ctx.Err() != nil { // the next one may have more time
		r.mu.Lock()
		delete(r.known, q)
		r.mu.Unlock()
	}
	return a.Answer
}

func (r *Resolver) ask(ctx context.Context, name string, t zone.Type) zone.Answer {
	a := zone.Answer{Name: name, Type: t}
	var errs []error
	for _, server := range r.servers {
		m, err := r.exchange(ctx, server, name, t)
		if err == nil {
			return read(a, server, m)
		}
		errs = append(errs, fmt.Errorf("%s: %w", server, err))
	}
	a.Err = errors.Join(errs...)
	return a
}

// exchange asks one server. A reply that says nothing about the name is an error.
func (r *Resolver) exchange(ctx context.Context, server, name string, t zone.Type) (*dns.Msg, error) {
	ctx, stop := context.WithTimeout(ctx, r.timeout)
	defer stop()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.StringToType[string(t)])
	q.SetEdns0(1232, false)
	m, _, err := (&dns.Client{Net: "udp", Timeout: r.timeout}).ExchangeContext(ctx, q, server)
	if err == nil && m.Truncated {
		m, _, err = (&dns.Client{Net: "tcp", Timeout: r.timeout}).ExchangeContext(ctx, q, server)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, errors.New(dns.RcodeToString[m.Rcode])
	case len(m.Question) != 1 || dns.CanonicalName(m.Question[0].Name) != dns.CanonicalName(name):
		return nil, errors.New("it answered another question")
	}
	return m, nil
}

// read takes the records out of a reply.
func read(a zone.Answer, server string, m *dns.Msg) zone.Answer {
	a.Server = server
	for _, rr := range m.Answer {
		rec := zone.Record{TTL: time.Duration(rr.Header().Ttl) * time.Second}
		switch v := rr.(type) {
		case *dns.CNAME:
			a.Aliases = append(a.Aliases, zone.Clean(v.Target))
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
			rec.Strings = v.Txt
			for _, s := range v.Txt {
				rec.Text += s
			}
		}
		if dns.TypeToString[rr.Header().Rrtype] == string(a.Type) {
			a.Records = append(a.Records, rec)
		}
	}
	switch {
	case len(a.Records) > 0:
		a.State = zone.Found
	case m.Rcode == dns.RcodeNameError:
		a.State = zone.Missing
	default:
		a.State = zone.Empty
	}
	return a
}
